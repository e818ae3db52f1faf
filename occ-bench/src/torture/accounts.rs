//! What senders were told of their messages: in memory that all share, so that no SIGKILL loses any of it.

use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::line::Line;
use crate::sys::SharedNumbers;

/// Senders that can be accounted for. What none of them has written to takes no memory.
const MOST: u64 = 1 << 20;

/// Numbers for each line: begun, accepted.
const EACH: usize = 2;

const LEN: usize = MOST as usize * Line::EACH as usize * EACH;

pub(crate) struct Accounts(SharedNumbers);

/// Where another process finds them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Address(String);

/// What is known of the messages of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// So many sends were begun.
    pub(crate) begun: u64,
    /// So many of them returned, and without an error.
    pub(crate) accepted: u64,
}

impl Accounts {
    pub(crate) fn new() -> anyhow::Result<Accounts> {
        Ok(Accounts(SharedNumbers::new(LEN).context("shared memory")?))
    }

    pub(crate) fn address(&self) -> Address {
        Address(self.0.path())
    }

    /// The same memory, in another process or thread.
    pub(crate) fn at(Address(path): &Address) -> anyhow::Result<Accounts> {
        let numbers = SharedNumbers::at_path(path, LEN).with_context(|| path.clone())?;
        Ok(Accounts(numbers))
    }

    pub(crate) fn check(sender: u64) -> anyhow::Result<()> {
        ensure!(sender < MOST, "there is no account for sender {sender}");
        Ok(())
    }

    /// A send has begun, of the message of this number.
    pub(crate) fn begin(&self, line: Line, number: u64) {
        self.0.at(place(line)).store(number + 1, Ordering::Release);
    }

    /// It was accepted.
    pub(crate) fn accept(&self, line: Line, number: u64) {
        let accepted = self.0.at(place(line) + 1);
        accepted.store(number + 1, Ordering::Release);
    }

    pub(crate) fn of(&self, line: Line) -> Account {
        let place = place(line);
        Account {
            begun: self.0.at(place).load(Ordering::Acquire),
            accepted: self.0.at(place + 1).load(Ordering::Acquire),
        }
    }
}

fn place(line: Line) -> usize {
    line.index() as usize * EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads_and_only_where_it_belongs() {
        let accounts = Accounts::new().unwrap();
        let other = Accounts::at(&accounts.address()).unwrap();
        let account = |begun, accepted| Account { begun, accepted };
        let last = MOST * Line::EACH - 1;
        let line = Line::at(last);
        accounts.begin(line, 6);
        assert_eq!(other.of(line), account(7, 0));
        accounts.accept(line, 6);
        assert_eq!(other.of(line), account(7, 7));
        for another in 1..2 * Line::EACH {
            assert_eq!(other.of(Line::at(last - another)), account(0, 0));
        }
    }
}
