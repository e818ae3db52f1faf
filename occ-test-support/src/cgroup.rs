//! A control group: one in which fork(2) can be made to fail, and one in which memory runs out.

use std::fs;
use std::path::PathBuf;

/// A control group, gone when it is dropped and empty.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one; `None` where this user may not, or the controller is not mounted as version 1.
    #[must_use]
    pub fn of_pids() -> Option<Cgroup> {
        let name = format!("/sys/fs/cgroup/pids/occ-test-{}", std::process::id());
        let path = PathBuf::from(name);
        fs::create_dir(&path).ok()?;
        // Elsewhere it may be a mere folder.
        if path.join("pids.max").exists() {
            return Some(Cgroup(path));
        }
        fs::remove_dir(&path).expect("it was made just now");
        None
    }

    /// Makes one whose processes may have so many bytes of memory together; `None` where this user may not, or the
    /// controller is not mounted as version 1.
    #[must_use]
    pub fn of_memory(limit: u64) -> Option<Cgroup> {
        let name = format!("/sys/fs/cgroup/memory/occ-test-{}", std::process::id());
        let group = Cgroup(PathBuf::from(name));
        fs::create_dir(&group.0).ok()?;
        let file = group.0.join("memory.limit_in_bytes");
        (file.exists() && fs::write(file, limit.to_string()).is_ok()).then_some(group)
    }

    /// Where processes write their number to be in it.
    #[must_use]
    pub fn entrance(&self) -> String {
        let path = self.0.join("cgroup.procs");
        path.to_string_lossy().into_owned()
    }

    /// What one of its files says.
    ///
    /// # Panics
    ///
    /// If the kernel does not tell.
    #[must_use]
    pub fn get(&self, file: &str) -> String {
        let text = fs::read_to_string(self.0.join(file)).expect("a file of a control group");
        text.trim().to_owned()
    }

    /// Writes `text` to one of its files.
    ///
    /// # Panics
    ///
    /// If the kernel does not take it.
    pub fn set(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("a write to a control group");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
