//! What processes leave behind: what they forked and executed themselves, and what that did.
//!
//! The coordinator is a subreaper (PR_SET_CHILD_SUBREAPER(2const)), so whoever loses its parent becomes its child: also one
//! that has forked twice, or leads a session of its own. Each process carries a mark that all which descends from it inherits
//! (the soft `RLIMIT_LOCKS`, which Linux does not enforce), so it can be told whose an orphan is, long after its parents
//! are gone. One whose process has ended is killed; one whose process lives is left alone.
//!
//! | who | is looked for | by |
//! |---|---|---|
//! | few processes | at each end, before it is told | the list of children, open all the time: some µs |
//! | many | after an end, and at the most as often as costs a twentieth of the time | the same list, 1 µs a child |
//!
//! Once there is one, all of /proc is looked through for those that carry the mark, until there is none that is not stopped;
//! and then they are killed. So a fork bomb, too, has an end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use occ_proc::Evidence;
use occ_spawn::OsPid;
use rustix::io::Errno;
use rustix::process::Signal;

use super::Central;
use crate::descent::{Children, Mark, name_of, signal_child, signal_if, stop_all};
use crate::state::Serial;
use crate::sys;

/// With so many processes or fewer, orphans are looked for at each end.
const FEW: usize = 16;

/// When to look after an end among many, and again after orphans were found.
const SOON: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_millis(5);

/// Looking takes no more than this part of the time.
const SHARE: u32 = 20;

/// How long the coordinator waits, at its own end, for the last of them.
const LAST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Orphans {
    incarnation: u32,
    /// What the coordinator carries itself, where it descends from a process of another system; and so does a child of
    /// it until it has a mark of its own.
    inherited: Option<Mark>,
    children: Children,
    pub(super) look_at: Option<Instant>,
    /// Not sooner: looking has cost as much.
    not_before: Option<Instant>,
    /// Those that may not be killed: of another user, by a set-user-ID program.
    spared: BTreeSet<OsPid>,
}

impl Orphans {
    pub(super) fn new(incarnation: u32) -> Orphans {
        Orphans {
            incarnation,
            inherited: Mark::of(OsPid::own()),
            children: Children::new(),
            look_at: None,
            not_before: None,
            spared: BTreeSet::new(),
        }
    }

    /// What a process and all that descends from it carry.
    pub(super) fn mark(&self, process: Serial) -> u64 {
        let mark = Mark {
            incarnation: self.incarnation,
            process: process as u32,
        };
        mark.bits()
    }

    /// The process that a mark stands for, if it is one of this system.
    fn of_mark(&self, mark: Mark) -> Option<Serial> {
        (mark.incarnation == self.incarnation).then_some(u64::from(mark.process))
    }

    fn look_by(&mut self, at: Instant) {
        let at = self.not_before.map_or(at, |first| first.max(at));
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }
}

impl Central {
    /// A process has ended and is not reaped: what it has left is killed, and told of if that is found at once.
    pub(super) fn end_orphans_of(&mut self, process: Serial) -> Vec<Evidence> {
        if self.lines.len() > FEW {
            self.orphans.look_by(Instant::now() + SOON);
            return Vec::new();
        }
        let killed = self.kill_orphans(Some(process));
        if !killed.is_empty() {
            self.expect_orphans();
        }
        killed
            .into_iter()
            .map(|(os_pid, name)| Evidence::LeftBehind { os_pid, name })
            .collect()
    }

    /// An orphan has been reaped: its number may be another's from now on, and what it had started may have come.
    pub(super) fn orphan_reaped(&mut self, os_pid: OsPid) {
        self.orphans.spared.remove(&os_pid);
        self.expect_orphans();
    }

    fn expect_orphans(&mut self) {
        self.orphans.look_by(Instant::now() + AGAIN);
    }

    /// Looks for them, if it is time.
    pub(super) fn look_for_orphans(&mut self) {
        let now = Instant::now();
        if self.orphans.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.orphans.look_at = None;
        let found = !self.kill_orphans(None).is_empty();
        self.orphans.not_before = Some(now + now.elapsed() * SHARE);
        if found {
            self.expect_orphans();
        }
    }

    /// Kills what the dead have left, `dying` included, if any of it has come here; and tells whom.
    fn kill_orphans(&mut self, dying: Option<Serial>) -> Vec<(OsPid, String)> {
        let mut stopped = BTreeMap::new();
        let mut ended = BTreeSet::new();
        loop {
            let before = ended.len();
            for os_pid in self.orphans.children.now() {
                if self.is_known(os_pid) || !self.is_left(os_pid, dying) {
                    continue;
                }
                match name_of(os_pid) {
                    Some(_) if signal_child(os_pid, Signal::STOP) == Err(Errno::PERM) => {
                        self.orphans.spared.insert(os_pid);
                    }
                    Some(name) => drop(stopped.insert(os_pid, name)),
                    None => drop(ended.replace(os_pid)),
                }
            }
            if !stopped.is_empty() {
                break;
            }
            // What one that has ended had started may have come since the list was made.
            if ended.len() == before {
                return Vec::new();
            }
        }

        // What those have started is not here yet, and they may go on starting: so all are stopped before any is killed.
        let ours: Vec<OsPid> = stopped.keys().copied().collect();
        stop_all(|os_pid| self.has_mark_of_dead(os_pid, dying), &mut stopped);
        for os_pid in stopped.keys() {
            if ours.contains(os_pid) {
                let _ = signal_child(*os_pid, Signal::KILL);
            } else {
                let is_one = || self.has_mark_of_dead(*os_pid, dying);
                signal_if(*os_pid, is_one, Signal::KILL);
            }
        }
        stopped.into_iter().collect()
    }

    /// Whether a child is one that belongs here.
    fn is_known(&self, os_pid: OsPid) -> bool {
        let zygote = self.zygote.as_ref().map(|zygote| zygote.os_pid());
        self.by_os_pid.contains_key(&os_pid)
            || zygote == Some(os_pid)
            || self.orphans.spared.contains(&os_pid)
    }

    /// Whether a child that is not known was left by somebody who has ended.
    fn is_left(&self, os_pid: OsPid, dying: Option<Serial>) -> bool {
        let mark = Mark::of(os_pid).filter(|mark| Some(*mark) != self.orphans.inherited);
        match mark.map(|mark| self.orphans.of_mark(mark)) {
            Some(Some(process)) => self.is_dead(process, dying),
            // Of another system within this one, whose coordinator has ended: else it would be there.
            Some(None) => true,
            // One that has not come as far as its mark was left by nobody.
            None => self.unborn.is_empty(),
        }
    }

    /// Whether a process that is not known carries the mark of one that has ended.
    fn has_mark_of_dead(&self, os_pid: OsPid, dying: Option<Serial>) -> bool {
        let process = Mark::of(os_pid).and_then(|mark| self.orphans.of_mark(mark));
        // The dead one itself has the mark as well, and is not reaped.
        process.is_some_and(|process| self.is_dead(process, dying)) && !self.is_known(os_pid)
    }

    fn is_dead(&self, process: Serial, dying: Option<Serial>) -> bool {
        Some(process) == dying || !self.state.is_alive(process)
    }

    /// At the coordinator's end nobody of them is left.
    pub(super) fn end_all_orphans(&mut self) {
        let deadline = Instant::now() + LAST;
        loop {
            sys::reap_all();
            let left = self.orphans.children.now();
            if left.is_empty() || Instant::now() >= deadline {
                return;
            }
            let killed = self.kill_orphans(None);
            if killed.is_empty() && left.iter().all(|left| self.orphans.spared.contains(left)) {
                return;
            }
            sys::wait_for_children(&self.signals, AGAIN);
        }
    }
}
