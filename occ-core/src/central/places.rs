//! Who is counted where in the [`Tally`].

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::state::Serial;
use crate::tally::Tally;

/// So many others have a place first before one is another's: a sender counts after it has sent, and may have stood still in between
/// for as long as it took its receiver to end. With those the free ones are a page of memory for each of the two counts.
const REST: usize = 63;

/// The place of a process.
#[derive(Clone, Copy, Debug)]
struct Place {
    index: u32,
    /// What was left there by whoever had it before.
    before: i64,
}

#[derive(Debug, Default)]
pub(super) struct Tallied {
    /// The memory, and what a zygote and the host find it by; nothing where there is none to be had.
    memory: Option<(Tally, OwnedFd)>,
    of: HashMap<Serial, Place>,
    /// Those that somebody had, the longest ago first.
    free: VecDeque<u32>,
    /// How many have ever been given.
    given: u32,
}

impl Tallied {
    /// For so many processes.
    pub(super) fn new(most: usize) -> Tallied {
        Tallied {
            memory: Tally::create(most).ok(),
            ..Tallied::default()
        }
    }

    /// What others find the memory by.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.memory.as_ref().map(|(_, fd)| fd.as_fd())
    }

    /// Gives a process a place, if it has none yet and there is one.
    pub(super) fn give(&mut self, process: Serial) -> Option<u32> {
        if let Some(place) = self.of.get(&process) {
            return Some(place.index);
        }
        let (tally, _) = self.memory.as_ref()?;
        // One that nobody has had is memory that nobody has touched.
        let fresh = (self.given as usize) < tally.places();
        let place = if fresh && self.free.len() < REST {
            let index = self.given;
            self.given += 1;
            Place { index, before: 0 }
        } else {
            let index = self.free.pop_front()?;
            let before = tally.unread(index);
            Place { index, before }
        };
        self.of.insert(process, place);
        Some(place.index)
    }

    /// The place of a process.
    pub(super) fn of(&self, process: Serial) -> Option<u32> {
        self.of.get(&process).map(|place| place.index)
    }

    /// How many messages a process that has ended had not received.
    pub(super) fn unread(&self, process: Serial) -> u64 {
        let (Some(place), Some((tally, _))) = (self.of.get(&process), &self.memory) else {
            return 0;
        };
        let left = tally.unread(place.index).wrapping_sub(place.before);
        u64::try_from(left).unwrap_or(0)
    }

    /// A process is no more, or will never be.
    pub(super) fn take_back(&mut self, process: Serial) {
        if let Some(place) = self.of.remove(&process) {
            self.free.push_back(place.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use occ_inbox::Tallies;

    use super::*;

    #[test]
    fn a_place_is_one_process_s_at_a_time_and_what_it_leaves_is_not_the_next_one_s() {
        let mut tallied = Tallied::new(2);
        let senders = Tally::of(tallied.fd().unwrap()).unwrap();
        assert_eq!(
            [10, 11, 12].map(|one| tallied.give(one)),
            [Some(0), Some(1), None]
        );
        assert_eq!(tallied.give(10), Some(0));
        senders.sent(0);
        senders.sent(0);
        senders.received(0, 1);
        senders.received(1, 1);
        assert_eq!([10, 11, 12].map(|one| tallied.unread(one)), [1, 0, 0]);
        tallied.take_back(10);
        tallied.take_back(11);
        tallied.take_back(12);
        assert_eq!(
            [13, 14, 15].map(|one| tallied.give(one)),
            [Some(0), Some(1), None]
        );
        assert_eq!([10, 13, 14].map(|one| tallied.unread(one)), [0, 0, 0]);
        senders.sent(0);
        senders.sent(1);
        assert_eq!([13, 14].map(|one| tallied.unread(one)), [1, 1]);
        assert_eq!([10, 13].map(|one| tallied.of(one)), [None, Some(0)]);
    }

    /// It may stand still between the two for as long as it takes another to be made: who receives a message runs at once, on the
    /// same processor.
    #[test]
    fn what_a_sender_counts_after_its_receiver_has_ended_is_not_the_next_one_s() {
        let mut tallied = Tallied::new(1000);
        let senders = Tally::of(tallied.fd().unwrap()).unwrap();
        for one in 0..500 {
            let late = tallied.give(one).unwrap();
            tallied.take_back(one);
            let next = one + 1000;
            tallied.give(next).unwrap();
            senders.sent(late);
            assert_eq!(tallied.unread(next), 0, "{one}");
            tallied.take_back(next);
        }
        // No more memory is touched for that than a page for each of the two counts.
        assert!(tallied.given <= 64, "{}", tallied.given);
    }

    #[test]
    fn without_memory_nobody_has_a_place() {
        let mut tallied = Tallied::default();
        assert_eq!(
            (tallied.give(1), tallied.of(1), tallied.unread(1)),
            (None, None, 0)
        );
        tallied.take_back(1);
        assert!(tallied.fd().is_none());
    }
}
