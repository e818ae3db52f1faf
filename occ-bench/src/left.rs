//! What is left of a system: there shall be nothing.

use anyhow::{Context, ensure};
use occ_proc::Stat;
use occasional::OsPid;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use crate::machine::open_fds;

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

    /// Fails if this process has a child, a zombie too, or more descriptors than before.
    pub(crate) fn nothing_is_left(&self) -> anyhow::Result<()> {
        let children = children_of(OsPid::own())?;
        ensure!(children.is_empty(), "processes are left: {children:?}");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let any = waitid(WaitId::All, options);
        ensure!(matches!(any, Err(Errno::CHILD)), "a child is left: {any:?}");
        let fds = open_fds(OsPid::own())?.saturating_sub(self.fds);
        ensure!(fds == 0, "{fds} descriptors are left open");
        Ok(())
    }
}

/// The children of a process, zombies too.
pub(crate) fn children_of(parent: OsPid) -> anyhow::Result<Vec<OsPid>> {
    let all = occ_proc::processes()?;
    let is_child = |os_pid: &OsPid| Stat::of(*os_pid).is_ok_and(|stat| stat.parent == Some(parent));
    Ok(all.into_iter().filter(is_child).collect())
}
