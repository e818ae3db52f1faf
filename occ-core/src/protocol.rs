//! What a process and the coordinator say to each other, over the process's control socket.
//!
//! Every message is one datagram; what is longer travels in a memory file. A request with an `id` is answered by
//! one reply with that id. [`News`] come unasked.

use occ_inbox::{Pid, Refusal, Standing};
pub use occ_proc::Moment;
use occ_proc::{Evidence, Usage};
use occ_sck::{Body, Bytes, Envelope, Packet, TypeKey};
use occ_spawn::{NotBegun, OsPid, OsStatus, Tail};
use serde::{Deserialize, Serialize};

mod wanted;

pub use wanted::{Care, Wanted};

/// The kinds of frame between a process and the coordinator.
pub(crate) mod kind {
    use occ_sck::kind::SYSTEM;

    pub(crate) const REQUEST: u8 = SYSTEM;
    pub(crate) const REPLY: u8 = SYSTEM + 1;
    pub(crate) const NEWS: u8 = SYSTEM + 2;
    /// On the host's second socket: the coordinator is ready.
    pub(crate) const READY: u8 = SYSTEM + 3;
    /// On the host's second socket: it cannot start.
    pub(crate) const NOT_READY: u8 = SYSTEM + 4;
    /// On the host's second socket: a process that nobody watched has ended abnormally. Its report, if
    /// it is long, stands before it.
    pub(crate) const ABNORMAL: u8 = SYSTEM + 5;
}

/// What a process asks for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// A new process.
    Spawn {
        /// Names the reply.
        id: u64,
        /// Monitor it from before its first line, under this number.
        monitor: Option<u64>,
        /// What it is to be.
        wanted: Box<Wanted>,
    },
    /// Tell me when `target` ends.
    Monitor {
        /// What the asker calls it.
        number: u64,
        /// Whose end.
        target: Pid,
    },
    /// Do not tell me any more.
    Demonitor {
        /// Names the reply.
        id: u64,
        /// What the asker calls it.
        number: u64,
    },
    /// A connection.
    Connect {
        /// Names the wish, in [`News::Given`].
        id: u64,
        /// With whom.
        to: Pid,
        /// What the asker knows of it.
        standing: Standing,
    },
    /// All processes there are.
    Processes {
        /// Names the reply.
        id: u64,
    },
    /// The OS pid of a process.
    OsPid {
        /// Names the reply.
        id: u64,
        /// Of which.
        pid: Pid,
    },
    /// Ask a process to end, with SIGTERM, and end it with SIGKILL when its grace period is over.
    Terminate {
        /// Names the reply.
        id: u64,
        /// Which.
        pid: Pid,
    },
    /// End a process with SIGKILL.
    Kill {
        /// Names the reply.
        id: u64,
        /// Which.
        pid: Pid,
    },
}

impl Request {
    /// The number of the reply to it; `None` where news are the answer.
    pub(crate) fn replied_as(&self) -> Option<u64> {
        match self {
            Request::Spawn { id, .. }
            | Request::Demonitor { id, .. }
            | Request::Processes { id }
            | Request::OsPid { id, .. }
            | Request::Terminate { id, .. }
            | Request::Kill { id, .. } => Some(*id),
            Request::Monitor { .. } | Request::Connect { .. } => None,
        }
    }
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The process exists.
    Spawned {
        /// Of the request.
        id: u64,
        /// Its name.
        pid: Pid,
    },
    /// It does not, and never will.
    NotSpawned {
        /// Of the request.
        id: u64,
        /// Why.
        why: NotSpawned,
    },
    /// What was asked has been done.
    Done {
        /// Of the request.
        id: u64,
    },
    /// There is no such process.
    NoProcess {
        /// Of the request.
        id: u64,
    },
    /// The process is the host, which is not the system's to kill.
    IsHost {
        /// Of the request.
        id: u64,
    },
    /// All processes.
    Processes {
        /// Of the request.
        id: u64,
        /// In the order in which they were spawned.
        list: Vec<ProcessInfo>,
    },
    /// An OS pid.
    OsPid {
        /// Of the request.
        id: u64,
        /// The number.
        os_pid: OsPid,
    },
    /// The answer could not be handed over.
    Failed {
        /// Of the request.
        id: u64,
        /// The call that failed.
        op: String,
        /// What the kernel said.
        errno: i32,
    },
    /// A request came with a file descriptor that could not be taken, and nothing of it can be read.
    Unread,
}

impl Reply {
    /// The request that this answers; `None` if the coordinator does not know.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Reply::Spawned { id, .. }
            | Reply::NotSpawned { id, .. }
            | Reply::Done { id }
            | Reply::NoProcess { id }
            | Reply::IsHost { id }
            | Reply::Processes { id, .. }
            | Reply::OsPid { id, .. }
            | Reply::Failed { id, .. } => Some(*id),
            Reply::Unread => None,
        }
    }
}

/// Why a process was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotSpawned {
    /// The coordinator has no file descriptor for another.
    TooMany {
        /// How many there may be.
        limit: u64,
    },
    /// The kernel refused to fork.
    Fork {
        /// What it said.
        errno: i32,
    },
    /// The zygote died with the request.
    ZygoteDied,
    /// There is no zygote, and none can be made.
    NoZygote {
        /// Why not.
        why: String,
    },
    /// It was made, and could not do what its options say.
    NotBegun(NotBegun),
    /// What it is to have cannot be had on this machine, or by this user.
    Unsupported {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// A system call of the coordinator failed.
    Io {
        /// The call.
        op: String,
        /// What the kernel said.
        errno: i32,
    },
    /// The system is about to end.
    Stopping,
}

/// What a process is told when it is made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Me {
    /// Its name.
    pub(crate) pid: Pid,
    /// Where the messages to it are counted.
    pub(crate) tally: Option<u32>,
}

/// What a process is told unasked.
#[derive(Debug, Serialize, Deserialize)]
pub enum News {
    /// Who it is: the first thing that the host is told. A process knows. With it comes the memory in which messages are counted,
    /// as a file descriptor, if there is any.
    You {
        /// Its name.
        pid: Pid,
    },
    /// Here is a connection. It comes with the news, as a file descriptor.
    Connected {
        /// With whom.
        peer: Pid,
        /// Where what is sent to it is counted.
        tally: Option<u32>,
    },
    /// A connection was asked for that was given before: whoever has not seen the news of it could not take
    /// it.
    Given {
        /// Which wish this answers.
        id: u64,
        /// With whom.
        peer: Pid,
    },
    /// There will be no connection.
    Refused {
        /// With whom.
        peer: Pid,
        /// Why.
        why: Refusal,
    },
    /// A process that it was connected with has died.
    Gone {
        /// Which.
        peer: Pid,
    },
    /// A process that it monitored has ended. Its report, if it left one, comes before or with it.
    Down(Ended, Option<ShortReport>),
}

/// An abnormal end that nobody watched.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Abnormal {
    pub(crate) ended: Ended,
    /// As many before it were not told.
    pub(crate) missed: u64,
    pub(crate) report: Option<ShortReport>,
    /// Its report has come before, for it and for no other.
    pub(crate) report_before: bool,
}

/// A report that is not worth a message of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortReport {
    /// What it is.
    pub kind: u8,
    /// The key of its type.
    pub key: [u8; 16],
    /// The name of its type.
    pub name: String,
    /// What it says.
    pub bytes: Bytes,
}

impl ShortReport {
    /// Most bytes of one.
    const MOST: usize = 4096;

    /// A report, if it is short and has no descriptors.
    pub(crate) fn of(report: &Envelope) -> Option<ShortReport> {
        match &report.body {
            Body::Inline { bytes, at }
                if bytes.len() <= ShortReport::MOST && report.fds.is_empty() =>
            {
                Some(ShortReport {
                    kind: report.kind,
                    key: report.key.to_bytes(),
                    name: report.type_name().to_owned(),
                    bytes: Bytes(bytes[*at..].to_vec()),
                })
            }
            _ => None,
        }
    }
}

impl From<ShortReport> for Envelope {
    fn from(report: ShortReport) -> Envelope {
        let key = TypeKey::from_bytes(report.key);
        Packet::raw(report.kind, key, &report.name, &report.bytes).into_envelope()
    }
}

/// The end of a process, as it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// What the watcher calls its monitor; 0 where nobody watched.
    pub number: u64,
    /// Who ended.
    pub pid: Pid,
    /// The function that it ran, or the program.
    pub name: String,
    /// What people call it.
    pub label: Option<String>,
    /// What is known; nothing if there was no such process.
    pub facts: Option<Box<Facts>>,
    /// A report stands before this.
    pub reported: bool,
}

/// What the kernel and the clock say of a process that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its OS pid.
    pub os_pid: OsPid,
    /// When it began.
    pub started: Moment,
    /// How it ended.
    pub end: End,
}

/// How a process ended, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The kernel's answer.
    pub status: OsStatus,
    /// What it had used.
    pub usage: Usage,
    /// What else is known of how it came to its end.
    pub evidence: Vec<Evidence>,
    /// The last that it wrote to standard error, where that was kept.
    pub stderr: Option<Tail>,
    /// When this was noticed.
    pub at: Moment,
}

/// A process of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Its name.
    pub pid: Pid,
    /// What the kernel calls it; `None` while it is being made.
    pub os_pid: Option<OsPid>,
    /// The function that it runs, or the program.
    pub function: String,
    /// What people call it, if it was given a label.
    pub label: Option<String>,
}
