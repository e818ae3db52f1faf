//! Options as they travel to the new process.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use super::limit::Limit;

/// What the new process is to do with itself before anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) label: Option<String>,
    /// Execute this.
    pub(crate) program: Option<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) env_clear: bool,
    /// Names, and their values; without one, the name is removed.
    pub(crate) env: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(crate) cwd: Option<Vec<u8>>,
    pub(crate) stdio: [Source; 3],
    /// Under which numbers the descriptors that come along are put, after those for `stdio`.
    pub(crate) fds: Vec<RawFd>,
    pub(crate) limits: Vec<(Limit, Option<u64>, Option<u64>)>,
    pub(crate) nice: Option<i32>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) no_new_privs: bool,
    pub(crate) own_group: Option<bool>,
}

impl Plan {
    pub(crate) fn stdin_is_inherited(&self) -> bool {
        self.stdio[0] == Source::Inherit
    }

    /// The highest number of a descriptor that is wanted.
    pub(crate) fn highest(&self) -> RawFd {
        self.fds.iter().copied().max().unwrap_or(0)
    }
}

/// Where a standard descriptor comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// As it is without options.
    #[default]
    Ordinary,
    Inherit,
    Null,
    /// One of those that come along.
    Given,
}

/// What a new process does before its function or its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Reading its orders.
    Orders,
    /// Joining a control group.
    ControlGroup,
    /// Putting its descriptors in place.
    Descriptors,
    /// Setting a limit.
    Limit,
    /// Setting its nice value.
    Nice,
    /// Making a process group.
    ProcessGroup,
    /// Changing its groups.
    Group,
    /// Changing its user.
    User,
    /// Tying its life to its parent's again, after the change of user.
    Arm,
    /// Giving up privileges to be gained.
    NoNewPrivileges,
    /// Changing its working directory.
    WorkingDirectory,
    /// Changing its environment.
    Environment,
    /// Executing the program.
    Execute,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Orders => "read its orders",
            Step::ControlGroup => "join its control group",
            Step::Descriptors => "put its descriptors in place",
            Step::Limit => "set the limit",
            Step::Nice => "set its nice value",
            Step::ProcessGroup => "make a process group",
            Step::Group => "change its group",
            Step::User => "change its user",
            Step::Arm => "tie its life to its parent's after the change of user",
            Step::NoNewPrivileges => "give up privileges to be gained",
            Step::WorkingDirectory => "change to its working directory",
            Step::Environment => "set in its environment",
            Step::Execute => "execute",
        })
    }
}

/// Why a new process could not begin: it ended itself before its function or program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotBegun {
    /// What it could not do.
    pub step: Step,
    /// With what: a path, a number, a name.
    pub what: String,
    /// What the kernel said.
    pub errno: i32,
}

impl NotBegun {
    pub(crate) fn new(step: Step, what: impl Into<String>, error: &io::Error) -> NotBegun {
        NotBegun {
            step,
            what: what.into(),
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        }
    }

    /// What the kernel said.
    pub fn source(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }
}
