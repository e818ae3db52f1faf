//! A process, or a tree of them, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::diff::Diff;
use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::process::{Process, own_network};
use crate::sockets::Sockets;
use crate::tree;

/// A process, or a tree of them, at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    processes: BTreeMap<OsPid, Process>,
}

impl Snapshot {
    /// Looks at one process.
    ///
    /// Looking costs descriptors, and those of the caller are not part of what is seen.
    ///
    /// # Errors
    ///
    /// There is no such process, or nothing of it can be seen. What can be seen of it in part says so, part by part.
    pub fn of(os_pid: OsPid) -> Field<Snapshot> {
        let process = Process::look(os_pid)?;
        Ok(Snapshot::complete(BTreeMap::from([(os_pid, process)])))
    }

    /// Looks at a process and at all that descend from it, as far as their parents live: a process whose parent has
    /// ended belongs to another tree (PR_SET_CHILD_SUBREAPER(2const)).
    ///
    /// # Errors
    ///
    /// As [`Snapshot::of`], of the root. One of the others that ends meanwhile is not part of it.
    pub fn tree(root: OsPid) -> Field<Snapshot> {
        let mut processes = BTreeMap::from([(root, Process::look(root)?)]);
        for os_pid in tree::descendants(root)? {
            if os_pid != root {
                match Process::look(os_pid) {
                    Ok(process) => drop(processes.insert(os_pid, process)),
                    Err(Missing::Gone) => {}
                    Err(missing) => return Err(missing),
                }
            }
        }
        Ok(Snapshot::complete(processes))
    }

    /// Looks at what is known of many at once only.
    fn complete(mut processes: BTreeMap<OsPid, Process>) -> Snapshot {
        if processes.values().any(Process::has_sockets) {
            // After the descriptors: what was opened before is in it.
            let (sockets, network) = (Sockets::now(), own_network());
            for process in processes.values_mut() {
                process.tell_sockets(&sockets, &network);
            }
        }
        let parents = tree::parents();
        let all: BTreeSet<OsPid> = processes.keys().copied().collect();
        match parents {
            Ok(parents) => {
                let mut children = tree::children_of(&all, &parents);
                for (os_pid, process) in &mut processes {
                    process.children = Ok(children.remove(os_pid).unwrap_or_default());
                }
            }
            Err(missing) => {
                for process in processes.values_mut() {
                    process.children = Err(missing);
                }
            }
        }
        Snapshot { processes }
    }

    /// The processes, by their OS pids.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// One of them.
    pub fn get(&self, os_pid: OsPid) -> Option<&Process> {
        self.processes.get(&os_pid)
    }

    /// What has changed from this to a later one.
    pub fn diff(&self, later: &Snapshot) -> Diff {
        Diff::between(self, later)
    }
}

/// A line a process, and below each a line a descriptor.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for process in self.processes() {
            writeln!(f, "{process}")?;
            for fd in process.fds.iter().flatten() {
                writeln!(f, "  {fd}")?;
            }
        }
        Ok(())
    }
}
