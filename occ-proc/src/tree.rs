//! Which processes there are, and who belongs to whom.

use std::collections::{BTreeMap, BTreeSet};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::stat::Stat;

/// How often a tree that grows while it is looked at is looked at again.
const AGAIN: usize = 10;

/// All processes that can be seen, zombies included.
///
/// # Errors
///
/// /proc is not mounted, or cannot be read.
pub fn processes() -> Field<BTreeSet<OsPid>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, "/proc", flags, Mode::empty()).map_err(Missing::of)?;
    let mut found = BTreeSet::new();
    for entry in Dir::new(folder).map_err(Missing::of)? {
        let entry = entry.map_err(Missing::of)?;
        let name = entry.file_name().to_str().ok();
        found.extend(name.and_then(|name| name.parse().ok()).map(OsPid::new));
    }
    Ok(found)
}

/// The processes of a process group, zombies included.
///
/// # Errors
///
/// /proc is not mounted, or cannot be read.
#[doc(alias = "getpgid")]
pub fn group_members(group: u32) -> Field<BTreeSet<OsPid>> {
    let in_it = |pid: &OsPid| Stat::of(*pid).is_ok_and(|stat| stat.group == group);
    Ok(processes()?.into_iter().filter(in_it).collect())
}

/// Every process with its parent.
pub(crate) fn parents() -> Field<BTreeMap<OsPid, OsPid>> {
    let with_parent = |pid: OsPid| Some((pid, Stat::of(pid).ok()?.parent?));
    Ok(processes()?.into_iter().filter_map(with_parent).collect())
}

/// A process and all that descend from it.
///
/// One that is started, or loses its parent, while they are counted may be missed; so they are counted until two
/// counts agree.
pub(crate) fn descendants(root: OsPid) -> Field<BTreeSet<OsPid>> {
    let mut before = below(root, &parents()?);
    for _ in 0..AGAIN {
        let now = below(root, &parents()?);
        if now == before {
            break;
        }
        before = now;
    }
    Ok(before)
}

fn below(root: OsPid, parents: &BTreeMap<OsPid, OsPid>) -> BTreeSet<OsPid> {
    let mut found = BTreeSet::from([root]);
    loop {
        let more = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid);
        let more: Vec<_> = more.collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The children of each of these.
pub(crate) fn children_of(
    of: &BTreeSet<OsPid>,
    parents: &BTreeMap<OsPid, OsPid>,
) -> BTreeMap<OsPid, BTreeSet<OsPid>> {
    let mut children: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (pid, parent) in parents {
        if of.contains(parent) {
            children.entry(*parent).or_default().insert(*pid);
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pids(numbers: &[u32]) -> BTreeSet<OsPid> {
        numbers.iter().copied().map(OsPid::new).collect()
    }

    #[test]
    fn those_below_are_found_whatever_their_numbers() {
        let parents = [(5, 9), (9, 2), (2, 1), (7, 1), (3, 5), (8, 100)];
        let parents = parents.map(|(pid, parent)| (OsPid::new(pid), OsPid::new(parent)));
        let parents = BTreeMap::from(parents);
        assert_eq!(below(OsPid::new(2), &parents), pids(&[2, 3, 5, 9]));
        assert_eq!(below(OsPid::new(8), &parents), pids(&[8]));
        let children = children_of(&pids(&[1, 8, 9]), &parents);
        assert_eq!(children[&OsPid::new(1)], pids(&[2, 7]));
        assert_eq!(children[&OsPid::new(9)], pids(&[5]));
        assert_eq!(children.get(&OsPid::new(8)), None);
    }
}
