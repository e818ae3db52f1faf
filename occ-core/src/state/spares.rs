//! Spares: numbers that are given away before there is a process.
//!
//! So a spare can carry its mark, and know its own name, before anybody asks for it. A spawn that suits a spare takes the number of
//! one that is ready. Whether that is still there is seen when it is told; if not, the process is made as any other, and has the
//! number all the same: each is given once.

use std::collections::{BTreeSet, VecDeque};

use super::{Serial, State};

#[derive(Debug, Default)]
pub(super) struct Spares {
    /// Those that are being made, and those that are ready.
    all: BTreeSet<Serial>,
    /// The first is the one that is used next.
    ready: VecDeque<Serial>,
}

impl Spares {
    pub(super) fn is_one(&self, number: Serial) -> bool {
        self.all.contains(&number)
    }

    pub(super) fn is_ready(&mut self, number: Serial) {
        if self.all.contains(&number) && !self.ready.contains(&number) {
            self.ready.push_back(number);
        }
    }

    pub(super) fn is_gone(&mut self, number: Serial) {
        self.all.remove(&number);
        self.ready.retain(|ready| *ready != number);
    }

    /// One that is a spare no more.
    fn take(&mut self) -> Option<Serial> {
        let number = self.ready.pop_front()?;
        self.all.remove(&number);
        Some(number)
    }
}

impl State {
    /// A number for a spare that is going to be made.
    pub fn reserve(&mut self) -> Serial {
        let number = self.next_number();
        self.spares.all.insert(number);
        number
    }

    /// The number of a new process.
    pub(super) fn number_for(&mut self, suits_a_spare: bool) -> Serial {
        let spare = if suits_a_spare {
            self.spares.take()
        } else {
            None
        };
        spare.unwrap_or_else(|| self.next_number())
    }

    fn next_number(&mut self) -> Serial {
        let number = self.next;
        self.next += 1;
        number
    }
}
