//! How a process ended: the kernel's answer, and the reason that it and the process's own report give.

use std::fmt;
use std::sync::Arc;

use occ_proc::{Evidence, OsStatus, Signal, SignalInfo};
use occ_sck::{DecodeError, Envelope, Term};

use crate::backtrace::Backtrace;
use crate::outcome::{ErrorReport, PanicReport, STATUS_ERROR, STATUS_PANIC, STATUS_VALUE, kind};
use crate::{earlier, last_signal};

/// Why a process ended.
///
/// Exhaustive on purpose: whoever matches on it is told by the compiler when there is a new way to die.
#[derive(Clone, Debug)]
pub enum ExitReason {
    /// The function returned, or `exit` was called: with this value, which may be `()`.
    Value(Value),
    /// The function returned an error, or `fail` was called.
    Error(Failure),
    /// The function panicked, or a panic ended the process.
    Panic(Panic),
    /// The process ended itself without a word: `std::process::exit`, `_exit(2)`.
    Code(i32),
    /// A signal ended it.
    Signal(Signal),
    /// There was no such process when somebody began to ask.
    NoProcess,
}

/// A value that a process ended with, of a type that only the receiver knows.
#[derive(Clone)]
pub struct Value(Arc<Envelope>);

impl Value {
    /// The value. Descriptors in it ([`Fd`](occ_sck::Fd)) are duplicates, others each time; those that came are closed with
    /// the last copy of this.
    ///
    /// # Errors
    ///
    /// The process ended with a value of another type, or its bytes cannot be decoded, or there is no room for a descriptor. The exit is none the
    /// less what it was.
    pub fn get<T: Term>(&self) -> Result<T, DecodeError> {
        self.0.decode()
    }

    /// True when it is a `T`.
    pub fn is<T: 'static>(&self) -> bool {
        self.0.is::<T>()
    }

    /// The name of its type, for people.
    pub fn type_name(&self) -> &str {
        self.0.type_name()
    }

    /// Bytes of the encoded value.
    pub fn encoded_len(&self) -> u64 {
        self.0.len()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Value({}, {} bytes)",
            self.type_name(),
            self.encoded_len()
        )
    }
}

/// The error that a process ended with.
#[derive(Clone, Debug)]
pub struct Failure {
    chain: Vec<String>,
    backtrace: Option<Backtrace>,
    value: Option<Value>,
}

impl Failure {
    /// The error and its causes, the outermost first. Never empty.
    pub fn chain(&self) -> &[String] {
        &self.chain
    }

    /// Where the error was made, if `RUST_LIB_BACKTRACE` or `RUST_BACKTRACE` asked for it.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.backtrace.as_ref()
    }

    /// The value that `fail` was called with.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }
}

/// A panic that ended a process.
#[derive(Clone, Debug)]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// File, line and column.
    pub location: Option<String>,
    /// The thread that panicked, if it was not the one that ran the function.
    pub thread: Option<String>,
    /// Where it happened, if `RUST_BACKTRACE` asked for it.
    pub backtrace: Option<Backtrace>,
    /// Which of the process's panics it was.
    pub(crate) number: u64,
}

/// What a process has said of its own end so far. It is believed once the kernel has confirmed it.
#[derive(Debug, Default)]
pub struct LastWords {
    outcome: Option<Envelope>,
    panic: Option<Envelope>,
    /// What the first handler was told. Where two threads fault at once, the kernel ends the process by the first.
    signal: Option<SignalInfo>,
    /// Panics that were not the end.
    earlier: Option<Evidence>,
}

impl LastWords {
    /// Takes a frame from the process's own socket, if it is a report; gives back what is not.
    pub fn hear(&mut self, envelope: Envelope) -> Option<Envelope> {
        match envelope.kind {
            kind::VALUE | kind::ERROR | kind::FAILURE => self.outcome = Some(envelope),
            kind::PANIC => self.panic = Some(envelope),
            kind::SIGNAL => self.signal = self.signal.take().or(last_signal::read(&envelope)),
            kind::PANICKED_BEFORE => self.earlier = earlier::read(&envelope),
            _ => return Some(envelope),
        }
        None
    }

    /// True if it has said nothing.
    pub fn is_empty(&self) -> bool {
        self.outcome.is_none()
            && self.panic.is_none()
            && self.signal.is_none()
            && self.earlier.is_none()
    }

    /// What it has said of how it came to the end that the kernel tells.
    pub fn evidence(&self, status: OsStatus) -> Vec<Evidence> {
        let of_signal = self.evidence_of_signal(status);
        of_signal.into_iter().chain(self.earlier.clone()).collect()
    }

    /// What speaks for one cause or another of a signal.
    fn evidence_of_signal(&self, status: OsStatus) -> Option<Evidence> {
        let number = status.signal()?.number();
        match &self.signal {
            Some(info) => Some(Evidence::Told(info.clone())),
            // Nobody in the process hears of this one.
            None if number == libc::SIGKILL => None,
            // The panic has been told in its place.
            None if number == libc::SIGABRT && self.panic.is_some() => None,
            None => Some(Evidence::HandlerSilent),
        }
    }

    /// The report that agrees with how the kernel says the process ended.
    ///
    /// A signal beats any report, except that a panic followed by SIGABRT is what `panic = "abort"` looks like. A
    /// code that is not the one that goes with a report was set by something else, later.
    pub fn confirmed_by(self, status: OsStatus) -> Option<Envelope> {
        let (outcome, panic) = (self.outcome, self.panic);
        let aborted = status
            .signal()
            .is_some_and(|signal| signal.number() == libc::SIGABRT);
        match status.code() {
            Some(STATUS_VALUE) => outcome.filter(|said| said.kind == kind::VALUE),
            Some(STATUS_ERROR) => {
                outcome.filter(|said| matches!(said.kind, kind::ERROR | kind::FAILURE))
            }
            Some(STATUS_PANIC) => panic,
            None if aborted => panic,
            _ => None,
        }
    }
}

impl ExitReason {
    /// The reason, from what the kernel said and the report that it confirmed.
    pub fn new(status: OsStatus, report: Option<Envelope>) -> ExitReason {
        let bare = || match status.signal() {
            Some(signal) => ExitReason::Signal(signal),
            None => ExitReason::Code(status.si_status),
        };
        let Some(report) = report else { return bare() };
        match report.kind {
            kind::VALUE => ExitReason::Value(Value(Arc::new(report))),
            kind::ERROR => report.decode::<ErrorReport>().map_or_else(
                |_| bare(),
                |said| {
                    ExitReason::Error(Failure {
                        chain: said.chain,
                        backtrace: said.backtrace.map(Backtrace::new),
                        value: None,
                    })
                },
            ),
            kind::FAILURE => ExitReason::Error(Failure {
                chain: vec![format!(
                    "failed with a value of type `{}`",
                    report.type_name()
                )],
                backtrace: None,
                value: Some(Value(Arc::new(report))),
            }),
            kind::PANIC => report.decode::<PanicReport>().map_or_else(
                |_| bare(),
                |said| {
                    ExitReason::Panic(Panic {
                        message: said.message,
                        location: said.location,
                        thread: said.thread,
                        backtrace: said.backtrace.map(Backtrace::new),
                        number: said.number,
                    })
                },
            ),
            _ => bare(),
        }
    }

    /// The reason of a process whose report is known to exist, and could not be had.
    pub fn undelivered(why: &str) -> ExitReason {
        let chain = vec![
            "the exit report could not be handed over".to_owned(),
            why.to_owned(),
        ];
        ExitReason::Error(Failure {
            chain,
            backtrace: None,
            value: None,
        })
    }

    /// True for everything but a value and code 0.
    pub fn is_abnormal(&self) -> bool {
        !matches!(self, ExitReason::Value(_) | ExitReason::Code(STATUS_VALUE))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Value(value) if value.is::<()>() => write!(f, "returned"),
            ExitReason::Value(value) => write!(f, "returned a value of type {}", value.type_name()),
            ExitReason::Error(failure) => write!(f, "failed: {failure}"),
            ExitReason::Panic(panic) => write!(f, "panicked: {panic}"),
            ExitReason::Code(code) => write!(f, "exited with code {code}"),
            ExitReason::Signal(signal) => write!(f, "was killed by {signal}"),
            ExitReason::NoProcess => write!(f, "was no process"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        if let Some(thread) = &self.thread {
            write!(f, " on thread {thread}")?;
        }
        Ok(())
    }
}
