//! A process that has been made: waiting for it, and what is told of its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use occ_proc::{Evidence, Moment, OsPid, OsStatus};
use occ_sck::{
    Assembler, Deadline, FrameError, Limits, MAX_DATAGRAM, ReceiveError, Received, Socket,
};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::error::{SpawnError, WaitError};
use crate::exit::{ExitReason, LastWords};
use crate::report::ExitReport;
use crate::spawner::Inner;
use crate::sys::Ended;
use crate::watch::EndWatch;

/// More frames than a process can leave behind: a socket's buffer holds some hundred of the smallest.
const MOST_FRAMES: usize = 10_000;

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// What the kernel called it.
    pub os_pid: OsPid,
    /// Why it ended.
    pub reason: ExitReason,
    /// What else is known.
    pub report: ExitReport,
}

/// A process that runs a function.
///
/// Dropping it lets the process run on, without anybody to tell; it is reaped when it ends, and killed when the
/// spawner and all other children are gone.
#[derive(Debug)]
pub struct Child {
    os_pid: OsPid,
    /// `None` once it has been reaped.
    watch: Option<EndWatch>,
    control: Socket,
    started: Moment,
    label: Option<String>,
    executes: bool,
    exit: Option<Exit>,
    /// The thread that is the process's parent lives as long as this: until its end is known.
    inner: Option<Arc<Inner>>,
}

impl Child {
    pub(crate) fn new(
        os_pid: OsPid,
        control: Socket,
        inner: Arc<Inner>,
    ) -> Result<Child, SpawnError> {
        // Nobody reaps it but this child, so the number is still its own.
        let pid = os_pid.to_rustix().ok_or(SpawnError::DiedAtBirth)?;
        let watch = EndWatch::of_child(os_pid).map_err(|source| {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            let op = "pidfd_open";
            SpawnError::Io { op, source }
        })?;
        let started = Moment::now();
        Ok(Child {
            os_pid,
            watch: Some(watch),
            control,
            started,
            label: None,
            executes: false,
            exit: None,
            inner: Some(inner),
        })
    }

    /// What people call it.
    pub(crate) fn set_label(&mut self, label: &str) {
        self.label = Some(label.to_owned());
    }

    /// It is another program, which knows nothing of our handlers.
    pub(crate) fn set_executes(&mut self) {
        self.executes = true;
    }

    /// What the kernel calls it.
    pub fn os_pid(&self) -> OsPid {
        self.os_pid
    }

    /// Waits until it has ended, and says how. Asked again, it says the same.
    ///
    /// # Errors
    ///
    /// [`WaitError::Stolen`] when something else in this program has reaped it.
    pub fn wait(&mut self) -> Result<Exit, WaitError> {
        match self.wait_until(Deadline::Never)? {
            Some(exit) => Ok(exit),
            None => Err(WaitError::Io {
                op: "poll",
                source: io::ErrorKind::TimedOut.into(),
            }),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    pub fn try_wait(&mut self) -> Result<Option<Exit>, WaitError> {
        self.wait_until(Deadline::Now)
    }

    /// Waits for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<Exit>, WaitError> {
        self.wait_until(Deadline::after(limit))
    }

    fn wait_until(&mut self, deadline: Deadline) -> Result<Option<Exit>, WaitError> {
        if let Some(exit) = &self.exit {
            return Ok(Some(exit.clone()));
        }
        if !readable(&self.as_fd(), deadline)
            .map_err(|source| WaitError::Io { op: "poll", source })?
        {
            return Ok(None);
        }
        let ended = Moment::now();
        // It is dead, so what it said is complete; reports are one datagram each and never waited for a
        // reader. A fork of it may hold the socket: what is there now is all of its own.
        let Ended { status, usage } = self.reap()?;
        let (reason, evidence) = self.reason(status);
        let mut report = ExitReport::new(self.os_pid, status, evidence, &reason);
        report.label = self.label.clone();
        report.started = Some(self.started);
        report.ended = Some(ended);
        report.usage = Some(usage);
        let exit = Exit {
            os_pid: self.os_pid,
            reason,
            report,
        };
        self.exit = Some(exit.clone());
        self.inner = None;
        Ok(Some(exit))
    }

    /// What the process said, as far as the kernel's answer confirms it.
    fn reason(&mut self, status: OsStatus) -> (ExitReason, Vec<Evidence>) {
        // A long report comes as a descriptor. This one has served, so there is room.
        self.watch = None;
        let mut words = LastWords::default();
        let mut lost = None;
        let mut buffer = vec![0; MAX_DATAGRAM];
        // A bound, because a fork of the process may hold the socket and write for ever.
        for _ in 0..MOST_FRAMES {
            let mut fds = Vec::new();
            match self.control.receive(&mut buffer, &mut fds, Deadline::Now) {
                Ok(Received::Datagram { len, sender }) => {
                    // Believed only from the process itself, as the kernel says.
                    let own = sender.is_some_and(|sender| sender.os_pid == self.os_pid.get());
                    let whole = Assembler::new(Limits::default()).push(&buffer[..len], fds);
                    if let (true, Ok(Some(envelope))) = (own, whole) {
                        words.hear(envelope);
                    }
                }
                Err(ReceiveError::Frame(error @ FrameError::FdsLost)) => lost = Some(error),
                Err(ReceiveError::Frame(_)) => {}
                _ => break,
            }
        }
        let evidence = match self.executes {
            true => Vec::new(),
            false => words.evidence(status),
        };
        let reason = match (words.confirmed_by(status), lost) {
            (None, Some(error)) if status.signal().is_none() => {
                ExitReason::undelivered(&error.to_string())
            }
            (report, _) => ExitReason::new(status, report),
        };
        (reason, evidence)
    }

    fn reap(&self) -> Result<Ended, WaitError> {
        let stolen = WaitError::Stolen {
            os_pid: self.os_pid,
        };
        let Some(watch) = &self.watch else {
            return Err(stolen);
        };
        loop {
            match watch.ended(true) {
                Ok(Some(ended)) => return Ok(ended),
                // Readable before the kernel has made all of it known.
                Ok(None) => std::thread::yield_now(),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Err(stolen),
                Err(source) => {
                    return Err(WaitError::Io {
                        op: "waitid",
                        source,
                    });
                }
            }
        }
    }

    /// Ends it with SIGKILL. One that has ended already is left as it is.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn kill(&self) -> io::Result<()> {
        match &self.watch {
            Some(watch) => watch.signal(Signal::KILL),
            None => Ok(()),
        }
    }
}

/// Readable once the process has ended and [`Child::try_wait`] will say how; of no more use once it has.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch
            .as_ref()
            .map_or(self.control.as_fd(), |watch| watch.as_fd())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none()
            && let (Some(watch), Some(inner)) = (self.watch.take(), &self.inner)
        {
            inner.adopt(watch);
        }
    }
}

fn readable(fd: &impl AsFd, deadline: Deadline) -> io::Result<bool> {
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
            Ok(0) if deadline.passed() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
