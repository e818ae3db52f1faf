//! Who was to be told of which end, and what has become of the messages of those that died.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::sequence::Faults;

#[cfg(test)]
mod tests;

/// What is wrong, in words: so many of it.
const SHOWN: usize = 20;

/// What came with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gifts {
    /// Messages with descriptors that were received.
    pub(crate) parcels: u64,
    /// Their descriptors.
    pub(crate) came: u64,
    /// That are not what was sent, did not come, or came and were not sent.
    pub(crate) wrong: u64,
    /// Messages with descriptors that were thrown away.
    pub(crate) thrown_away: u64,
}

impl Gifts {
    fn add(&mut self, other: Gifts) {
        self.parcels += other.parcels;
        self.came += other.came;
        self.wrong += other.wrong;
        self.thrown_away += other.thrown_away;
    }
}

/// What a receiver says of a sender that died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// That came, and their bytes.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of those messages, by the second threads of their senders.
    pub(crate) by_handle: u64,
    pub(crate) gifts: Gifts,
    pub(crate) faults: Faults,
    /// The end that it was told is the one that the sender had.
    pub(crate) is_right: bool,
    /// The sender was in the middle of a send to this receiver.
    pub(crate) was_interrupted: bool,
}

/// All verdicts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Senders that died.
    pub(crate) ended: u64,
    /// In the middle of a send.
    pub(crate) interrupted: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of those messages, by the second threads of their senders.
    pub(crate) by_handle: u64,
    pub(crate) gifts: Gifts,
    /// Messages with descriptors that were left where they were when the receivers ended.
    pub(crate) unread: u64,
    pub(crate) faults: Faults,
    /// Ends that were told as another, twice, or not at all.
    pub(crate) wrong: u64,
    pub(crate) doubled: u64,
    pub(crate) missing: u64,
}

impl Totals {
    pub(crate) fn count_faults(&self) -> u64 {
        self.faults.sum() + self.gifts.wrong + self.wrong + self.doubled + self.missing
    }
}

/// Of whom the end of a sender is due.
#[derive(Debug)]
struct Case {
    stage: bool,
    receivers: BTreeSet<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Judge {
    open: BTreeMap<u64, Case>,
    pub(crate) totals: Totals,
    pub(crate) notes: Vec<String>,
}

impl Judge {
    /// A sender was started, and is watched by the stage and so many receivers.
    pub(crate) fn open(&mut self, index: u64, receivers: usize) {
        let case = Case {
            stage: true,
            receivers: (0..receivers).collect(),
        };
        self.open.insert(index, case);
    }

    /// Nobody is to be told of this sender any more.
    pub(crate) fn is_closed(&self, index: u64) -> bool {
        !self.open.contains_key(&index)
    }

    /// Nobody is to be told of any sender any more.
    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// The stage was told of the end of a sender.
    pub(crate) fn told(&mut self, index: u64, is_right: bool, what: &dyn Display) {
        match self.open.get_mut(&index) {
            Some(case) if case.stage => case.stage = false,
            _ => return self.doubled(&format!("sender {index}: the stage")),
        }
        self.totals.ended += 1;
        self.check(index, is_right, &format!("the stage, as {what}"));
        self.close(index);
    }

    /// A receiver was.
    pub(crate) fn verdict(&mut self, index: u64, receiver: usize, verdict: &Verdict) {
        let case = self.open.get_mut(&index);
        if !case.is_some_and(|case| case.receivers.remove(&receiver)) {
            return self.doubled(&format!("sender {index}: receiver {receiver}"));
        }
        let totals = &mut self.totals;
        totals.interrupted += u64::from(verdict.was_interrupted);
        totals.messages += verdict.messages;
        totals.bytes += verdict.bytes;
        totals.by_handle += verdict.by_handle;
        totals.gifts.add(verdict.gifts);
        totals.faults.add(verdict.faults);
        if verdict.faults.sum() > 0 {
            self.note(format!(
                "sender {index}, receiver {receiver}: {}, of {} messages",
                verdict.faults, verdict.messages
            ));
        }
        if verdict.gifts.wrong > 0 {
            self.note(format!(
                "sender {index}, receiver {receiver}: {} descriptors are wrong, of {}",
                verdict.gifts.wrong, verdict.gifts.came
            ));
        }
        self.check(index, verdict.is_right, &format!("receiver {receiver}"));
        self.close(index);
    }

    /// Messages that came from no sender that lives.
    pub(crate) fn strays(&mut self, receiver: usize, count: u64) {
        self.totals.faults.stray += count;
        if count > 0 {
            self.note(format!(
                "receiver {receiver}: {count} messages of nobody that lives"
            ));
        }
    }

    /// Of the descriptors of a sender that is dead one is open.
    pub(crate) fn still_open(&mut self, index: u64) {
        self.note(format!("sender {index}: a descriptor is open still"));
    }

    /// Nothing more will be heard.
    pub(crate) fn give_up(&mut self) {
        for (index, case) in std::mem::take(&mut self.open) {
            self.totals.missing += u64::from(case.stage) + case.receivers.len() as u64;
            self.note(format!("sender {index}: not told: {case:?}"));
        }
    }

    fn doubled(&mut self, who: &str) {
        self.totals.doubled += 1;
        self.note(format!("{who} was told twice"));
    }

    fn check(&mut self, index: u64, is_right: bool, who: &str) {
        if !is_right {
            self.totals.wrong += 1;
            self.note(format!("sender {index}: {who} was told of another end"));
        }
    }

    fn close(&mut self, index: u64) {
        let is_closed = |case: &Case| !case.stage && case.receivers.is_empty();
        if self.open.get(&index).is_some_and(is_closed) {
            self.open.remove(&index);
        }
    }

    fn note(&mut self, fault: String) {
        if self.notes.len() < SHOWN {
            self.notes.push(fault);
        }
    }
}
