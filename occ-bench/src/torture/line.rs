//! Who sends what to whom, so that all of it comes in one order.

use super::plan::RECEIVERS;

/// Threads that a sender may have. What one of them sends keeps its order, and what two of them do has none.
pub(crate) const THREADS: u64 = 2;

/// Messages that one thread of a sender sends to one receiver, numbered from 0: those that are received, or those that are thrown
/// away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sender: u64,
    pub(crate) thread: u64,
    pub(crate) receiver: usize,
    pub(crate) is_litter: bool,
}

impl Line {
    /// So many has each sender.
    pub(crate) const EACH: u64 = 2 * THREADS * RECEIVERS as u64;

    /// Its number among those of all senders.
    pub(crate) fn index(self) -> u64 {
        let to = (self.sender * THREADS + self.thread) * RECEIVERS as u64 + self.receiver as u64;
        to * 2 + u64::from(self.is_litter)
    }

    /// The line of this number.
    pub(crate) fn at(index: u64) -> Line {
        let (to, receivers) = (index / 2, RECEIVERS as u64);
        Line {
            sender: to / receivers / THREADS,
            thread: to / receivers % THREADS,
            receiver: (to % receivers) as usize,
            is_litter: index % 2 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_a_number_and_each_number_a_line() {
        for index in 0..5 * Line::EACH {
            let line = Line::at(index);
            assert_eq!(line.index(), index, "{line:?}");
            assert_eq!(line.sender, index / Line::EACH);
            assert!(line.thread < THREADS && line.receiver < RECEIVERS);
        }
    }
}
