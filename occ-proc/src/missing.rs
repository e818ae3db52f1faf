//! What cannot be had, and why not.

use rustix::io::Errno;
use thiserror::Error;

/// Something that was asked for of a process: there, or missing for a reason.
pub type Field<T> = Result<T, Missing>;

/// Why something cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Missing {
    /// It belongs to somebody else.
    #[error("permission denied")]
    Denied,
    /// The process has ended, or has closed what was being looked at.
    #[error("gone")]
    Gone,
    /// The process is stuck, and whoever looks would be, too.
    #[error("timed out")]
    TimedOut,
    /// This kernel, or this place, does not tell.
    #[error("not supported here")]
    Unsupported,
    /// A system call failed, which says nothing of the process: this program may be out of descriptors.
    #[error("{}", std::io::Error::from_raw_os_error(*errno))]
    Failed {
        /// What the kernel said.
        errno: i32,
    },
}

impl Missing {
    /// What an error of a call about another process means.
    pub(crate) fn of(errno: Errno) -> Missing {
        match errno {
            Errno::ACCESS | Errno::PERM => Missing::Denied,
            Errno::NOENT | Errno::SRCH | Errno::BADF => Missing::Gone,
            Errno::NOSYS
            | Errno::OPNOTSUPP
            | Errno::PROTONOSUPPORT
            | Errno::AFNOSUPPORT
            | Errno::INVAL => Missing::Unsupported,
            other => Missing::Failed {
                errno: other.raw_os_error(),
            },
        }
    }
}
