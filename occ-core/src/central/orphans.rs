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
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use occ_proc::{Evidence, Stat};
use occ_spawn::OsPid;
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, openat, seek};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal};

use super::Central;
use crate::state::Serial;
use crate::sys;

/// With so many processes or fewer, orphans are looked for at each end.
const FEW: usize = 16;

/// When to look after an end among many, and again after orphans were found.
const SOON: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_millis(5);

/// Looking takes no more than this part of the time.
const SHARE: u32 = 20;

/// How often all of /proc is looked through for one more, at the most.
const PASSES: u32 = 10;

/// How long the coordinator waits, at its own end, for the last of them.
const LAST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Orphans {
    incarnation: u32,
    /// What the coordinator carries itself, where it descends from a process of another system; and so does a child of
    /// it until it has a mark of its own.
    inherited: Option<u64>,
    /// The list of the coordinator's children; nothing where the kernel has none.
    list: Option<OwnedFd>,
    pub(super) look_at: Option<Instant>,
    /// Not sooner: looking has cost as much.
    not_before: Option<Instant>,
    /// Those that may not be killed: of another user, by a set-user-ID program.
    spared: BTreeSet<OsPid>,
}

impl Orphans {
    pub(super) fn new(incarnation: u32) -> Orphans {
        let pid = std::process::id();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let list = openat(
            CWD,
            format!("/proc/self/task/{pid}/children"),
            flags,
            Mode::empty(),
        );
        Orphans {
            incarnation,
            inherited: occ_proc::locks_limit(OsPid::own()).ok().flatten(),
            list: list.ok(),
            look_at: None,
            not_before: None,
            spared: BTreeSet::new(),
        }
    }

    /// What a process and all that descends from it carry.
    pub(super) fn mark(&self, process: Serial) -> u64 {
        // Four thousand million processes later a number comes again; whoever had it before is long gone.
        (u64::from(self.incarnation) << 32) | (process & u64::from(u32::MAX))
    }

    fn children(&self) -> Vec<OsPid> {
        match self.list.as_ref().and_then(|list| read_all(list).ok()) {
            Some(text) => String::from_utf8_lossy(&text)
                .split_ascii_whitespace()
                .filter_map(|number| number.parse().ok().map(OsPid::new))
                .collect(),
            None => children_by_stat(),
        }
    }

    fn look_by(&mut self, at: Instant) {
        let at = self.not_before.map_or(at, |first| first.max(at));
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }
}

fn read_all(list: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    seek(list, SeekFrom::Start(0))?;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match rustix::io::read(list, &mut buffer) {
            Ok(0) => return Ok(text),
            Ok(read) => text.extend_from_slice(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The name of a process that has not ended.
fn name_of(os_pid: OsPid) -> Option<String> {
    let stat = Stat::of(os_pid).ok()?;
    (stat.state != occ_proc::State::Zombie).then_some(stat.name)
}

fn children_by_stat() -> Vec<OsPid> {
    let own = OsPid::own();
    let all = occ_proc::processes().unwrap_or_default();
    let is_ours = |os_pid: &OsPid| Stat::of(*os_pid).is_ok_and(|stat| stat.parent == Some(own));
    all.into_iter().filter(is_ours).collect()
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

    /// An orphan has ended, and what it had started may be one now.
    pub(super) fn expect_orphans(&mut self) {
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
        let children = self.orphans.children();
        let is_orphan = |os_pid: &OsPid| {
            let known = self.by_os_pid.contains_key(os_pid)
                || self.orphans.spared.contains(os_pid)
                || self
                    .zygote
                    .as_ref()
                    .is_some_and(|zygote| zygote.os_pid() == *os_pid);
            !known && self.is_orphan_of_the_dead(*os_pid, dying) && name_of(*os_pid).is_some()
        };
        let here: Vec<OsPid> = children.into_iter().filter(is_orphan).collect();
        if here.is_empty() {
            return Vec::new();
        }

        // What those have started is not here yet, and they may go on starting: so all are stopped before any is killed.
        // Whoever is stopped does not fork.
        let mut stopped: BTreeMap<OsPid, String> = BTreeMap::new();
        for os_pid in here {
            // It is our child, and not reaped: the number is its own.
            let sent = os_pid
                .to_rustix()
                .map(|pid| rustix::process::kill_process(pid, Signal::STOP));
            if sent == Some(Err(Errno::PERM)) {
                self.orphans.spared.insert(os_pid);
            } else if let Some(name) = name_of(os_pid) {
                stopped.insert(os_pid, name);
            }
        }
        for _ in 0..PASSES {
            let before = stopped.len();
            for os_pid in occ_proc::processes().unwrap_or_default() {
                if !stopped.contains_key(&os_pid)
                    && self.signal_descendant(os_pid, dying, Signal::STOP)
                    && let Some(name) = name_of(os_pid)
                {
                    stopped.insert(os_pid, name);
                }
            }
            if stopped.len() == before {
                break;
            }
        }
        for os_pid in stopped.keys() {
            if !self.signal_descendant(*os_pid, dying, Signal::KILL)
                && let Some(pid) = os_pid.to_rustix()
                && self.orphans.children().contains(os_pid)
            {
                // One without a mark, or with another's.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        stopped.into_iter().collect()
    }

    /// Whether it descends from a process that has ended. `None` in `process` is one that was never ours, or whose mark
    /// was taken off.
    fn is_orphan_of_the_dead(&self, os_pid: OsPid, dying: Option<Serial>) -> bool {
        let Ok(mark) = occ_proc::locks_limit(os_pid) else {
            return false;
        };
        let own = mark.filter(|mark| Some(*mark) != self.orphans.inherited);
        match own.map(|mark| self.of_mark(mark)) {
            Some(Some(process)) => Some(process) == dying || !self.state.is_alive(process),
            // Of another system within this one, whose coordinator has ended: else it would be there.
            Some(None) => true,
            // One that has not come as far as its mark is not an orphan.
            None => self.unborn.is_empty(),
        }
    }

    /// The process that a mark stands for.
    fn of_mark(&self, mark: u64) -> Option<Serial> {
        let ours = mark >> 32 == u64::from(self.orphans.incarnation);
        ours.then_some(mark & u64::from(u32::MAX))
    }

    /// Sends a signal to one that descends from a dead process of ours, and is not our child perhaps.
    fn signal_descendant(&self, os_pid: OsPid, dying: Option<Serial>, signal: Signal) -> bool {
        let is_one = || {
            let mark = occ_proc::locks_limit(os_pid).ok().flatten();
            let process = mark.and_then(|mark| self.of_mark(mark));
            let is_dead = |process| Some(process) == dying || !self.state.is_alive(process);
            // The dead one itself has the mark as well, and is not reaped.
            process.is_some_and(is_dead) && !self.by_os_pid.contains_key(&os_pid)
        };
        if !is_one() {
            return false;
        }
        let pidfd = os_pid
            .to_rustix()
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        // The number may have become another's before the descriptor was there.
        pidfd.is_some_and(|pidfd| {
            is_one() && rustix::process::pidfd_send_signal(pidfd, signal).is_ok()
        })
    }

    /// At the coordinator's end nobody of them is left.
    pub(super) fn end_all_orphans(&mut self) {
        let deadline = Instant::now() + LAST;
        loop {
            while let Some(os_pid) = sys::any_ended_child().map(OsPid::new) {
                let _ = occ_spawn::kernel::ended(occ_spawn::kernel::Whom::OsPid(os_pid), true);
            }
            let left = self.orphans.children();
            if left.is_empty() || Instant::now() >= deadline {
                return;
            }
            let killed = self.kill_orphans(None);
            if killed.is_empty() && left.iter().all(|left| self.orphans.spared.contains(left)) {
                return;
            }
            let moment = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 5_000_000,
            };
            let signals = rustix::event::PollFd::new(&self.signals, rustix::event::PollFlags::IN);
            let _ = rustix::event::poll(&mut [signals], Some(&moment));
            sys::signalled_children(&self.signals);
        }
    }
}
