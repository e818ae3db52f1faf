//! What is left of a system: there shall be nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use occ_proc::Stat;
use occasional::OsPid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, set_child_subreaper, waitid,
};

use crate::machine::open_fds;

/// How long the last of what processes left behind may live after them.
const LAST: Duration = Duration::from_secs(10);

/// What this process had before there was a system.
pub(crate) struct Before {
    fds: usize,
}

impl Before {
    /// Whatever loses its parent below here comes to this process from now on, and is found.
    pub(crate) fn now() -> anyhow::Result<Before> {
        set_child_subreaper(Some(getpid())).context("prctl(PR_SET_CHILD_SUBREAPER)")?;
        Ok(Before {
            fds: open_fds(OsPid::own())?,
        })
    }

    /// Descriptors that this process has more than it had.
    pub(crate) fn fds_left(&self) -> anyhow::Result<usize> {
        Ok(open_fds(OsPid::own())?.saturating_sub(self.fds))
    }

    /// Fails if this process has a child, a zombie too, or more descriptors than before.
    pub(crate) fn nothing_is_left(&self) -> anyhow::Result<()> {
        let children = children_of(OsPid::own())?;
        ensure!(children.is_empty(), "processes are left: {children:?}");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let any = waitid(WaitId::All, options);
        ensure!(matches!(any, Err(Errno::CHILD)), "a child is left: {any:?}");
        let fds = self.fds_left()?;
        ensure!(fds == 0, "{fds} descriptors are left open");
        Ok(())
    }
}

/// How many descriptors more than `before` another process has for good: it may be about to close some, and may have opened one for
/// a moment.
pub(crate) fn fds_more_than(before: usize, os_pid: OsPid) -> anyhow::Result<usize> {
    let deadline = Instant::now() + LAST;
    loop {
        let more = open_fds(os_pid)?.saturating_sub(before);
        if more == 0 || Instant::now() >= deadline {
            return Ok(more);
        }
        rustix::thread::sched_yield();
    }
}

/// The children of a process, zombies too.
pub(crate) fn children_of(parent: OsPid) -> anyhow::Result<Vec<OsPid>> {
    let all = occ_proc::processes()?;
    let is_child = |os_pid: &OsPid| Stat::of(*os_pid).is_ok_and(|stat| stat.parent == Some(parent));
    Ok(all.into_iter().filter(is_child).collect())
}

/// Waits until there is no child of `parent` but those that `are_known`, and gives those that do not end.
pub(crate) fn strangers(
    parent: OsPid,
    are_known: impl Fn(OsPid) -> bool,
) -> anyhow::Result<Vec<OsPid>> {
    let deadline = Instant::now() + LAST;
    loop {
        let strange = children_of(parent)?.into_iter();
        let strange: Vec<OsPid> = strange.filter(|os_pid| !are_known(*os_pid)).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(any) = strange.first().filter(|_| !left.is_zero()) else {
            return Ok(strange);
        };
        let Ok(pidfd) = pidfd_open(any.to_rustix().context("no pid")?, PidfdFlags::empty()) else {
            // It has gone.
            continue;
        };
        let limit = left.try_into().context("a limit")?;
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))?;
        // It is a zombie now, and its parent's to reap.
        rustix::thread::sched_yield();
    }
}
