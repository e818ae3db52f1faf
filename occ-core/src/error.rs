//! What can go wrong on our side. How a process ends is not here: that is an `ExitReason`.

use std::fmt;
use std::io;

use occ_inbox::Pid;
use occ_sck::{BlobError, DecodeError, EncodeError};
use occ_spawn::boot::BootError;
use occ_spawn::zygote::NotEncoded;
use occ_spawn::{Backtrace, ExitReason, ExitReport, Step};
use thiserror::Error;

use crate::protocol::NotSpawned;

/// A system that did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The calling thread has started one already, and not stopped it.
    #[error("this thread has started a system already: stop that one first")]
    AlreadyStarted,
    /// The program's image cannot be started again.
    #[error("cannot start the coordinator")]
    Boot(#[from] BootError),
    /// The coordinator did not come up.
    #[error("the coordinator did not come up: {why}")]
    NotReady {
        /// What it said.
        why: String,
    },
    /// This process is a plain fork of a process of a system.
    #[error("this is a fork of a process of a system, which is none itself")]
    Forked,
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// No process was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The arguments cannot be encoded.
    #[error("cannot encode the arguments")]
    Encode(#[from] EncodeError),
    /// No room for the arguments.
    #[error("cannot hand over the arguments")]
    Arguments(#[from] BlobError),
    /// The system has as many processes as it has file descriptors for (`ulimit -n`).
    #[error("the system has room for {limit} processes, by its limit on open files")]
    TooManyProcesses {
        /// How many there may be.
        limit: u64,
    },
    /// The process is to be given more descriptors than go with one spawn.
    #[error("expected at most {limit} descriptors for a process, and it is given {given}")]
    TooManyFds {
        /// How many it is given, those of its standard streams included.
        given: usize,
        /// How many it can be given.
        limit: usize,
    },
    /// The kernel refused to fork: no memory, or a limit on processes.
    #[error("cannot fork")]
    Fork(#[source] io::Error),
    /// The process was made, could not do what its options say, and ended itself before its function or program.
    #[error("the process could not {step} {what}")]
    NotBegun {
        /// What it could not do.
        step: Step,
        /// With what: a path, a number, a name.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the process is to have cannot be had on this machine, or by this user.
    #[error("{what} cannot be had here: {why}")]
    Unsupported {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// Two zygotes died, one after the other, before they made this process. The next spawn makes a new one.
    #[error("two zygotes died before they made this process; another will be made for the next")]
    ZygoteDied,
    /// There is no zygote, and none can be made.
    #[error("cannot start a zygote: {why}")]
    NoZygote {
        /// Why not.
        why: String,
    },
    /// The system has ended, is about to, or its coordinator was killed.
    #[error("the system has gone down")]
    SystemDown,
    /// The calling thread belongs to no system.
    #[error("this thread belongs to no system: start one, or run a function in one")]
    NotStarted,
    /// This process is a plain fork of a process of a system.
    #[error("this is a fork of a process of the system, which is none itself")]
    Forked,
    /// Called from within a matcher, while a receive is under way.
    #[error("called from within a matcher of receive")]
    Reentrant,
    /// A system call failed, here or in the coordinator.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<NotEncoded> for SpawnError {
    fn from(error: NotEncoded) -> SpawnError {
        match error {
            NotEncoded::Encode(error) => error.into(),
            NotEncoded::Blob(error) => error.into(),
            other => SpawnError::Io {
                op: "encode".to_owned(),
                source: io::Error::other(other),
            },
        }
    }
}

impl From<NotSpawned> for SpawnError {
    fn from(why: NotSpawned) -> SpawnError {
        match why {
            NotSpawned::TooMany { limit } => SpawnError::TooManyProcesses { limit },
            NotSpawned::Fork { errno } => SpawnError::Fork(io::Error::from_raw_os_error(errno)),
            NotSpawned::ZygoteDied => SpawnError::ZygoteDied,
            NotSpawned::NoZygote { why } => SpawnError::NoZygote { why },
            NotSpawned::Io { op, errno } => SpawnError::Io {
                op,
                source: io::Error::from_raw_os_error(errno),
            },
            NotSpawned::NotBegun(why) => SpawnError::NotBegun {
                source: why.source(),
                step: why.step,
                what: why.what,
            },
            NotSpawned::Unsupported { what, why } => SpawnError::Unsupported { what, why },
            NotSpawned::Stopping => SpawnError::SystemDown,
        }
    }
}

/// A question to the system, or an order, that came to nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SystemError {
    /// There is no such process: it has ended, or never was.
    #[error("there is no process {pid}")]
    NoProcess {
        /// Who was asked about.
        pid: Pid,
    },
    /// The process is the program that started the system, which is not the system's to kill.
    #[error("{pid} is the program that started the system, and not the system's to kill")]
    IsHost {
        /// Who it is.
        pid: Pid,
    },
    /// The system has ended, or its coordinator was killed.
    #[error("the system has gone down")]
    SystemDown,
    /// The calling thread belongs to no system.
    #[error("this thread belongs to no system: start one, or run a function in one")]
    NotStarted,
    /// This process is a plain fork of a process of a system.
    #[error("this is a fork of a process of the system, which is none itself")]
    Forked,
    /// Called from within a matcher, while a receive is under way.
    #[error("called from within a matcher of receive")]
    Reentrant,
    /// A system call failed, here or in the coordinator.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What `run` gives when the function gave no value.
///
/// Its `Debug` is made for people, because that is what `main` prints.
#[derive(Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system did not start.
    #[error("the system did not start")]
    Start(#[from] StartError),
    /// Process zero was not made.
    #[error("the process was not made")]
    Spawn(#[from] SpawnError),
    /// Process zero ended, and not with a value.
    #[error("the process {}", told(.reason, .report))]
    Ended {
        /// Why.
        reason: ExitReason,
        /// What else is known.
        report: Box<ExitReport>,
    },
    /// Process zero ended with a value of another type than its function returns: `exit` was called with it.
    #[error("the process ended with a value of another type")]
    WrongType(#[source] DecodeError),
    /// The coordinator was killed.
    #[error("the system has gone down")]
    SystemDown,
}

/// Of a signal the verdict says more than its number.
fn told(reason: &ExitReason, report: &ExitReport) -> String {
    match (reason, &report.verdict) {
        (ExitReason::Signal(_), Some(verdict)) => format!("{reason}: {verdict}"),
        _ => reason.to_string(),
    }
}

impl fmt::Debug for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the display of the reason says in one line is told here cause by cause.
        if let RunError::Ended {
            reason: ExitReason::Error(failure),
            ..
        } = self
        {
            let mut chain = failure.chain().iter();
            write!(
                f,
                "{}",
                chain.next().map_or("the process failed", |first| first)
            )?;
            causes(f, chain)?;
            return backtrace(f, failure.backtrace());
        }
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        let chain = std::iter::from_fn(|| {
            let next = source?;
            source = next.source();
            Some(next.to_string())
        });
        causes(f, chain)?;
        match self {
            RunError::Ended {
                reason: ExitReason::Panic(panic),
                ..
            } => backtrace(f, panic.backtrace.as_ref()),
            _ => Ok(()),
        }
    }
}

fn causes(
    f: &mut fmt::Formatter<'_>,
    chain: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (i, cause) in chain.enumerate() {
        if i == 0 {
            f.write_str("\n\nCaused by:")?;
        }
        write!(f, "\n    {i}: {cause}")?;
    }
    Ok(())
}

fn backtrace(f: &mut fmt::Formatter<'_>, backtrace: Option<&Backtrace>) -> fmt::Result {
    backtrace.map_or(Ok(()), |backtrace| {
        write!(f, "\n\nBacktrace:\n{}", backtrace.text().trim_end())
    })
}
