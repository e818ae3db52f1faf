//! What can go wrong on our side. How a process ends is not here: that is a value.

use std::io;

use thiserror::Error;

use crate::boot::BootError;
use crate::options::{NotBegun, Step};
use crate::zygote::NotEncoded;

/// No process was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program's image cannot be started again.
    #[error("cannot start a zygote")]
    Boot(#[from] BootError),
    /// The arguments cannot be encoded.
    #[error("cannot encode the arguments")]
    Encode(#[from] occ_sck::EncodeError),
    /// No room for the arguments.
    #[error("cannot hand over the arguments")]
    Arguments(#[from] occ_sck::BlobError),
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
    /// The zygote died before it forked this process. The next spawn makes a new one.
    #[error("the zygote died before it made this process; another will be made for the next")]
    ZygoteDied,
    /// The process was made and ended before its function ran, without a word.
    #[error("the process died before its function ran")]
    DiedAtBirth,
    /// This program ignores SIGCHLD, so that the kernel would throw the exit status of every process away
    /// (waitid(2)).
    #[error("SIGCHLD is ignored here, so no exit could be told: set it to its default first")]
    SigchldIgnored,
    /// This program is a fork of the one that made the spawner: the process would not be its child.
    #[error("the spawner was made before this process was forked: make another one here")]
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

impl From<NotEncoded> for SpawnError {
    fn from(error: NotEncoded) -> SpawnError {
        match error {
            NotEncoded::Encode(error) => error.into(),
            NotEncoded::Blob(error) => error.into(),
        }
    }
}

impl From<NotBegun> for SpawnError {
    fn from(why: NotBegun) -> SpawnError {
        SpawnError::NotBegun {
            source: why.source(),
            step: why.step,
            what: why.what,
        }
    }
}

/// A process whose end cannot be learned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The process has ended, and somebody else in this program took its status: a `waitpid(-1)`, or
    /// SIGCHLD set to be ignored.
    #[error("somebody else in this program has taken the exit status of process {os_pid} away")]
    Stolen {
        /// The process.
        os_pid: crate::OsPid,
    },
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
