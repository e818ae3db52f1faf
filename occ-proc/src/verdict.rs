//! What the evidence amounts to: why a process ended, and how sure that is.
//!
//! A pure function of the kernel's status and the evidence, so that each way to die is a line in a table.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal as Raw;

use crate::evidence::{Evidence, SignalInfo};
use crate::os_pid::OsPid;
use crate::signal::Signal;
use crate::status::OsStatus;

#[cfg(test)]
mod tests;

const SIGILL: i32 = Raw::ILL.as_raw();
const SIGABRT: i32 = Raw::ABORT.as_raw();
const SIGBUS: i32 = Raw::BUS.as_raw();
const SIGFPE: i32 = Raw::FPE.as_raw();
const SIGKILL: i32 = Raw::KILL.as_raw();
const SIGSEGV: i32 = Raw::SEGV.as_raw();
const SIGXCPU: i32 = Raw::XCPU.as_raw();
const SIGXFSZ: i32 = Raw::XFSZ.as_raw();
const SIGSYS: i32 = Raw::SYS.as_raw();

/// Whether a limit on processor time may have been reached. The kernel counts in ticks for the limit, and precisely for what
/// it tells later; on a busy machine the two differ by a third of a second in one.
fn has_reached(used: Duration, limit: Duration) -> bool {
    let slack = Duration::from_millis(500) + limit / 50;
    used + slack >= limit
}

/// `si_code` of SIGBUS for memory that has failed (sigaction(2)).
const BUS_MCEERR_AR: i32 = 4;
const BUS_MCEERR_AO: i32 = 5;

/// `si_code` of a signal that seccomp(2) raises.
const SYS_SECCOMP: i32 = 1;

/// Why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It ended itself: it returned, failed, panicked, or called exit(3).
    Itself,
    /// Those who watch it killed it.
    Killed {
        /// By which signal.
        signal: Signal,
        /// Who wanted it.
        by: String,
        /// What for.
        why: String,
    },
    /// The out-of-memory killer killed it.
    OutOfMemory,
    /// It ran out of stack.
    StackOverflow {
        /// The thread that did, if it was not the main thread and its name is known.
        thread: Option<String>,
    },
    /// It touched memory that was not there, or not for it.
    BadAddress {
        /// Where, if the processor said so.
        address: Option<u64>,
    },
    /// It divided by zero, or did something like it.
    Arithmetic,
    /// It came upon an instruction that is none.
    BadInstruction,
    /// It called abort(3).
    Aborted,
    /// It made a system call that it may not make (seccomp(2)).
    ForbiddenCall {
        /// Which.
        call: Option<u32>,
    },
    /// It used up its processor time (`RLIMIT_CPU`).
    CpuLimit,
    /// It wrote a file that was too long (`RLIMIT_FSIZE`).
    FileSizeLimit,
    /// It sent itself the signal that ended it.
    OwnSignal {
        /// Which.
        signal: Signal,
    },
    /// A process of the machine sent it the signal that ended it.
    SentBy {
        /// Which signal.
        signal: Signal,
        /// Which process.
        sender: OsPid,
        /// Of which user.
        user: Option<u32>,
    },
    /// A signal ended it, and who sent that is unknown: a process, or the kernel.
    SenderUnknown {
        /// Which signal.
        signal: Signal,
    },
}

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Something speaks for it, and something else could be as well.
    Guess,
    /// Much speaks for it, and little for anything else.
    Probable,
    /// It is so: the kernel says it, or those who say it did it.
    Certain,
}

/// What the evidence amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Why the process ended.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: Confidence,
    /// What it rests on, in a word or two.
    pub because: String,
}

impl Verdict {
    /// Judges how a process ended.
    ///
    /// ```
    /// use occ_proc::{Cause, Confidence, Evidence, OsStatus, Verdict};
    ///
    /// // By SIGKILL, and nobody knows from whom.
    /// let status = OsStatus { si_code: 2, si_status: 9 };
    /// let verdict = Verdict::new(status, &[Evidence::NoOomKill]);
    /// assert!(matches!(verdict.cause, Cause::SenderUnknown { .. }));
    /// assert_eq!(verdict.confidence, Confidence::Certain);
    /// assert_eq!(verdict.to_string(), "killed by SIGKILL, sender unknown [certain: kernel status]");
    /// ```
    pub fn new(status: OsStatus, evidence: &[Evidence]) -> Verdict {
        let Some(signal) = status.signal() else {
            return certain(Cause::Itself, "its exit code");
        };
        if signal.number() == SIGKILL {
            return of_kill(signal, evidence);
        }
        let info = evidence.iter().find_map(|evidence| match evidence {
            Evidence::Told(info) => Some(info),
            _ => None,
        });
        if let Some(info) = info
            && !is_ours(info, evidence)
            && let Some(verdict) = of_info(signal, info)
        {
            return verdict;
        }
        if let Some(verdict) = of_sent(signal, evidence) {
            return verdict;
        }
        of_signal(signal, evidence)
    }
}

fn certain(cause: Cause, because: &str) -> Verdict {
    verdict(cause, Confidence::Certain, because)
}

fn verdict(cause: Cause, confidence: Confidence, because: &str) -> Verdict {
    Verdict {
        cause,
        confidence,
        because: because.to_owned(),
    }
}

/// SIGKILL: nobody in the process is told anything.
fn of_kill(signal: Signal, evidence: &[Evidence]) -> Verdict {
    // What the kernel has logged for this process, it has done, whoever else wanted the same.
    for piece in evidence {
        if let Evidence::LoggedOomKill { by_number, .. } = piece {
            return if *by_number {
                certain(Cause::OutOfMemory, "kernel log")
            } else {
                verdict(
                    Cause::OutOfMemory,
                    Confidence::Probable,
                    "kernel log, by name",
                )
            };
        }
    }
    if let Some(verdict) = of_sent(signal, evidence) {
        return verdict;
    }
    for piece in evidence {
        if let Evidence::CpuLimit { hard, used, .. } = piece
            && has_reached(*used, *hard)
        {
            return verdict(
                Cause::CpuLimit,
                Confidence::Probable,
                "its processor time had reached the hard limit",
            );
        }
    }
    let in_cgroup = |piece: &Evidence| matches!(piece, Evidence::OomKills { in_cgroup: true, count } if *count > 0);
    let at_limit = |piece: &Evidence| matches!(piece, Evidence::Memory { limit, peak } if *peak >= limit - limit / 16);
    let anywhere =
        |piece: &Evidence| matches!(piece, Evidence::OomKills { count, .. } if *count > 0);
    if evidence.iter().any(in_cgroup) {
        return verdict(
            Cause::OutOfMemory,
            Confidence::Probable,
            "its control group counts such kills",
        );
    }
    if evidence.iter().any(anywhere) {
        return verdict(
            Cause::OutOfMemory,
            Confidence::Guess,
            "the machine counts such kills",
        );
    }
    let excluded = evidence.contains(&Evidence::NoOomKill);
    if !excluded && evidence.iter().any(at_limit) {
        return verdict(
            Cause::OutOfMemory,
            Confidence::Guess,
            "its control group was at its limit",
        );
    }
    certain(Cause::SenderUnknown { signal }, "kernel status")
}

/// Whether a handler was told of a signal that those who watch the process have sent.
fn is_ours(info: &SignalInfo, evidence: &[Evidence]) -> bool {
    evidence.iter().any(|piece| match piece {
        Evidence::Sent(sent) => {
            sent.signal == info.signal && sent.through.is_some() && sent.through == info.sender
        }
        _ => false,
    })
}

/// A signal that those who watch the process have sent.
fn of_sent(signal: Signal, evidence: &[Evidence]) -> Option<Verdict> {
    let sent = evidence.iter().find_map(|piece| match piece {
        Evidence::Sent(sent) if sent.signal == signal.number() => Some(sent),
        _ => None,
    })?;
    let (by, why) = (sent.by.clone(), sent.why.clone());
    Some(certain(Cause::Killed { signal, by, why }, "we sent it"))
}

/// What a handler was told. It speaks of the last signal that came; where that is not the one that ended the process, it
/// is no evidence of it.
fn of_info(signal: Signal, info: &SignalInfo) -> Option<Verdict> {
    let overflow = info.stack_overflow && signal.number() == SIGABRT;
    if info.signal != signal.number() && !overflow {
        return None;
    }
    let told = |cause| Some(certain(cause, "told to its handler"));
    if info.stack_overflow {
        let thread = (!info.on_main_thread).then(|| info.thread.clone());
        return told(Cause::StackOverflow { thread });
    }
    // Sent by a process, and by which.
    if info.code <= 0 {
        let own = info.from_itself;
        return match info.sender {
            _ if own && signal.number() == SIGABRT => told(Cause::Aborted),
            // The kernel sends this one in the name of the process itself.
            _ if own && signal.number() == SIGXFSZ => Some(verdict(
                Cause::FileSizeLimit,
                Confidence::Probable,
                "told to its handler",
            )),
            _ if own => told(Cause::OwnSignal { signal }),
            Some(sender) => told(Cause::SentBy {
                signal,
                sender,
                user: info.user,
            }),
            None => None,
        };
    }
    match info.signal {
        // The memory itself is broken, and not the program.
        SIGBUS if matches!(info.code, BUS_MCEERR_AR | BUS_MCEERR_AO) => None,
        SIGSEGV | SIGBUS => told(Cause::BadAddress {
            address: info.address,
        }),
        SIGFPE => told(Cause::Arithmetic),
        SIGILL => told(Cause::BadInstruction),
        SIGSYS if info.code == SYS_SECCOMP => told(Cause::ForbiddenCall { call: info.call }),
        SIGXCPU => told(Cause::CpuLimit),
        SIGXFSZ => told(Cause::FileSizeLimit),
        _ => None,
    }
}

/// A signal of which nothing else is known.
fn of_signal(signal: Signal, evidence: &[Evidence]) -> Verdict {
    let silent = evidence.contains(&Evidence::HandlerSilent);
    // With the signal the kernel raises the soft limit by a second, for the next (`check_process_timers` in
    // kernel/time/posix-cpu-timers.c).
    let raised = Duration::from_secs(1);
    let over_soft = evidence.iter().any(
        |piece| matches!(piece, Evidence::CpuLimit { soft, used, .. } if has_reached(*used, soft.saturating_sub(raised))),
    );
    match signal.number() {
        // The kernel finds no room for the handler on a stack that is full, and ends the process.
        SIGSEGV if silent => verdict(
            Cause::StackOverflow { thread: None },
            Confidence::Probable,
            "its handler had no stack to run on",
        ),
        SIGSEGV | SIGBUS => verdict(
            Cause::BadAddress { address: None },
            Confidence::Probable,
            "the signal",
        ),
        SIGFPE => verdict(Cause::Arithmetic, Confidence::Probable, "the signal"),
        SIGILL => verdict(Cause::BadInstruction, Confidence::Probable, "the signal"),
        SIGABRT => verdict(Cause::Aborted, Confidence::Probable, "the signal"),
        SIGSYS => verdict(
            Cause::ForbiddenCall { call: None },
            Confidence::Probable,
            "the signal",
        ),
        SIGXCPU if over_soft => verdict(
            Cause::CpuLimit,
            Confidence::Probable,
            "its processor time had reached the limit",
        ),
        SIGXFSZ => verdict(Cause::FileSizeLimit, Confidence::Probable, "the signal"),
        _ => certain(Cause::SenderUnknown { signal }, "kernel status"),
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confidence::Guess => "guess",
            Confidence::Probable => "probable",
            Confidence::Certain => "certain",
        })
    }
}

/// As it follows the name of the process: `killed by the out-of-memory killer`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Itself => f.write_str("ended by itself"),
            Cause::Killed { signal, by, why } if signal.number() == SIGKILL => {
                write!(f, "killed by {by}: {why}")
            }
            Cause::Killed { signal, by, why } => write!(f, "killed by {signal} from {by}: {why}"),
            Cause::OutOfMemory => f.write_str("killed by the out-of-memory killer"),
            Cause::StackOverflow { thread: None } => f.write_str("overflowed its stack"),
            Cause::StackOverflow {
                thread: Some(thread),
            } => write!(f, "overflowed the stack of its thread {thread:?}"),
            Cause::BadAddress { address: None } => f.write_str("touched a bad address"),
            Cause::BadAddress { address: Some(0) } => {
                f.write_str("touched address 0, by a null pointer")
            }
            Cause::BadAddress {
                address: Some(address),
            } => write!(f, "touched the bad address {address:#x}"),
            Cause::Arithmetic => f.write_str("divided by zero, or the like"),
            Cause::BadInstruction => f.write_str("came upon a bad instruction"),
            Cause::Aborted => f.write_str("aborted"),
            Cause::ForbiddenCall { call: None } => f.write_str("made a forbidden system call"),
            Cause::ForbiddenCall { call: Some(call) } => {
                write!(f, "made the forbidden system call {call}")
            }
            Cause::CpuLimit => f.write_str("used up its processor time"),
            Cause::FileSizeLimit => f.write_str("wrote a file beyond the limit"),
            Cause::OwnSignal { signal } => write!(f, "ended itself by {signal}"),
            Cause::SentBy {
                signal,
                sender,
                user,
            } => {
                write!(f, "killed by {signal} from process {sender}")?;
                match user {
                    Some(user) => write!(f, " of user {user}"),
                    None => Ok(()),
                }
            }
            Cause::SenderUnknown { signal } => write!(f, "killed by {signal}, sender unknown"),
        }
    }
}

/// `killed by the out-of-memory killer [certain: kernel log]`.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}: {}]", self.cause, self.confidence, self.because)
    }
}
