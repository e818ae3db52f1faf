//! How a child has ended, as the kernel says it, and what it has used: waitid(2) with the argument that glibc leaves
//! out.
#![expect(unsafe_code, reason = "rustix and glibc give no usage")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use occ_proc::{Io, Missing, OsPid, OsStatus, Switches, Usage};

/// A child.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// By its number, which is nobody else's until it is reaped.
    OsPid(OsPid),
    /// By a descriptor.
    Pidfd(BorrowedFd<'a>),
}

/// How a child has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The kernel's answer.
    pub status: OsStatus,
    /// What it has used, and those of its own children that it had waited for.
    pub usage: Usage,
}

/// How a child has ended; `None` if it has not. With `reap` its status is taken away, and its number is free.
///
/// # Errors
///
/// What waitid(2) says: ECHILD if it is no child, or somebody has reaped it.
#[doc(alias = "waitid")]
pub fn ended(whom: Whom<'_>, reap: bool) -> io::Result<Option<Ended>> {
    let (kind, number) = match whom {
        Whom::OsPid(os_pid) => (libc::P_PID, os_pid.get()),
        Whom::Pidfd(fd) => (libc::P_PIDFD, fd.as_raw_fd().unsigned_abs()),
    };
    let mut options = libc::WEXITED | libc::WNOHANG;
    if !reap {
        options |= libc::WNOWAIT;
    }
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: the kernel writes the two structures that it is given.
        let done = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                kind,
                number,
                info.as_mut_ptr(),
                options,
                used.as_mut_ptr(),
            )
        };
        if done == 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: zeroed, and written by the kernel if there was anything to say.
    let info = unsafe { info.assume_init() };
    // SAFETY: the field is there in what waitid fills in; 0 where it had nothing to say.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    let status = OsStatus {
        si_code: info.si_code,
        // SAFETY: as above.
        si_status: unsafe { info.si_status() },
    };
    // SAFETY: zeroed, and written by the kernel.
    let used = unsafe { used.assume_init() };
    let usage = usage_of(&used);
    Ok(Some(Ended { status, usage }))
}

fn usage_of(used: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let micros = u32::try_from(time.tv_usec).unwrap_or(0);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), micros * 1000)
    };
    let number = |number: libc::c_long| u64::try_from(number).unwrap_or(0);
    Usage {
        user_time: time(used.ru_utime),
        system_time: time(used.ru_stime),
        minor_faults: number(used.ru_minflt),
        major_faults: number(used.ru_majflt),
        rss: Err(Missing::Gone),
        // In kB, which are 1,024 bytes.
        peak_rss: Ok(number(used.ru_maxrss) * 1024),
        switches: Ok(Switches {
            voluntary: number(used.ru_nvcsw),
            involuntary: number(used.ru_nivcsw),
        }),
        io: Ok(Io::of_blocks(
            number(used.ru_inblock),
            number(used.ru_oublock),
        )),
    }
}
