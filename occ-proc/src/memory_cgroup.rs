//! The control group that a process's memory is counted in: cgroups(7), of either version.

use std::path::PathBuf;

use rustix::fs::CWD;

use crate::kernel_log::counter;
use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::proc_dir;

/// What a version 1 group says when it has no limit: as many pages as a signed number holds, in bytes, or about so.
const UNLIMITED: u64 = 1 << 60;

/// A control group that counts memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryCgroup {
    path: PathBuf,
    version: u8,
}

impl MemoryCgroup {
    /// The one that a process is in.
    ///
    /// # Errors
    ///
    /// None counts memory, or it is not where such groups are mounted.
    pub fn of(os_pid: OsPid) -> Field<MemoryCgroup> {
        let text = proc_dir::read_at(CWD, &format!("/proc/{os_pid}/cgroup"))?;
        let text = String::from_utf8_lossy(&text);
        // Number, controllers, path: `4:memory:/a`, and of version 2 `0::/a`.
        let found = text.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?.trim_start_matches('/')))
        });
        for (controllers, path) in found {
            let roots: &[(&str, u8)] = if controllers.is_empty() {
                &[("/sys/fs/cgroup", 2), ("/sys/fs/cgroup/unified", 2)]
            } else if controllers.split(',').any(|name| name == "memory") {
                &[("/sys/fs/cgroup/memory", 1)]
            } else {
                continue;
            };
            for (root, version) in roots {
                let group = MemoryCgroup {
                    path: PathBuf::from(root).join(path),
                    version: *version,
                };
                if group.oom_kills().is_ok() {
                    return Ok(group);
                }
            }
        }
        Err(Missing::Unsupported)
    }

    /// The one in this folder, of this version.
    pub fn at(path: PathBuf, version: u8) -> MemoryCgroup {
        MemoryCgroup { path, version }
    }

    fn read(&self, file: &str) -> Field<Vec<u8>> {
        proc_dir::read_at(CWD, &self.path.join(file).to_string_lossy())
    }

    /// How many of its processes the out-of-memory killer has killed.
    ///
    /// # Errors
    ///
    /// The group is gone, or this kernel does not count.
    pub fn oom_kills(&self) -> Field<u64> {
        let file = if self.version == 2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        counter(&self.read(file)?, "oom_kill ").ok_or(Missing::Unsupported)
    }

    /// How many bytes it may have, if there is a limit, and how many it had at its peak.
    ///
    /// # Errors
    ///
    /// The group is gone, or this kernel does not say.
    pub fn limit_and_peak(&self) -> Field<(Option<u64>, u64)> {
        let (limit, peak) = if self.version == 2 {
            ("memory.max", "memory.peak")
        } else {
            ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        };
        let number = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().parse::<u64>().ok();
        let limit = number(self.read(limit)?).filter(|limit| *limit < UNLIMITED);
        Ok((limit, number(self.read(peak)?).ok_or(Missing::Unsupported)?))
    }
}
