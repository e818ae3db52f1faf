//! Who has a socket or a pipe open.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;

use crate::fds::{self, FdTarget};
use crate::missing::Field;
use crate::os_pid::OsPid;
use crate::proc_dir::ProcDir;
use crate::stat::Stat;
use crate::tree::processes;

/// A process that has something open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Holder {
    /// Which process.
    pub os_pid: OsPid,
    /// Under which number.
    pub fd: RawFd,
}

/// Who has which socket and pipe open: all processes of the machine, as far as the caller may look.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    by_inode: BTreeMap<u64, BTreeSet<Holder>>,
    /// Processes that cannot be looked into.
    hidden: BTreeSet<OsPid>,
}

impl Holders {
    /// Looks into every process. That takes some 50 µs a process.
    ///
    /// # Errors
    ///
    /// /proc is not mounted, or cannot be read.
    pub fn now() -> Field<Holders> {
        let mut holders = Holders::default();
        for os_pid in processes()? {
            holders.look_into(os_pid);
        }
        Ok(holders)
    }

    /// Looks into these processes alone.
    pub fn among(os_pids: impl IntoIterator<Item = OsPid>) -> Holders {
        let mut holders = Holders::default();
        for os_pid in os_pids {
            holders.look_into(os_pid);
        }
        holders
    }

    fn look_into(&mut self, os_pid: OsPid) {
        let looked = ProcDir::open(os_pid).and_then(|dir| {
            let stat = Stat::parse(&dir.read("stat")?).ok_or(crate::Missing::Unsupported)?;
            fds::of(&dir, os_pid, &stat)
        });
        let fds = match looked {
            Ok(fds) => fds,
            Err(crate::Missing::Gone) => return,
            Err(_) => {
                self.hidden.insert(os_pid);
                return;
            }
        };
        for fd in fds {
            if let FdTarget::Socket(inode, _) | FdTarget::Pipe(inode) = fd.target {
                let holder = Holder {
                    os_pid,
                    fd: fd.number,
                };
                self.by_inode.entry(inode).or_default().insert(holder);
            }
        }
    }

    /// Those that have the socket or pipe with this inode open. One that is on its way in a message has no holder.
    pub fn of(&self, inode: u64) -> impl Iterator<Item = Holder> {
        self.by_inode.get(&inode).into_iter().flatten().copied()
    }

    /// Processes that the caller may not look into, and that may hold anything.
    pub fn hidden(&self) -> &BTreeSet<OsPid> {
        &self.hidden
    }
}
