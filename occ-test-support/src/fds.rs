//! Which file descriptors this process has open, and what is at their other ends; and how many more it may have.

use std::os::fd::AsRawFd;

use occ_proc::{Change, OsPid, Snapshot};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The open fds of this process with what each refers to: of a socket its state, its address, and its peer.
#[derive(Debug, Clone)]
pub struct OpenFds(Snapshot);

impl OpenFds {
    /// Looks at them now.
    ///
    /// # Panics
    ///
    /// Where /proc is not mounted, or no descriptor is left to look with.
    #[must_use]
    pub fn now() -> OpenFds {
        OpenFds(Snapshot::of(OsPid::own()).expect("looking at this process"))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let own = self.0.processes().next();
        own.and_then(|own| own.fds.as_ref().ok())
            .map_or(0, Vec::len)
    }

    /// What changed between `self` and `later`, a line each; nothing if nothing did.
    #[must_use]
    pub fn changes(&self, later: &OpenFds) -> Vec<String> {
        let diff = self.0.diff(&later.0);
        let of_fds = diff.changes().iter().filter_map(|change| match change {
            Change::Opened { fd, .. } => Some(format!("left open: {fd}")),
            Change::Closed { fd, .. } => Some(format!("closed: {fd}")),
            Change::Became { .. } | Change::Hidden { .. } => Some(change.to_string()),
            _ => None,
        });
        of_fds.collect()
    }
}

/// Lets this process have `more` descriptors than it has now, for as long as `body` runs.
///
/// # Panics
///
/// If the kernel refuses the limit.
pub fn with_room_for<T>(more: u64, body: impl FnOnce() -> T) -> T {
    // The lowest number that is free: none above it is open, or there would be a lower one.
    let next = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 0).expect("dup");
    let lowest = u64::try_from(next.as_raw_fd()).expect("a number of a descriptor");
    drop(next);
    up_to(lowest + more, body)
}

/// Lets this process open nothing for as long as `body` runs, whatever it closes meanwhile. poll(2) fails, too.
///
/// # Panics
///
/// If the kernel refuses the limit.
pub fn without_room<T>(body: impl FnOnce() -> T) -> T {
    up_to(0, body)
}

fn up_to<T>(number: u64, body: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Nofile);
    let current = Some(number);
    setrlimit(Resource::Nofile, Rlimit { current, ..before }).expect("setrlimit");
    let result = body();
    setrlimit(Resource::Nofile, before).expect("setrlimit");
    result
}
