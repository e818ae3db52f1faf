//! What is known of how a process came to its end, piece by piece.

use std::fmt;
use std::time::Duration;

use crate::kernel_log::OomKill;
use crate::os_pid::OsPid;
use crate::signal::Signal;

/// Something that is known of how a process came to its end. What it amounts to, [`Verdict`](crate::Verdict) says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Evidence {
    /// Whoever watches the process has sent it a signal: while it was not reaped, and before its end was seen.
    Sent(Sent),
    /// What a handler in the process was told of the signal that ended it.
    Told(SignalInfo),
    /// There is a handler in such a process for the signal that ended it, and it has said nothing.
    HandlerSilent,
    /// The kernel's log has it among those that were killed for want of memory.
    LoggedOomKill {
        /// The entry.
        kill: OomKill,
        /// The log calls processes as we do, so this is the one. Else it has the name, and the time fits.
        by_number: bool,
    },
    /// While it ran, so many processes were killed for want of memory: on the whole machine, or in its control group.
    OomKills {
        /// In its own control group; else on the whole machine.
        in_cgroup: bool,
        /// How many.
        count: u64,
    },
    /// The machine counts such kills, or its control group does, and while the process ran there was none.
    NoOomKill,
    /// Its control group may have so much memory, and had at its peak.
    Memory {
        /// Bytes that it may have.
        limit: u64,
        /// Bytes that it had.
        peak: u64,
    },
    /// It might use the processor for so long (`RLIMIT_CPU`).
    CpuLimit {
        /// At this it is sent SIGXCPU.
        soft: Duration,
        /// At this it is killed.
        hard: Duration,
        /// What it has used.
        used: Duration,
    },
    /// A process that descends from it, and was left when it ended.
    LeftBehind {
        /// Which.
        os_pid: OsPid,
        /// Its name.
        name: String,
    },
    /// It had been sent messages that it had not received.
    Unread {
        /// So many, as those count who send and it that receives.
        messages: u64,
    },
    /// It had become another program (execve(2)).
    Executed {
        /// Its name.
        exe: String,
    },
    /// It had panicked, and that was not its end: on another thread, or what panicked was caught.
    PanickedBefore {
        /// How often.
        count: u64,
        /// The last few, the oldest first.
        last: Vec<EarlierPanic>,
    },
}

/// A panic that was not the end of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct EarlierPanic {
    /// Which of the process's panics it was, from 1.
    pub number: u64,
    /// What it said, or the beginning of it.
    pub message: String,
    /// File, line and column.
    pub location: Option<String>,
    /// The thread that panicked, if it was not the one that ran the function.
    pub thread: Option<String>,
}

/// A signal that was sent by those who keep this record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Sent {
    /// Its number.
    pub signal: i32,
    /// Who wanted it.
    pub by: String,
    /// What for.
    pub why: String,
    /// The process that sent it: who is told of the sender is told of this one.
    pub through: Option<OsPid>,
}

/// What the kernel tells a handler of a signal: sigaction(2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SignalInfo {
    /// Its number.
    pub signal: i32,
    /// `si_code`: where it comes from, or what was wrong.
    pub code: i32,
    /// The process that sent it, where one did.
    pub sender: Option<OsPid>,
    /// That is the process itself, one of its threads, or the kernel in its name.
    pub from_itself: bool,
    /// The user that this process was of.
    pub user: Option<u32>,
    /// The address that was touched, where that was wrong.
    pub address: Option<u64>,
    /// The system call that was forbidden.
    pub call: Option<u32>,
    /// The thread that it came to, by its name.
    pub thread: String,
    /// That is the main thread.
    pub on_main_thread: bool,
    /// The address lies just below a stack: it has overflowed.
    pub stack_overflow: bool,
}

impl Sent {
    /// A signal that is about to be sent.
    pub fn new(signal: i32, by: String, why: String) -> Sent {
        Sent {
            signal,
            by,
            why,
            through: None,
        }
    }
}

impl EarlierPanic {
    /// A panic of which nothing else is known.
    pub fn new(number: u64, message: String) -> EarlierPanic {
        EarlierPanic {
            number,
            message,
            location: None,
            thread: None,
        }
    }
}

impl SignalInfo {
    /// A signal of which nothing else is known.
    pub fn new(signal: i32, code: i32, thread: String) -> SignalInfo {
        SignalInfo {
            signal,
            code,
            sender: None,
            from_itself: false,
            user: None,
            address: None,
            call: None,
            thread,
            on_main_thread: false,
            stack_overflow: false,
        }
    }
}

/// In few words.
impl Evidence {
    /// What the kernel's counters say of one that SIGKILL ended and that the log does not name: how many more were killed for want
    /// of memory, in the control group that it was in to the end, and on the whole machine; `None` for what is not known.
    ///
    /// A kill is counted in the group of whoever is killed, also where it was the machine that was short of memory, and before
    /// the signal is sent (mm/oom_kill.c, `__oom_kill_process`). So a group that has counted none excludes it, however many there were
    /// elsewhere.
    pub fn of_oom_kills(in_its_group: Option<u64>, anywhere: Option<u64>) -> Option<Evidence> {
        match (in_its_group, anywhere) {
            (Some(count @ 1..), _) => Some(Evidence::OomKills {
                in_cgroup: true,
                count,
            }),
            (None, Some(count @ 1..)) => Some(Evidence::OomKills {
                in_cgroup: false,
                count,
            }),
            (Some(0), _) | (None, Some(0)) => Some(Evidence::NoOomKill),
            (None, None) => None,
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Sent(sent) => {
                let signal = Signal::new(sent.signal, false);
                write!(f, "{signal} sent by {}: {}", sent.by, sent.why)
            }
            Evidence::Told(info) => info.fmt(f),
            Evidence::HandlerSilent => f.write_str("its handler did not run"),
            Evidence::LoggedOomKill { kill, .. } => write!(f, "kernel log: {kill}"),
            Evidence::OomKills {
                in_cgroup: true,
                count,
            } => write!(f, "{count} killed for want of memory in its control group"),
            Evidence::OomKills {
                in_cgroup: false,
                count,
            } => write!(f, "{count} killed for want of memory on this machine"),
            Evidence::NoOomKill => f.write_str("nobody was killed for want of memory"),
            Evidence::Memory { limit, peak } => {
                write!(f, "its control group had {peak} of {limit} bytes")
            }
            Evidence::CpuLimit { hard, used, .. } => {
                write!(f, "used {used:?} of {hard:?} of processor time")
            }
            Evidence::LeftBehind { os_pid, name } => {
                write!(f, "it left process {os_pid} ({name}) behind")
            }
            Evidence::Unread { messages: 1 } => f.write_str("it had not received a message"),
            Evidence::Unread { messages } => write!(f, "it had not received {messages} messages"),
            Evidence::Executed { exe } => write!(f, "it had become {exe}"),
            Evidence::PanickedBefore { count, last } => {
                let times = if *count == 1 { "panic" } else { "panics" };
                write!(f, "{count} {times} before")?;
                match last.last() {
                    Some(panic) => write!(f, ", the last: {panic}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for EarlierPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        match &self.thread {
            Some(thread) => write!(f, " on thread {thread}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for SignalInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal = Signal::new(self.signal, false);
        write!(f, "{signal} with code {}", self.code)?;
        if let Some(sender) = self.sender {
            write!(f, " from process {sender}")?;
        }
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        if let Some(call) = self.call {
            write!(f, " for system call {call}")?;
        }
        if self.on_main_thread {
            Ok(())
        } else {
            write!(f, " on thread {:?}", self.thread)
        }
    }
}
