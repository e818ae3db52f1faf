//! What each sender sends, and how: all of it from the seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
}

/// Longest messages, by how many of ten thousand are of the kind. What descriptors come with is to be another column here, of how
/// many, and what they must say of themselves where they arrive.
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

/// Where the streams of numbers begin that are for something else than the lengths.
const WAYS: u64 = 1 << 60;
const KILLS: u64 = 2 << 60;

impl Plan {
    /// How long the message number `number` from this sender to this receiver is.
    pub(crate) fn size(self, sender: u64, receiver: usize, number: u64) -> usize {
        let stream = sender * RECEIVERS as u64 + receiver as u64;
        let numbers = Random::new(self.seed, stream);
        let mut random = Random::new(numbers.skip(number).next(), 0);
        let mut at = random.below(10_000);
        for (share, longest) in LENGTHS {
            if at < share {
                return random.below(longest + 1) as usize;
            }
            at -= share;
        }
        0
    }

    /// To whom a sender sends its messages, and how, one after the other.
    pub(crate) fn acts(self, sender: u64) -> impl Iterator<Item = (usize, Way)> {
        let mut random = Random::new(self.seed, WAYS + sender);
        std::iter::repeat_with(move || {
            let receiver = random.below(RECEIVERS as u64) as usize;
            let way = match random.below(10) {
                0 => Way::Trying,
                1 => Way::Limited(Duration::from_micros(random.below(3_000))),
                _ => Way::Waiting,
            };
            (receiver, way)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_plan_and_another_is_another() {
        let sizes = |seed| -> Vec<usize> {
            let plan = Plan { seed };
            (0..100).map(|number| plan.size(3, 1, number)).collect()
        };
        assert_eq!(sizes(1), sizes(1));
        assert_ne!(sizes(1), sizes(2));
        let acts = |seed| -> Vec<_> { Plan { seed }.acts(3).take(100).collect() };
        assert_eq!(acts(1), acts(1));
        assert_ne!(acts(1), acts(2));
        let kills = |seed| -> Vec<_> { Plan { seed }.kills().take(100).collect() };
        assert_eq!(kills(1), kills(1));
        assert_ne!(kills(1), kills(2));
    }

    #[test]
    fn a_plan_has_all_lengths_and_all_ways() {
        let whole: u64 = LENGTHS.iter().map(|(share, _)| share).sum();
        assert_eq!(whole, 10_000);
        let plan = Plan { seed: 7 };
        let sizes: Vec<usize> = (0..200_000).map(|number| plan.size(1, 0, number)).collect();
        for range in [
            0..17,
            17..1_025,
            20_000..70_000,
            70_000..140_000,
            2 << 20..4 << 20,
        ] {
            assert!(sizes.iter().any(|size| range.contains(size)), "{range:?}");
        }
        let acts: Vec<_> = plan.acts(1).take(1_000).collect();
        for receiver in 0..RECEIVERS {
            let ways = || acts.iter().filter(|act| act.0 == receiver);
            assert!(ways().any(|act| act.1 == Way::Waiting));
            assert!(ways().any(|act| act.1 == Way::Trying));
            assert!(ways().any(|act| matches!(act.1, Way::Limited(_))));
        }
    }
}
