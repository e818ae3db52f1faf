//! The kernel's log, as far as it tells whom the out-of-memory killer has killed.
//!
//! ```text
//! 3,900,13792840257,-;Memory cgroup out of memory: Killed process 23437 (worker) total-vm:29928kB, anon-rss:19200kB, …
//! ```
//!
//! The kernel writes the line right after it has sent the signal, so a victim's parent can come to look some microseconds
//! before it is there. That an end is such a one is counted before the signal is sent ([`oom_kills`]).

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags, SeekFrom, fstat, major, minor, openat, seek};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::missing::{Field, Missing};
use crate::moment::Moment;
use crate::os_pid::OsPid;
use crate::proc_dir::{self, ProcDir};

/// Longer than any record (dev-kmsg: the kernel's own limit is 2,048 bytes and what it adds).
const RECORD: usize = 8192;

/// The device that the log is (null(4), "kmsg").
const KMSG: (u32, u32) = (1, 11);

/// The PID namespace that the machine began with, by its inode (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A process that the out-of-memory killer has killed, as the kernel's log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OomKill {
    /// Its number, in the PID namespace that the machine began with.
    pub os_pid: OsPid,
    /// Its name: of its main thread.
    pub name: String,
    /// A control group was out of memory, and not the machine.
    pub in_cgroup: bool,
    /// When, after the machine was started.
    pub at: Duration,
}

/// The kernel's log, from when it was opened.
#[derive(Debug)]
pub struct KernelLog {
    records: OwnedFd,
    /// The numbers that it has are those that this process knows.
    same_numbers: bool,
}

impl KernelLog {
    /// Opens it. What it holds already is left aside.
    ///
    /// # Errors
    ///
    /// This user may not read it, or there is none: in a container, most often.
    #[doc(alias = "kmsg")]
    pub fn open() -> Field<KernelLog> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let records = openat(CWD, "/dev/kmsg", flags, Mode::empty()).map_err(Missing::of)?;
        // In many a container something else is there.
        let device = fstat(&records).map_err(Missing::of)?.st_rdev;
        if (major(device), minor(device)) != KMSG {
            return Err(Missing::Unsupported);
        }
        seek(&records, SeekFrom::End(0)).map_err(Missing::of)?;
        let namespace = ProcDir::open(OsPid::own()).and_then(|own| own.link("ns/pid"));
        let same_numbers = namespace.is_ok_and(|namespace| namespace == FIRST_PID_NAMESPACE);
        Ok(KernelLog {
            records,
            same_numbers,
        })
    }

    /// The kills that have been logged since it was asked last.
    pub fn new_kills(&mut self) -> Vec<OomKill> {
        let mut kills = Vec::new();
        let mut buffer = [0; RECORD];
        loop {
            match rustix::io::read(&self.records, &mut buffer) {
                Ok(0) => break,
                Ok(read) => kills.extend(OomKill::in_record(&buffer[..read])),
                // Records were overwritten before they were read: those after them are next.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(_) => break,
            }
        }
        for kill in &mut kills {
            kill.at += asleep();
        }
        kills
    }

    /// Whether the log calls processes by the numbers that this process knows them by. In a PID namespace it does not.
    pub fn has_our_numbers(&self) -> bool {
        self.same_numbers
    }
}

/// How long the machine has slept: what [`Moment::boot`] counts, and the log does not.
fn asleep() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let awake = Duration::new(
        u64::try_from(awake.tv_sec).unwrap_or(0),
        u32::try_from(awake.tv_nsec).unwrap_or(0),
    );
    Moment::now().boot.saturating_sub(awake)
}

/// How many processes of this machine the out-of-memory killer has killed since it was started. It is counted before the
/// victim is sent its signal.
///
/// # Errors
///
/// The kernel does not count them: before Linux 4.13.
#[doc(alias = "vmstat")]
pub fn oom_kills() -> Field<u64> {
    let text = proc_dir::read_at(CWD, "/proc/vmstat")?;
    counter(&text, "oom_kill ").ok_or(Missing::Unsupported)
}

/// The number in the line that begins with `name`.
pub(crate) fn counter(text: &[u8], name: &str) -> Option<u64> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes()))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

impl OomKill {
    /// Reads a record: `priority,number,microseconds,flags;text`.
    fn in_record(record: &[u8]) -> Option<OomKill> {
        let record = String::from_utf8_lossy(record);
        let (head, text) = record.split_once(';')?;
        let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
        let text = text.lines().next()?;
        // Anybody who may write to the log could write this; the kernel's own records are of facility 0 (syslog(2)).
        let facility = head.split(',').next()?.parse::<u32>().ok()? >> 3;
        let (before, after) = text.split_once("Killed process ")?;
        let (number, rest) = after.split_once(' ')?;
        // The name stands in parentheses, and may contain any.
        let (name, _) = rest.strip_prefix('(')?.rsplit_once(')')?;
        let name = name
            .rsplit_once(") total-vm")
            .map_or(name, |(name, _)| name);
        (facility == 0 && before.contains("ut of memory")).then(|| OomKill {
            os_pid: OsPid::new(number.parse().unwrap_or(0)),
            name: name.to_owned(),
            in_cgroup: before.starts_with("Memory cgroup"),
            at: Duration::from_micros(micros),
        })
    }
}

/// One line: `the kernel's log: process 42 (name) at 3.2 s`.
impl fmt::Display for OomKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = if self.in_cgroup {
            "memory cgroup"
        } else {
            "machine"
        };
        write!(
            f,
            "{scope} out of memory, killed process {} ({})",
            self.os_pid, self.name
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Option<OomKill> {
        OomKill::in_record(text.as_bytes())
    }

    #[test]
    fn a_kill_is_read() {
        let kill = record(
            "3,900,13792840257,-;Memory cgroup out of memory: Killed process 23437 (python3) total-vm:29928kB, \
             anon-rss:19200kB, file-rss:5508kB, shmem-rss:0kB, UID:0 pgtables:104kB oom_score_adj:0\n",
        );
        let kill = kill.expect("a kill");
        assert_eq!((kill.os_pid.get(), kill.name.as_str()), (23437, "python3"));
        assert!(kill.in_cgroup);
        assert_eq!(kill.at, Duration::from_micros(13_792_840_257));
        let kill = record("3,1,5,-;Out of memory: Killed process 7 (a) total-vm:1kB, UID:0")
            .expect("a kill");
        assert!(!kill.in_cgroup);
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        for name in ["a) total-vm", "(x)", "Killed process 9 (y)", "a b"] {
            let line =
                format!("3,1,5,-;Out of memory: Killed process 7 ({name}) total-vm:1kB, UID:0");
            let kill = record(&line).expect("a kill");
            assert_eq!(kill.os_pid.get(), 7, "{name}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_or_is_no_kill_is_none() {
        // Facility 1: a user's.
        assert_eq!(
            record("11,1,5,-;Out of memory: Killed process 7 (a) total-vm:1kB"),
            None
        );
        assert_eq!(record("3,1,5,-;Killed process 7 (a) total-vm:1kB"), None);
        assert_eq!(
            record("6,1,5,-;oom-kill:constraint=CONSTRAINT_MEMCG,task=a,pid=7,uid=0"),
            None
        );
        for text in [
            "",
            ";",
            "3,1,5,-;",
            "3,1;x",
            "3,1,5,-;Out of memory: Killed process",
        ] {
            assert_eq!(record(text), None, "{text}");
        }
    }

    #[test]
    fn the_machine_counts_its_kills() {
        assert_eq!(counter(b"nr_free 1\noom_kill 3\n", "oom_kill "), Some(3));
        assert_eq!(counter(b"nr_free 1\n", "oom_kill "), None);
        assert!(oom_kills().is_ok());
    }
}
