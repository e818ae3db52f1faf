//! What senders were told of their messages: in memory that all share, so that no SIGKILL loses any of it.

use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::plan::RECEIVERS;
use crate::sys::SharedNumbers;

/// Senders that can be accounted for. What none of them has written to takes no memory.
const MOST: u64 = 1 << 20;

/// Numbers for each sender and receiver: begun, accepted.
const EACH: usize = 2;

const LEN: usize = MOST as usize * RECEIVERS * EACH;

pub(crate) struct Accounts(SharedNumbers);

/// Where another process finds them.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Address(String);

/// What is known of the messages from one sender to one receiver.
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

    /// The same memory, in another process.
    pub(crate) fn at(Address(path): &Address) -> anyhow::Result<Accounts> {
        let numbers = SharedNumbers::at_path(path, LEN).with_context(|| path.clone())?;
        Ok(Accounts(numbers))
    }

    pub(crate) fn check(sender: u64) -> anyhow::Result<()> {
        ensure!(sender < MOST, "there is no account for sender {sender}");
        Ok(())
    }

    /// A send has begun, of the message of this number.
    pub(crate) fn begin(&self, sender: u64, receiver: usize, number: u64) {
        self.0
            .at(place(sender, receiver))
            .store(number + 1, Ordering::Release);
    }

    /// It was accepted.
    pub(crate) fn accept(&self, sender: u64, receiver: usize, number: u64) {
        let accepted = self.0.at(place(sender, receiver) + 1);
        accepted.store(number + 1, Ordering::Release);
    }

    pub(crate) fn of(&self, sender: u64, receiver: usize) -> Account {
        let place = place(sender, receiver);
        Account {
            begun: self.0.at(place).load(Ordering::Acquire),
            accepted: self.0.at(place + 1).load(Ordering::Acquire),
        }
    }
}

fn place(sender: u64, receiver: usize) -> usize {
    (sender as usize * RECEIVERS + receiver) * EACH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_the_other_reads_and_only_where_it_belongs() {
        let accounts = Accounts::new().unwrap();
        let other = Accounts::at(&accounts.address()).unwrap();
        let account = |begun, accepted| Account { begun, accepted };
        accounts.begin(MOST - 1, 1, 6);
        assert_eq!(other.of(MOST - 1, 1), account(7, 0));
        accounts.accept(MOST - 1, 1, 6);
        assert_eq!(other.of(MOST - 1, 1), account(7, 7));
        assert_eq!(other.of(MOST - 1, 0), account(0, 0));
        assert_eq!(other.of(MOST - 2, 1), account(0, 0));
    }
}
