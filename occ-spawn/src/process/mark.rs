//! The mark that all which descends from a process carries: its soft limit on file locks, which the kernel does not enforce. The one that
//! it has inherited, in a system within a process, is kept as the soft limit on resident memory, not enforced either.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Sets the mark that all which descends from this process will carry, and keeps the one that it has inherited. Where a hard
/// limit is in the way, its descendants cannot be told from others.
pub(super) fn carry(mark: u64) {
    let mut limit = getrlimit(Resource::Locks);
    if let Some(inherited) = limit.current {
        let mut kept = getrlimit(Resource::Rss);
        kept.current = Some(inherited);
        let _ = setrlimit(Resource::Rss, kept);
    }
    limit.current = Some(mark);
    let _ = setrlimit(Resource::Locks, limit);
}
