//! Who is below a process, as the kernel tells it now.

use std::collections::{BTreeMap, BTreeSet};

use occ_proc::{OsPid, Stat, State};

/// Parents above parents, at the most: more than there can be without a mistake.
const LONGEST_LINE: usize = 4096;

/// All that descends from the calling process.
#[derive(Debug)]
pub(super) struct Below {
    own: OsPid,
    /// The kernel has a list of each thread's children (`CONFIG_PROC_CHILDREN`); else all of /proc is looked through.
    has_lists: bool,
}

impl Below {
    pub(super) fn this_process() -> Below {
        let own = OsPid::own();
        Below {
            own,
            has_lists: std::fs::exists(format!("/proc/{own}/task/{own}/children")).unwrap_or(false),
        }
    }

    /// Those that are there, each after its parent. One that is started or loses its parent meanwhile may be missed: a child
    /// that comes to the calling process is found by looking again.
    pub(super) fn now(&self) -> Vec<OsPid> {
        if self.has_lists {
            self.by_lists()
        } else {
            self.by_parents()
        }
    }

    fn by_lists(&self) -> Vec<OsPid> {
        let mut found = children(self.own);
        // One that loses its parent meanwhile can be come upon twice.
        let mut seen: BTreeSet<_> = found.iter().copied().collect();
        let mut next = 0;
        while next < found.len() {
            let more = children(found[next]).into_iter();
            found.extend(more.filter(|child| seen.insert(*child)));
            next += 1;
        }
        found
    }

    fn by_parents(&self) -> Vec<OsPid> {
        let mut children: BTreeMap<OsPid, Vec<OsPid>> = BTreeMap::new();
        for os_pid in occ_proc::processes().unwrap_or_default() {
            if let Ok(stat) = Stat::of(os_pid)
                && let Some(parent) = stat.parent
            {
                children.entry(parent).or_default().push(os_pid);
            }
        }
        let mut found = children.remove(&self.own).unwrap_or_default();
        let mut next = 0;
        while next < found.len() {
            found.extend(children.remove(&found[next]).unwrap_or_default());
            next += 1;
        }
        found
    }

    /// What a process that has not ended is called and whether it is a child of the calling process's; `None` for one that
    /// has ended, or is not below. One whose main thread has ended, and others have not, lives.
    pub(super) fn look(&self, os_pid: OsPid) -> Option<Seen> {
        let stat = Stat::of(os_pid).ok()?;
        if stat.state == State::Zombie && stat.threads <= 1 || stat.state == State::Dead {
            return None;
        }
        let mut at = stat.clone();
        for _ in 0..LONGEST_LINE {
            let parent = at.parent?;
            if parent == self.own {
                return Some(Seen {
                    is_child: stat.parent == Some(self.own),
                    name: stat.name,
                });
            }
            let above = Stat::of(parent).ok()?;
            // A parent is the elder. Where it is not, its number has become another's since it was read.
            if above.started > at.started {
                return None;
            }
            at = above;
        }
        None
    }
}

/// A process that lives.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) is_child: bool,
}

/// Whether a process is stopped by a signal.
pub(super) fn is_stopped(os_pid: OsPid) -> bool {
    Stat::of(os_pid).is_ok_and(|stat| stat.state == State::Stopped)
}

/// The children of all threads of a process.
fn children(of: OsPid) -> Vec<OsPid> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let mut found = Vec::new();
    for list in lists {
        let numbers = list.split_ascii_whitespace();
        found.extend(numbers.filter_map(|number| number.parse().ok().map(OsPid::new)));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn both_ways_of_looking_see_a_child_until_it_is_gone() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let os_pid = OsPid::new(cat.id());
        let mut below = Below::this_process();
        for has_lists in [below.has_lists, false] {
            below.has_lists = has_lists;
            assert!(below.now().contains(&os_pid));
        }
        assert!(below.look(os_pid).unwrap().is_child);
        assert!(below.look(OsPid::new(1)).is_none(), "not below");
        drop(cat.stdin.take());
        cat.wait().unwrap();
        for has_lists in [below.has_lists, false] {
            below.has_lists = has_lists;
            assert!(!below.now().contains(&os_pid));
        }
        assert!(below.look(os_pid).is_none());
    }
}
