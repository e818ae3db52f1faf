//! What each sender sends, and how: all of it from the seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::line::Line;
use crate::random::Random;

/// Receivers that all senders send to.
pub(crate) const RECEIVERS: usize = 2;

/// How a message is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With `send`, which waits for room.
    Waiting,
    /// With `try_send`, again and again until there is room. What is long goes in a memory file.
    Trying,
    /// With `send_timeout`, the same.
    Limited(Duration),
}

/// A message, but for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of its body.
    pub(crate) size: usize,
    /// Descriptors of its own. What has any brings its sender's end of a pipe as well.
    pub(crate) gifts: usize,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) fault: Option<Fault>,
}

/// What is done wrong on purpose, so that it is seen that it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// A receiver keeps a descriptor that came in a message.
    Keep,
    /// Senders send, in one message, two descriptors each in the place of the other.
    Exchange,
}

/// By how many of ten thousand are of the kind: the most bytes.
const LENGTHS: [(u64, u64); 7] = [
    (8_000, 16),
    (1_300, 1 << 10),
    (500, 16 << 10),
    // Around the border of one part, and of two.
    (100, 140 << 10),
    (90, 256 << 10),
    (9, 1 << 20),
    (1, 4 << 20),
];

/// The same: the fewest and the most descriptors.
const GIFTS: [(u64, (u64, u64)); 5] = [
    (9_600, (0, 0)),
    (250, (1, 1)),
    (110, (2, 4)),
    (38, (5, 20)),
    (2, (21, MOST_GIFTS)),
];

/// With the end of a pipe as many as a message can have; and where it goes in a memory file, that is one of them.
const MOST_GIFTS: u64 = occ_sck::MAX_FDS as u64 - 1;

/// Of a thousand messages, so many are thrown away.
const LITTER: u64 = 4;

/// Where the streams of numbers begin that are for something else than the messages.
const TARGETS: u64 = 1 << 60;
const KILLS: u64 = 2 << 60;
const THREADED: u64 = 3 << 60;

impl Plan {
    pub(crate) fn new(seed: u64) -> Plan {
        Plan { seed, fault: None }
    }

    /// What the message of this number is.
    pub(crate) fn shape(self, line: Line, number: u64) -> Shape {
        let numbers = Random::new(self.seed, line.index());
        let mut random = Random::new(numbers.skip(number).next(), 0);
        let longest = one_of(&LENGTHS, &mut random);
        let size = random.below(longest + 1) as usize;
        let (fewest, most) = one_of(&GIFTS, &mut random);
        let gifts = fewest + random.below(most - fewest + 1);
        let way = match random.below(10) {
            0 => Way::Trying,
            1 => Way::Limited(Duration::from_micros(random.below(3_000))),
            _ => Way::Waiting,
        };
        // What is thrown away is to have something to close.
        let gifts = gifts.max(u64::from(line.is_litter));
        let room = MOST_GIFTS - u64::from(way != Way::Waiting);
        Shape {
            size,
            gifts: gifts.min(room) as usize,
            way,
        }
    }

    /// On which lines a thread of a sender sends, one after the other.
    pub(crate) fn lines(self, sender: u64, thread: u64) -> impl Iterator<Item = Line> {
        let first = Line {
            sender,
            thread,
            receiver: 0,
            is_litter: false,
        };
        let mut random = Random::new(self.seed, TARGETS + first.index());
        std::iter::repeat_with(move || Line {
            receiver: random.below(RECEIVERS as u64) as usize,
            is_litter: random.below(1_000) < LITTER,
            ..first
        })
    }

    /// Whether a second thread of the sender sends as well.
    pub(crate) fn has_second_thread(self, sender: u64) -> bool {
        Random::new(self.seed, THREADED + sender).below(2) == 0
    }

    /// How long it is until the next sender is killed, and which of those that send then.
    pub(crate) fn kills(self) -> impl Iterator<Item = (Duration, u64)> {
        let mut random = Random::new(self.seed, KILLS);
        std::iter::repeat_with(move || {
            // A twentieth of them right after another.
            let micros = match random.below(20) {
                0 => 0,
                _ => 200 + random.below(6_000),
            };
            (Duration::from_micros(micros), random.next())
        })
    }
}

/// What comes with one of ten thousand shares.
fn one_of<T: Copy + Default>(shares: &[(u64, T)], random: &mut Random) -> T {
    let mut at = random.below(10_000);
    for (share, what) in shares {
        if at < *share {
            return *what;
        }
        at -= share;
    }
    T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_plan_and_another_is_another() {
        let shapes = |seed| -> Vec<Shape> {
            let plan = Plan::new(seed);
            (0..100).map(|at| plan.shape(Line::at(3), at)).collect()
        };
        assert_eq!(shapes(1), shapes(1));
        assert_ne!(shapes(1), shapes(2));
        let lines = |seed| -> Vec<_> { Plan::new(seed).lines(3, 1).take(100).collect() };
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
        let kills = |seed| -> Vec<_> { Plan::new(seed).kills().take(100).collect() };
        assert_eq!(kills(1), kills(1));
        assert_ne!(kills(1), kills(2));
        let threads = |seed| -> Vec<_> {
            let of = |sender| Plan::new(seed).has_second_thread(sender);
            (0..100).map(of).collect()
        };
        assert_eq!(threads(1), threads(1));
        assert_ne!(threads(1), threads(2));
        assert!(threads(1).contains(&true) && threads(1).contains(&false));
    }

    #[test]
    fn a_plan_has_all_lengths_and_all_ways_with_and_without_descriptors() {
        let whole: u64 = LENGTHS.iter().map(|(share, _)| share).sum();
        assert_eq!(whole, 10_000);
        let whole: u64 = GIFTS.iter().map(|(share, _)| share).sum();
        assert_eq!(whole, 10_000);
        let plan = Plan::new(7);
        let line = Line::at(2);
        let shapes = (0..500_000).map(|number| plan.shape(line, number));
        let (with, without): (Vec<Shape>, Vec<Shape>) = shapes.partition(|shape| shape.gifts > 0);
        for shapes in [&with, &without] {
            for range in [
                0..17,
                17..1_025,
                20_000..70_000,
                70_000..140_000,
                256 << 10..1 << 20,
            ] {
                let is_in = |shape: &Shape| range.contains(&shape.size);
                assert!(shapes.iter().any(is_in), "{range:?}");
            }
            assert!(shapes.iter().any(|shape| shape.way == Way::Waiting));
            assert!(shapes.iter().any(|shape| shape.way == Way::Trying));
            let is_limited = |shape: &Shape| matches!(shape.way, Way::Limited(_));
            assert!(shapes.iter().any(is_limited));
        }
        assert!((15_000..25_000).contains(&with.len()), "{}", with.len());
        for count in [1, 4, 20, 200] {
            assert!(with.iter().any(|shape| shape.gifts >= count), "{count}");
        }
        assert!(without.iter().any(|shape| shape.size > 2 << 20));
    }

    #[test]
    fn a_plan_has_all_lines_and_all_litter_has_descriptors() {
        let plan = Plan::new(7);
        for thread in 0..super::super::line::THREADS {
            let lines: Vec<Line> = plan.lines(1, thread).take(10_000).collect();
            for receiver in 0..RECEIVERS {
                for is_litter in [true, false] {
                    let line = Line {
                        sender: 1,
                        thread,
                        receiver,
                        is_litter,
                    };
                    assert!(lines.contains(&line), "{line:?}");
                    let gifts = (0..1_000).map(|number| plan.shape(line, number).gifts);
                    assert_eq!(gifts.min(), Some(usize::from(is_litter)));
                }
            }
        }
    }
}
