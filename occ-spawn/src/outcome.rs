//! How a process ends, from its own side: what it reports, and the status it leaves.

use occ_sck::{Blob, EncodeError, Packet, SendError, Term};
use serde::{Deserialize, Serialize};

use crate::backtrace::Told;

/// The kinds of frame between a process and whoever started it.
pub mod kind {
    use occ_sck::kind::SPAWN;

    /// To a new image: run this function.
    pub const BOOT: u8 = SPAWN;
    /// From a new image: it could not.
    pub const BOOT_FAILED: u8 = SPAWN + 1;
    /// To a zygote: fork, and run this function.
    pub const REQUEST: u8 = SPAWN + 2;
    /// From a zygote, on the socket of the process that is not: no fork.
    pub const FORK_FAILED: u8 = SPAWN + 3;
    /// From a new process, before its function runs.
    pub const HELLO: u8 = SPAWN + 4;
    /// The process ends with a value.
    pub const VALUE: u8 = SPAWN + 5;
    /// The process ends with an error: its words.
    pub const ERROR: u8 = SPAWN + 6;
    /// The process ends with an error that is a value.
    pub const FAILURE: u8 = SPAWN + 7;
    /// A thread of the process has panicked.
    pub const PANIC: u8 = SPAWN + 8;
    /// To a zygote, and back: which process did you fork for this?
    pub const WHICH: u8 = SPAWN + 9;
    /// A signal is about to end the process.
    pub const SIGNAL: u8 = SPAWN + 10;
    /// To a spare process: run this function.
    pub const START: u8 = SPAWN + 12;
    /// From a new process: it could not do what its options say, and ends.
    pub const NOT_BEGUN: u8 = SPAWN + 11;
    /// From a helper that was asked for the names in a backtrace.
    pub const BACKTRACE: u8 = SPAWN + 13;
    /// The process has panicked before, and that was not its end.
    pub const PANICKED_BEFORE: u8 = SPAWN + 14;
}

/// The status of a process that ended with a value.
pub(crate) const STATUS_VALUE: i32 = 0;
/// The status of a process that ended with an error.
pub(crate) const STATUS_ERROR: i32 = 1;
/// The status of a process that panicked.
pub(crate) const STATUS_PANIC: i32 = 101;

/// An error, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ErrorReport {
    pub(crate) chain: Vec<String>,
    pub(crate) backtrace: Option<Told>,
}

/// A panic, in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PanicReport {
    /// Which of the process's panics it was, from 1; 0 if that is not known.
    pub(crate) number: u64,
    pub(crate) message: String,
    pub(crate) location: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) backtrace: Option<Told>,
}

/// How a process ends: its report, ready to be sent, and its status.
#[derive(Debug)]
pub struct End {
    pub(crate) packet: Packet,
    /// What the packet says is in here, as it is long.
    pub(crate) blob: Option<Blob>,
    pub(crate) status: i32,
}

impl End {
    /// With a value.
    pub fn value<T: Term>(value: &T) -> End {
        End::with(kind::VALUE, value, STATUS_VALUE)
            .unwrap_or_else(|error| End::unencodable("exit value", &error))
    }

    /// With an error that is a value.
    pub fn failure<T: Term>(value: &T) -> End {
        End::with(kind::FAILURE, value, STATUS_ERROR)
            .unwrap_or_else(|error| End::unencodable("error value", &error))
    }

    fn with<T: Term>(kind: u8, value: &T, status: i32) -> Result<End, EncodeError> {
        let mut packet = Packet::new();
        packet.prepare(kind, value)?;
        let blob = match packet.is_long().then(|| packet.blob(value)) {
            None => None,
            Some(Ok(blob)) => Some(blob),
            Some(Err(SendError::Encode(error))) => return Err(error),
            // Perhaps for want of a descriptor, of which the end of the process has more: it is tried again then, and
            // said if it cannot be.
            Some(Err(_)) => {
                packet.fill(kind, value)?;
                None
            }
        };
        Ok(End {
            packet,
            blob,
            status,
        })
    }

    /// With an error: its chain, and its backtrace if one was asked for.
    pub fn error(error: &anyhow::Error) -> End {
        End::words(ErrorReport {
            chain: error.chain().map(ToString::to_string).collect(),
            backtrace: Told::of_error(error),
        })
    }

    fn unencodable(what: &str, error: &EncodeError) -> End {
        let mut chain = vec![format!("the {what} could not be handed over")];
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        End::chain(chain)
    }

    /// With an error that is made of words alone: the error and its causes, the outermost first.
    pub fn chain(chain: Vec<String>) -> End {
        End::words(ErrorReport {
            chain,
            backtrace: None,
        })
    }

    pub(crate) fn words(report: ErrorReport) -> End {
        // Strings always encode; should they not, the bare status is still the truth.
        let packet = Packet::of(kind::ERROR, &report).unwrap_or_default();
        End {
            packet,
            blob: None,
            status: STATUS_ERROR,
        }
    }

    pub(crate) fn panic(report: &PanicReport) -> End {
        let packet = Packet::of(kind::PANIC, report).unwrap_or_default();
        End {
            packet,
            blob: None,
            status: STATUS_PANIC,
        }
    }
}
