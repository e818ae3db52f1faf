//! A descriptor that is readable once a child has ended.
//!
//! That is a pidfd, from Linux 5.3 on. Where there is none (an older kernel, a seccomp filter), a thread waits for the child and says so on
//! an eventfd: it leaves the child as it is, so that it can be asked about, and its number is nobody else's, until it is reaped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use occ_proc::OsPid;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::sys::{self, Ended, Whom};

/// A child of the calling process, which nobody but the owner of this reaps.
#[derive(Debug)]
pub struct EndWatch {
    os_pid: OsPid,
    by: By,
}

#[derive(Debug)]
enum By {
    Pidfd(OwnedFd),
    Thread(Arc<OwnedFd>),
}

impl EndWatch {
    /// Watches a child.
    ///
    /// # Errors
    ///
    /// No descriptor is left, or no thread; or it is no child.
    pub fn of_child(os_pid: OsPid) -> io::Result<EndWatch> {
        let pid = os_pid.to_rustix().ok_or(Errno::SRCH)?;
        let by = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => By::Pidfd(pidfd),
            // EPERM is what many a filter says for a call that it does not know.
            Err(Errno::NOSYS | Errno::PERM) => By::Thread(thread_for(pid)?),
            Err(errno) => return Err(errno.into()),
        };
        Ok(EndWatch { os_pid, by })
    }

    /// What the kernel calls the child.
    pub fn os_pid(&self) -> OsPid {
        self.os_pid
    }

    /// How it has ended; `None` if it has not. With `reap` its status is taken away, and its number is free.
    ///
    /// # Errors
    ///
    /// ECHILD if somebody else has reaped it.
    pub fn ended(&self, reap: bool) -> io::Result<Option<Ended>> {
        if let By::Pidfd(pidfd) = &self.by {
            match sys::ended(Whom::Pidfd(pidfd.as_fd()), reap) {
                // waitid(2) takes pidfds from Linux 5.4 on.
                Err(error) if is_not_known(&error) => {}
                told => return told,
            }
        }
        sys::ended(Whom::OsPid(self.os_pid), reap)
    }

    /// Sends it a signal. One that has ended already is left as it is.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let sent = match &self.by {
            By::Pidfd(pidfd) => rustix::process::pidfd_send_signal(pidfd, signal),
            By::Thread(_) => Err(Errno::NOSYS),
        };
        let sent = match sent {
            // By its number, which is its own as long as it is not reaped.
            Err(Errno::NOSYS | Errno::PERM)
                if sys::ended(Whom::OsPid(self.os_pid), false).is_ok() =>
            {
                let pid = self.os_pid.to_rustix().ok_or(Errno::SRCH)?;
                rustix::process::kill_process(pid, signal)
            }
            sent => sent,
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended.
    pub fn wait(&self) {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        while rustix::event::poll(&mut fds, None) == Err(Errno::INTR) {}
    }
}

impl AsFd for EndWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.by {
            By::Pidfd(pidfd) => pidfd.as_fd(),
            By::Thread(told) => told.as_fd(),
        }
    }
}

fn is_not_known(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::PERM)
    )
}

fn thread_for(pid: rustix::process::Pid) -> io::Result<Arc<OwnedFd>> {
    let told = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
    let tell = Arc::clone(&told);
    let builder = std::thread::Builder::new().name("occ-end".to_owned());
    // The program's signals are for the program's threads.
    sys::with_signals_blocked(|| {
        builder.spawn(move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let wait = || rustix::process::waitid(WaitId::Pid(pid), options);
            while wait().is_err_and(|errno| errno == Errno::INTR) {}
            // It has ended, or somebody has reaped it, and then it has, too.
            let _ = rustix::io::write(&*tell, &1_u64.to_ne_bytes());
        })
    })?;
    Ok(told)
}
