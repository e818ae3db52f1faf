//! What has changed between two snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::fds::{Fd, FdTarget};
use crate::os_pid::OsPid;
use crate::process::Process;
use crate::snapshot::Snapshot;
use crate::sockets::Socket;

/// What has changed between two [`Snapshot`]s, by process and then by descriptor.
///
/// What changes all the time is no change: whether a process runs or waits, what it has used, and how much waits to be
/// received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A process that was not there before, or a child of one that is looked at, which is not looked at itself.
    Started {
        /// Which.
        os_pid: OsPid,
        /// Its name, if it is looked at.
        name: Option<String>,
    },
    /// A process that is not there any more.
    Ended {
        /// Which.
        os_pid: OsPid,
        /// Its name, if it was looked at.
        name: Option<String>,
    },
    /// A process has ended, and waits for its parent to ask how.
    Zombie {
        /// Which.
        os_pid: OsPid,
        /// Its name.
        name: String,
    },
    /// A process runs another program, or calls itself something else.
    Renamed {
        /// Which.
        os_pid: OsPid,
        /// Its name before.
        before: String,
        /// Its name now.
        after: String,
    },
    /// A process has another parent.
    Reparented {
        /// Which.
        os_pid: OsPid,
        /// Its parent now.
        parent: Option<OsPid>,
    },
    /// A process is in another process group.
    Regrouped {
        /// Which.
        os_pid: OsPid,
        /// The group that it is in now.
        group: u32,
    },
    /// A process has more threads, or fewer.
    Threads {
        /// Which.
        os_pid: OsPid,
        /// How many before.
        before: u32,
        /// How many now.
        after: u32,
    },
    /// A descriptor is open that was not.
    Opened {
        /// Of which process.
        os_pid: OsPid,
        /// The descriptor.
        fd: Fd,
    },
    /// A descriptor is not open that was.
    Closed {
        /// Of which process.
        os_pid: OsPid,
        /// The descriptor, as it was.
        fd: Fd,
    },
    /// A descriptor refers to the same as before, and that has changed: a socket has been connected, bound, closed at
    /// its other end; a file has been renamed or deleted.
    Became {
        /// Of which process.
        os_pid: OsPid,
        /// As it was.
        before: Fd,
        /// As it is.
        after: Fd,
    },
    /// What a process has open could be seen before, and cannot now, or the other way round.
    Hidden {
        /// Which.
        os_pid: OsPid,
        /// True if it cannot be seen now.
        now: bool,
    },
}

impl Diff {
    /// The changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// True if nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn between(before: &Snapshot, after: &Snapshot) -> Diff {
        let mut changes = Vec::new();
        for old in before.processes() {
            match after.get(old.os_pid) {
                Some(new) if new.is_the_same_as(old) => {
                    compare(old, new, &mut changes);
                }
                _ => changes.push(Change::ended(old)),
            }
        }
        for new in after.processes() {
            let old = before.get(new.os_pid);
            if old.is_none_or(|old| !old.is_the_same_as(new)) {
                changes.push(Change::Started {
                    os_pid: new.os_pid,
                    name: Some(new.stat.name.clone()),
                });
            }
        }
        children(before, after, &mut changes);
        changes.sort_by_key(Change::os_pid);
        Diff { changes }
    }
}

fn compare(old: &Process, new: &Process, changes: &mut Vec<Change>) {
    let os_pid = new.os_pid;
    if new.is_zombie() && !old.is_zombie() {
        changes.push(Change::Zombie {
            os_pid,
            name: new.stat.name.clone(),
        });
        return;
    }
    if old.stat.name != new.stat.name {
        changes.push(Change::Renamed {
            os_pid,
            before: old.stat.name.clone(),
            after: new.stat.name.clone(),
        });
    }
    if old.stat.parent != new.stat.parent {
        let parent = new.stat.parent;
        changes.push(Change::Reparented { os_pid, parent });
    }
    if old.stat.group != new.stat.group {
        let group = new.stat.group;
        changes.push(Change::Regrouped { os_pid, group });
    }
    if old.stat.threads != new.stat.threads {
        changes.push(Change::Threads {
            os_pid,
            before: old.stat.threads,
            after: new.stat.threads,
        });
    }
    match (&old.fds, &new.fds) {
        (Ok(before), Ok(after)) => descriptors(os_pid, before, after, changes),
        (Err(_), Err(_)) => {}
        (_, now) => changes.push(Change::Hidden {
            os_pid,
            now: now.is_err(),
        }),
    }
}

fn descriptors(os_pid: OsPid, before: &[Fd], after: &[Fd], changes: &mut Vec<Change>) {
    let by_number = |fds: &[Fd]| -> BTreeMap<i32, Fd> {
        fds.iter().map(|fd| (fd.number, fd.clone())).collect()
    };
    let (before, mut after) = (by_number(before), by_number(after));
    for (number, old) in before {
        match after.remove(&number) {
            Some(new) if is_unchanged(&old.target, &new.target) => {}
            Some(new) if is_same(&old.target, &new.target) => changes.push(Change::Became {
                os_pid,
                before: old,
                after: new,
            }),
            new => {
                changes.push(Change::Closed { os_pid, fd: old });
                changes.extend(new.map(|fd| Change::Opened { os_pid, fd }));
            }
        }
    }
    changes.extend(after.into_values().map(|fd| Change::Opened { os_pid, fd }));
}

/// Whether nothing has changed, or only what waits to be received.
fn is_unchanged(before: &FdTarget, after: &FdTarget) -> bool {
    match (before, after) {
        (FdTarget::Socket(_, Ok(before)), FdTarget::Socket(_, Ok(after))) => {
            let waiting = None;
            let without = |socket: &Socket| Socket {
                waiting,
                ..socket.clone()
            };
            without(before) == without(after)
        }
        (before, after) => before == after,
    }
}

/// Whether both are one thing that has changed.
fn is_same(before: &FdTarget, after: &FdTarget) -> bool {
    match (before, after) {
        (FdTarget::Socket(before, _), FdTarget::Socket(after, _)) => before == after,
        (FdTarget::Pidfd { .. }, FdTarget::Pidfd { .. }) => true,
        _ => false,
    }
}

/// Children of those that are looked at, which are not looked at themselves.
fn children(before: &Snapshot, after: &Snapshot, changes: &mut Vec<Change>) {
    let of = |snapshot: &Snapshot| -> BTreeSet<OsPid> {
        let all = snapshot
            .processes()
            .flat_map(|process| process.children.iter().flatten());
        all.copied().collect()
    };
    let (old, new) = (of(before), of(after));
    let known = |os_pid: &OsPid| before.get(*os_pid).is_some() || after.get(*os_pid).is_some();
    let name = None;
    for os_pid in old.difference(&new).filter(|os_pid| !known(os_pid)) {
        changes.push(Change::Ended {
            os_pid: *os_pid,
            name: name.clone(),
        });
    }
    for os_pid in new.difference(&old).filter(|os_pid| !known(os_pid)) {
        changes.push(Change::Started {
            os_pid: *os_pid,
            name: name.clone(),
        });
    }
}

impl Change {
    fn ended(process: &Process) -> Change {
        Change::Ended {
            os_pid: process.os_pid,
            name: Some(process.stat.name.clone()),
        }
    }

    /// The process that it is about.
    pub fn os_pid(&self) -> OsPid {
        match self {
            Change::Started { os_pid, .. }
            | Change::Ended { os_pid, .. }
            | Change::Zombie { os_pid, .. }
            | Change::Renamed { os_pid, .. }
            | Change::Reparented { os_pid, .. }
            | Change::Regrouped { os_pid, .. }
            | Change::Threads { os_pid, .. }
            | Change::Opened { os_pid, .. }
            | Change::Closed { os_pid, .. }
            | Change::Became { os_pid, .. }
            | Change::Hidden { os_pid, .. } => *os_pid,
        }
    }
}

/// One line.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os_pid = self.os_pid();
        let named = |f: &mut fmt::Formatter<'_>, name: &Option<String>| match name {
            Some(name) => write!(f, "process {os_pid} ({name})"),
            None => write!(f, "process {os_pid}"),
        };
        match self {
            Change::Started { name, .. } => {
                named(f, name)?;
                f.write_str(" is there")
            }
            Change::Ended { name, .. } => {
                named(f, name)?;
                f.write_str(" is gone")
            }
            Change::Zombie { name, .. } => {
                write!(f, "process {os_pid} ({name}) has ended and is not reaped")
            }
            Change::Renamed { before, after, .. } => {
                write!(f, "process {os_pid} was {before} and is {after}")
            }
            Change::Reparented {
                parent: Some(parent),
                ..
            } => write!(f, "process {os_pid} has {parent} for a parent"),
            Change::Reparented { parent: None, .. } => {
                write!(f, "process {os_pid} has a parent that cannot be seen")
            }
            Change::Regrouped { group, .. } => write!(f, "process {os_pid} is in group {group}"),
            Change::Threads { before, after, .. } => {
                write!(f, "process {os_pid} had {before} threads and has {after}")
            }
            Change::Opened { fd, .. } => write!(f, "process {os_pid} opened {fd}"),
            Change::Closed { fd, .. } => write!(f, "process {os_pid} closed {fd}"),
            Change::Became { before, after, .. } => {
                write!(f, "process {os_pid}: {before} became {}", after.target)
            }
            Change::Hidden { now: true, .. } => {
                write!(f, "what process {os_pid} has open cannot be seen any more")
            }
            Change::Hidden { now: false, .. } => {
                write!(f, "what process {os_pid} has open can be seen now")
            }
        }
    }
}

/// A line a change.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, change) in self.changes.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            change.fmt(f)?;
        }
        Ok(())
    }
}
