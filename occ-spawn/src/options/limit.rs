//! What can be limited.

use rustix::process::Resource;
use serde::{Deserialize, Serialize};

/// A limit that the kernel enforces on a process (setrlimit(2)).
///
/// Two that it has not enforced for twenty years are missing: they tell who descends from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a core file.
    Core,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of data segment.
    Data,
    /// Bytes of the longest file that it may write.
    FileSize,
    /// Bytes locked in memory.
    LockedMemory,
    /// Bytes in POSIX message queues.
    MessageQueues,
    /// How far its nice value may be lowered: 20 minus the limit.
    Nice,
    /// The highest number of a file descriptor, and one.
    OpenFiles,
    /// Processes of its user.
    Processes,
    /// The highest real-time priority.
    RealTimePriority,
    /// Microseconds of processor time under real-time scheduling without a blocking system call.
    RealTime,
    /// Signals queued for its user.
    PendingSignals,
    /// Bytes of the main thread's stack.
    Stack,
}

impl Limit {
    pub(crate) fn resource(self) -> Resource {
        match self {
            Limit::AddressSpace => Resource::As,
            Limit::Core => Resource::Core,
            Limit::Cpu => Resource::Cpu,
            Limit::Data => Resource::Data,
            Limit::FileSize => Resource::Fsize,
            Limit::LockedMemory => Resource::Memlock,
            Limit::MessageQueues => Resource::Msgqueue,
            Limit::Nice => Resource::Nice,
            Limit::OpenFiles => Resource::Nofile,
            Limit::Processes => Resource::Nproc,
            Limit::RealTimePriority => Resource::Rtprio,
            Limit::RealTime => Resource::Rttime,
            Limit::PendingSignals => Resource::Sigpending,
            Limit::Stack => Resource::Stack,
        }
    }
}
