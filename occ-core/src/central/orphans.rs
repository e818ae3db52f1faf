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

/// Looking takes no more than this part of the time; but it is not put off for longer than that.
const SHARE: u32 = 20;
const LATEST: Duration = Duration::from_secs(1);

/// How long the coordinator waits, at its own end, for the last of them.
const LAST: Duration = Duration::from_secs(5);

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Whose descendants are to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dead {
    /// Those of processes that have ended.
    Known,
    /// And those of this one, which is about to have.
    And(Serial),
    /// Of everybody, and of nobody that can be told.
    All,
}

/// One that was left, and by whom, if that can be told.
#[derive(Debug)]
struct Left {
    os_pid: OsPid,
    name: String,
    of: Option<Serial>,
}

#[derive(Debug)]
pub(super) struct Orphans {
    incarnation: u32,
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
            children: Children::new(),
            look_at: None,
            not_before: None,
            spared: BTreeSet::new(),
        }
    }

    pub(super) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// What a process and all that descends from it carry.
    pub(super) fn mark(&self, process: Serial) -> u64 {
        let mark = Mark {
            incarnation: self.incarnation,
            process: process as u32,
        };
        mark.bits()
    }

    /// The process that another descends from.
    fn process_of(&self, os_pid: OsPid) -> Option<Serial> {
        Mark::of(os_pid, self.incarnation).map(|mark| u64::from(mark.process))
    }

    fn look_by(&mut self, at: Instant) {
        let at = self.not_before.map_or(at, |first| first.max(at));
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }
}

impl Central {
    /// A process has ended and is not reaped: what it has left is killed, and told of if that is found at once.
    pub(super) fn end_orphans_of(&mut self, process: Serial) -> Vec<Evidence> {
        if self.lines.len() + self.spares.len() > FEW {
            self.orphans.look_by(Instant::now() + SOON);
            return Vec::new();
        }
        let killed = self.kill_orphans(Dead::And(process));
        if !killed.is_empty() {
            self.expect_orphans();
        }
        // Others may have left some, too, that are found only now.
        let its_own = killed.into_iter().filter(|left| left.of == Some(process));
        its_own
            .map(|Left { os_pid, name, .. }| Evidence::LeftBehind { os_pid, name })
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
        let before = processor_time();
        let found = !self.kill_orphans(Dead::Known).is_empty();
        // Of the processor's time: on a busy machine much more than that goes by.
        let cost = processor_time().saturating_sub(before);
        self.orphans.not_before = Some(now + (cost * SHARE).min(LATEST));
        if found {
            self.expect_orphans();
        }
    }

    /// Kills what the dead have left, if any of it has come here; and tells whom.
    fn kill_orphans(&mut self, dead: Dead) -> Vec<Left> {
        let mut stopped = BTreeMap::new();
        let mut ended = BTreeSet::new();
        loop {
            let before = ended.len();
            for os_pid in self.orphans.children.now() {
                if self.is_known(os_pid) || !self.is_left(os_pid, dead) {
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
        let has_mark = |os_pid: OsPid| {
            let process = self.orphans.process_of(os_pid);
            // The dead one itself has the mark as well, and is not reaped.
            process.is_some_and(|process| self.is_dead(process, dead)) && !self.is_known(os_pid)
        };
        stop_all(has_mark, &mut stopped);
        let mut killed = Vec::new();
        for (os_pid, name) in stopped {
            let of = self.orphans.process_of(os_pid);
            if ours.contains(&os_pid) {
                let _ = signal_child(os_pid, Signal::KILL);
            } else {
                signal_if(os_pid, || has_mark(os_pid), Signal::KILL);
            }
            killed.push(Left { os_pid, name, of });
        }
        killed
    }

    /// Whether a child is one that belongs here.
    fn is_known(&self, os_pid: OsPid) -> bool {
        let zygote = self.zygote.as_ref().map(|zygote| zygote.os_pid());
        self.by_os_pid.contains_key(&os_pid)
            || self.spares.has(os_pid)
            || zygote == Some(os_pid)
            || self.orphans.spared.contains(&os_pid)
    }

    /// Whether a child that is not known was left by somebody who has ended. One that cannot be told is nobody's, and may be
    /// that of one who lives.
    fn is_left(&self, os_pid: OsPid, dead: Dead) -> bool {
        match self.orphans.process_of(os_pid) {
            Some(process) => self.is_dead(process, dead),
            None => dead == Dead::All,
        }
    }

    fn is_dead(&self, process: Serial, dead: Dead) -> bool {
        dead == Dead::All || dead == Dead::And(process) || !self.state.is_alive(process)
    }

    /// At the coordinator's end nobody of them is left.
    pub(super) fn end_all_orphans(&mut self) {
        let deadline = Instant::now() + LAST;
        loop {
            sys::reap_all();
            let left = self.orphans.children.now();
            self.remove_groups();
            let none = left.is_empty() && self.emptying.is_empty();
            if none || Instant::now() >= deadline {
                return;
            }
            let killed = self.kill_orphans(Dead::All);
            let spared = left.iter().all(|left| self.orphans.spared.contains(left));
            if killed.is_empty() && spared && self.emptying.is_empty() {
                return;
            }
            sys::wait_for_children(&self.signals, AGAIN);
        }
    }
}
