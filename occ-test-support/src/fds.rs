//! Which file descriptors this process has open.

use std::collections::BTreeMap;
use std::fs;

/// The open fds of this process with what each refers to, as in `/proc/self/fd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFds(BTreeMap<i32, String>);

impl OpenFds {
    /// Reads them now.
    #[must_use]
    pub fn now() -> OpenFds {
        let directory = format!("/proc/{}/fd", std::process::id());
        let entries = fs::read_dir(&directory).expect("/proc is mounted");
        let mut open = BTreeMap::new();
        for entry in entries {
            let entry = entry.expect("reading /proc/self/fd");
            // An fd that another thread closed meanwhile is no longer open, and the one that reads the
            // directory is ours.
            let Ok(target) = fs::read_link(entry.path()) else {
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            if target == directory {
                continue;
            }
            let number = entry
                .file_name()
                .to_string_lossy()
                .parse()
                .expect("an fd is a number");
            open.insert(number, target);
        }
        OpenFds(open)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What changed between `self` and `later`, a line each; nothing if nothing did.
    #[must_use]
    pub fn changes(&self, later: &OpenFds) -> Vec<String> {
        let gone = self
            .0
            .iter()
            .filter(|(fd, target)| later.0.get(fd) != Some(target));
        let new = later
            .0
            .iter()
            .filter(|(fd, target)| self.0.get(fd) != Some(target));
        gone.map(|(fd, target)| format!("closed: {fd} -> {target}"))
            .chain(new.map(|(fd, target)| format!("left open: {fd} -> {target}")))
            .collect()
    }
}
