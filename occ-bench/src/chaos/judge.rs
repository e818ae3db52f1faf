//! What was to be told, and what was.
//!
//! A case is a process of the plan, from its spawn until all that is to be told of it is: to the judge, which monitors all, and to
//! each of its watchers that lives. A watcher that dies is told nothing any more; what it had passed on before counts.

use std::collections::{BTreeMap, BTreeSet};

use occasional::Pid;

use super::plan::{Act, WAYS, When};
use super::told::{Fate, Told, expected};
use super::watcher::Heard;

#[cfg(test)]
mod tests;

/// Faults that are told in full.
const SHOWN: u64 = 20;

/// What became of the reports of one way to die.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) deaths: u64,
    pub(crate) reports: u64,
    /// Another reason or cause than planned.
    pub(crate) wrong: u64,
    /// None came.
    pub(crate) missing: u64,
    /// It came, and had come.
    pub(crate) doubled: u64,
    /// It came before the last message of the dead.
    pub(crate) early: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.deaths += other.deaths;
        self.reports += other.reports;
        self.wrong += other.wrong;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.early += other.early;
    }

    pub(crate) fn faults(self) -> u64 {
        self.wrong + self.missing + self.doubled + self.early
    }
}

/// A row of the tallies: a way to die; after those watchers, and nobody that is under way.
pub(crate) const WATCHER: usize = WAYS.len();
pub(crate) const NOBODY: usize = WAYS.len() + 1;

/// A process of the plan that somebody is still to be told of.
pub(crate) struct Case {
    pub(crate) act: Act,
    pub(crate) pid: Pid,
    own_is_due: bool,
    /// Reports that are due from watchers: from whom, by which of its monitors.
    due: BTreeSet<(Pid, u8)>,
    /// Watchers that have not said that they watch.
    pub(crate) awaited: BTreeSet<Pid>,
    /// It has had its messages, or its death from outside.
    pub(crate) is_released: bool,
    heard: Heard,
}

/// All that is watched and told.
pub(crate) struct Judge {
    /// What the system calls the judge, and so whoever is killed by its wish is told.
    name: String,
    pub(crate) open: BTreeMap<u64, Case>,
    pub(crate) tallies: [Tally; NOBODY + 1],
    /// What is wrong, in words: the first of it.
    pub(crate) faults: Vec<String>,
}

impl Judge {
    pub(crate) fn new(name: String) -> Judge {
        Judge {
            name,
            open: BTreeMap::new(),
            tallies: [Tally::default(); NOBODY + 1],
            faults: Vec::new(),
        }
    }

    /// A process has been made.
    pub(crate) fn open(&mut self, act: Act, pid: Pid) {
        self.tallies[act.way as usize].deaths += 1;
        let case = Case {
            act,
            pid,
            own_is_due: true,
            due: BTreeSet::new(),
            awaited: BTreeSet::new(),
            is_released: false,
            heard: Heard::default(),
        };
        self.open.insert(act.index, case);
    }

    /// `watcher` has been ordered to watch.
    pub(crate) fn expect(&mut self, index: u64, watcher: Pid, monitors: u8) {
        if let Some(case) = self.open.get_mut(&index) {
            case.due.extend((0..monitors).map(|nth| (watcher, nth)));
            if case.waits_for_watchers() {
                case.awaited.insert(watcher);
            }
        }
    }

    /// A message of a process itself.
    pub(crate) fn hear(&mut self, index: u64, number: u8) {
        match self.open.get_mut(&index) {
            Some(case) if case.own_is_due => case.heard.hear(number),
            Some(case) => {
                let row = case.act.way as usize;
                self.early(row, index, "the judge");
            }
            None => self.early(NOBODY, index, "the judge"),
        }
    }

    pub(crate) fn early(&mut self, row: usize, index: u64, whose: &str) {
        self.tallies[row].early += 1;
        self.note(format!("{index}: a message came to {whose} after its Down"));
    }

    /// The judge's own monitor of a process was answered.
    pub(crate) fn own(&mut self, index: u64, told: &Told) {
        let Some(case) = self.open.get_mut(&index).filter(|case| case.own_is_due) else {
            return self.doubled(NOBODY, format!("{index}: {told:?}"));
        };
        case.own_is_due = false;
        let (act, heard) = (case.act, case.heard);
        self.compare(act, told, false, heard, "the judge");
        self.close(index);
    }

    /// A watcher has passed a report on.
    pub(crate) fn seen(&mut self, from: Pid, index: u64, nth: u8, told: &Told, heard: Heard) {
        let Some(case) = self.open.get_mut(&index) else {
            return self.doubled(NOBODY, format!("{index} from {from}: {told:?}"));
        };
        let (act, late) = (case.act, !case.waits_for_watchers());
        if !case.due.remove(&(from, nth)) {
            return self.doubled(act.way as usize, format!("{act:?} from {from}: {told:?}"));
        }
        self.compare(act, told, late, heard, &format!("watcher {from}"));
        self.close(index);
    }

    /// A report too many.
    pub(crate) fn doubled(&mut self, row: usize, what: String) {
        self.tallies[row].doubled += 1;
        self.note(format!("one report too many: {what}"));
    }

    fn compare(&mut self, act: Act, told: &Told, may_be_late: bool, heard: Heard, who: &str) {
        let expected = expected(&act, &self.name);
        let tally = &mut self.tallies[act.way as usize];
        tally.reports += 1;
        let right = told.is_right(&expected, may_be_late);
        tally.wrong += u64::from(!right);
        let complete = was_complete(&act, told, heard);
        tally.early += u64::from(!complete);
        if !right {
            self.note(format!(
                "{act:?}: {who} was told {told:?}, not {expected:?}"
            ));
        }
        if !complete {
            self.note(format!("{act:?}: {who} was told its end, having {heard:?}"));
        }
    }

    /// A watcher has ended, and not before its words were heard: nothing more is due from it.
    pub(crate) fn lose(&mut self, watcher: Pid) {
        let all: Vec<u64> = self.open.keys().copied().collect();
        for index in all {
            if let Some(case) = self.open.get_mut(&index) {
                case.due.retain(|(from, _)| *from != watcher);
                case.awaited.remove(&watcher);
            }
            self.close(index);
        }
    }

    pub(crate) fn watcher_ended(&mut self, act: &Act, told: &Told) {
        let expected = expected(act, &self.name);
        let right = told.is_right(&expected, false);
        let tally = &mut self.tallies[WATCHER];
        tally.deaths += 1;
        tally.reports += 1;
        tally.wrong += u64::from(!right);
        if !right {
            self.note(format!("watcher {act:?}: told {told:?}, not {expected:?}"));
        }
    }

    /// Whatever is still due will not come. Gives the processes that were not told as ended.
    pub(crate) fn give_up(&mut self) -> Vec<Pid> {
        let mut unended = Vec::new();
        for (index, case) in std::mem::take(&mut self.open) {
            let missing = case.due.len() as u64 + u64::from(case.own_is_due);
            self.tallies[case.act.way as usize].missing += missing;
            let whose = if case.own_is_due { "own and " } else { "" };
            self.note(format!(
                "{index}: {:?} {}: missing {whose}{:?}, not watching {:?}",
                case.act, case.pid, case.due, case.awaited
            ));
            if case.own_is_due {
                unended.push(case.pid);
            }
        }
        unended
    }

    fn close(&mut self, index: u64) {
        let is_done = |case: &Case| !case.own_is_due && case.due.is_empty();
        if self.open.get(&index).is_some_and(is_done) {
            self.open.remove(&index);
        }
    }

    fn note(&mut self, fault: String) {
        if (self.faults.len() as u64) < SHOWN {
            self.faults.push(fault);
        }
    }
}

impl Case {
    /// It does not die before all who are to watch it do.
    pub(crate) fn waits_for_watchers(&self) -> bool {
        matches!(self.act.when, When::After(_))
    }

    /// It is to be killed in the midst of its messages, and has come as far. The last may be the one; then it waits.
    pub(crate) fn has_said_enough(&self) -> bool {
        let When::Sending(messages) = self.act.when else {
            return false;
        };
        let enough = 1 + self.act.index % u64::from(messages);
        let is_waiting = self.act.way.is_from_outside() && !self.is_released;
        is_waiting && u64::from(self.heard.count) >= enough
    }

    /// It can have what it waits for.
    pub(crate) fn is_ready(&self) -> bool {
        self.waits_for_watchers() && self.awaited.is_empty() && !self.is_released
    }
}

/// Whether all messages of the dead had come before it was told of. How many there were is planned where it ended itself.
fn was_complete(act: &Act, told: &Told, heard: Heard) -> bool {
    let When::Sending(planned) = act.when else {
        return true;
    };
    let all = act.way.is_from_outside() || heard.count == planned;
    let was_there = told.fate != Fate::NoProcess;
    !heard.in_disorder && (all || !was_there)
}
