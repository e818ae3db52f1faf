//! Which file descriptors this process has open, and what is at their other ends.

use occ_proc::{Change, OsPid, Snapshot};

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
