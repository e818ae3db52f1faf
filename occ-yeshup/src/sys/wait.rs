//! What has become of children, and what they have used.
#![expect(unsafe_code, reason = "wait4(2): rustix gives no usage")]

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use occ_proc::{OsPid, OsStatus};

use crate::tree::Used;

/// What waiting for any child tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waited {
    /// One has ended, and is reaped.
    Ended {
        os_pid: OsPid,
        status: OsStatus,
        used: Used,
    },
    /// One has been stopped.
    Stopped { os_pid: OsPid, signal: i32 },
    /// One that had been stopped goes on.
    Continued { os_pid: OsPid },
    /// There are children, and none has anything to tell.
    Nothing,
    /// There are none.
    NoChildren,
}

/// Waits for any child, and no time.
#[doc(alias = "wait4")]
pub(crate) fn wait_any() -> Waited {
    let mut status = 0;
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    let options = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WALL;
    let pid = loop {
        // SAFETY: the kernel writes the status and the usage that it is given.
        let pid = unsafe { libc::wait4(-1, &raw mut status, options, used.as_mut_ptr()) };
        if pid >= 0 {
            break pid;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return Waited::NoChildren;
        }
    };
    if pid == 0 {
        return Waited::Nothing;
    }
    let os_pid = OsPid::new(pid.unsigned_abs());
    if libc::WIFSTOPPED(status) {
        let signal = libc::WSTOPSIG(status);
        return Waited::Stopped { os_pid, signal };
    }
    if libc::WIFCONTINUED(status) {
        return Waited::Continued { os_pid };
    }
    // SAFETY: zeroed, and written by the kernel.
    let used = unsafe { used.assume_init() };
    Waited::Ended {
        os_pid,
        status: os_status(status),
        used: Used {
            time: time(used.ru_utime) + time(used.ru_stime),
            // In kB, which are 1,024 bytes.
            peak: u64::try_from(used.ru_maxrss).unwrap_or(0) * 1024,
        },
    }
}

/// As waitid(2) says it.
fn os_status(status: i32) -> OsStatus {
    let (si_code, si_status) = if libc::WIFEXITED(status) {
        (libc::CLD_EXITED, libc::WEXITSTATUS(status))
    } else if libc::WCOREDUMP(status) {
        (libc::CLD_DUMPED, libc::WTERMSIG(status))
    } else {
        (libc::CLD_KILLED, libc::WTERMSIG(status))
    };
    OsStatus { si_code, si_status }
}

fn time(time: libc::timeval) -> Duration {
    let micros = u32::try_from(time.tv_usec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), micros * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_what_waitid_says() {
        let says = |status| {
            let OsStatus { si_code, si_status } = os_status(status);
            (si_code, si_status)
        };
        assert_eq!(says(0x0300), (libc::CLD_EXITED, 3));
        assert_eq!(says(9), (libc::CLD_KILLED, 9));
        assert_eq!(says(0x80 | 11), (libc::CLD_DUMPED, 11));
    }
}
