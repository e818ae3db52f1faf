//! How a process is to be started, where that differs from the ordinary.
//!
//! - `plan`: as it travels to the new process.
//! - `stdio`, `limit`: what some of the options are made of.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use occ_sck::MAX_FDS;

pub(crate) mod limit;
pub(crate) mod plan;
pub(crate) mod stdio;

pub use limit::Limit;
pub use plan::{NotBegun, Step};
pub use stdio::Stdio;

use plan::{Plan, Source};

/// How a process is to be started, where that differs from the ordinary.
///
/// The same options can serve many processes, functions and executables alike.
///
/// ```
/// use occ_spawn::{ExitReason, Options, Spawner};
///
/// fn where_am_i() -> anyhow::Result<String> {
///     Ok(std::env::current_dir()?.display().to_string())
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// let options = Options::new().cwd("/");
/// let mut child = Spawner::new()?.spawn_with(&options, where_am_i, ())?;
/// let ExitReason::Value(dir) = child.wait()?.reason else { panic!("it has no value") };
/// assert_eq!(dir.get::<String>()?, "/");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Options {
    plan: Plan,
    /// What is given as standard input, output and error.
    given: [Option<Arc<OwnedFd>>; 3],
    /// What is given besides.
    extra: Vec<Arc<OwnedFd>>,
}

/// Most descriptors that a process can be given, those of its standard streams and those in its arguments included: as many as the kernel takes in one message, less
/// eight for what else goes with them (its control socket, a socket or a memory file for its function, the pipe of a standard error
/// that is kept, the control groups that it joins).
pub const MAX_GIVEN: usize = MAX_FDS - 8;

/// Options as they are sent: bytes, and the descriptors that belong to them.
#[derive(Debug)]
pub struct Parcel<'a> {
    /// What the new process reads: [`Request::plan`](crate::zygote::Request::plan) of them stand before its arguments.
    pub bytes: Vec<u8>,
    /// What comes along.
    pub fds: Vec<BorrowedFd<'a>>,
}

impl Options {
    /// The ordinary.
    pub fn new() -> Options {
        Options::default()
    }

    /// What people shall call it: in reports, and, as far as 15 bytes go, in ps(1) and top(1).
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Options {
        self.plan.label = Some(label.into());
        self
    }

    /// One more argument. Only an executable has these; a function has its own.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Options {
        self.plan.args.push(arg.as_ref().as_bytes().to_vec());
        self
    }

    /// More arguments, as [`Options::arg`].
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Options {
        args.into_iter().fold(self, Options::arg)
    }

    /// Sets a variable of its environment, which else is that of whoever started the system.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Options {
        let value = Some(value.as_ref().as_bytes().to_vec());
        self.plan
            .env
            .push((name.as_ref().as_bytes().to_vec(), value));
        self
    }

    /// Removes a variable from its environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Options {
        self.plan
            .env
            .push((name.as_ref().as_bytes().to_vec(), None));
        self
    }

    /// Its environment has only what [`Options::env`] sets from here on.
    #[must_use]
    pub fn env_clear(mut self) -> Options {
        self.plan.env.clear();
        self.plan.env_clear = true;
        self
    }

    /// Its working directory. A relative one is meant from that of whoever started the system.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Options {
        self.plan.cwd = Some(dir.as_ref().as_os_str().as_bytes().to_vec());
        self
    }

    /// Its standard input: ordinarily [`Stdio::Null`].
    #[must_use]
    pub fn stdin(self, from: impl Into<Stdio>) -> Options {
        self.stdio(0, from.into())
    }

    /// Its standard output: ordinarily [`Stdio::Inherit`].
    #[must_use]
    pub fn stdout(self, to: impl Into<Stdio>) -> Options {
        self.stdio(1, to.into())
    }

    /// Its standard error: ordinarily [`Stdio::Inherit`].
    #[must_use]
    pub fn stderr(self, to: impl Into<Stdio>) -> Options {
        self.stdio(2, to.into())
    }

    fn stdio(mut self, number: usize, stdio: Stdio) -> Options {
        self.given[number] = None;
        self.plan.stdio[number] = match stdio {
            Stdio::Inherit => Source::Inherit,
            Stdio::Null => Source::Null,
            Stdio::Fd(fd) => {
                self.given[number] = Some(Arc::new(fd));
                Source::Given
            }
        };
        self
    }

    /// Gives it a descriptor under this number. A function has its own at 3, and cannot be given another there.
    #[must_use]
    pub fn fd(mut self, number: RawFd, fd: impl Into<OwnedFd>) -> Options {
        self.plan.fds.push(number);
        self.extra.push(Arc::new(fd.into()));
        self
    }

    /// Limits what it, and what it starts in turn, may use: the soft limit, which it may raise itself, and the hard one; `None`
    /// is no limit.
    #[must_use]
    #[doc(alias = "setrlimit")]
    pub fn rlimit(mut self, limit: Limit, soft: Option<u64>, hard: Option<u64>) -> Options {
        self.plan.limits.push((limit, soft, hard));
        self
    }

    /// How nice it is: added to the nice value of whoever started the system (nice(2)).
    #[must_use]
    pub fn nice(mut self, increment: i32) -> Options {
        self.plan.nice = Some(increment);
        self
    }

    /// Runs it as this user. Its group stays, unless [`Options::group`] changes it, and it has no supplementary groups then but those of [`Options::groups`].
    ///
    /// The memory of a function was another user's before. So the kernel hides it from its new user, and from itself what lies in
    /// /proc/self, until it allows that (`PR_SET_DUMPABLE`, prctl(2)).
    #[must_use]
    #[doc(alias = "setuid")]
    pub fn user(mut self, user: u32) -> Options {
        self.plan.user = Some(user);
        self
    }

    /// Runs it with this group.
    #[must_use]
    #[doc(alias = "setgid")]
    pub fn group(mut self, group: u32) -> Options {
        self.plan.group = Some(group);
        self
    }

    /// Runs it with these supplementary groups.
    #[must_use]
    #[doc(alias = "setgroups")]
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Options {
        self.plan.groups = Some(groups.into_iter().collect());
        self
    }

    /// Neither it nor what it starts gains privileges by executing a program, set-user-ID or otherwise.
    #[must_use]
    #[doc(alias = "PR_SET_NO_NEW_PRIVS")]
    pub fn no_new_privs(mut self) -> Options {
        self.plan.no_new_privs = true;
        self
    }

    /// Whether it is in the process group of whoever started the system, which is the foreground of a terminal if that is:
    /// it can read from the terminal then, and ctrl-c reaches it. Ordinarily a function is, and an executable has a process group of
    /// its own.
    #[must_use]
    pub fn foreground(mut self, foreground: bool) -> Options {
        self.plan.own_group = Some(!foreground);
        self
    }

    /// Its standard error is a descriptor that whoever passes the options on puts among those of the [`Parcel`], at
    /// [`Options::stderr_at`].
    #[must_use]
    pub fn stderr_added(mut self) -> Options {
        self.given[2] = None;
        self.plan.stdio[2] = Source::Given;
        self
    }

    /// Before how many of the descriptors of the [`Parcel`] one for standard error has its place.
    pub fn stderr_at(&self) -> usize {
        self.given[..2].iter().flatten().count()
    }

    /// Whether [`Options::foreground`] was asked for, or that it should not be; `None` if neither.
    pub fn foreground_given(&self) -> Option<bool> {
        self.plan.own_group.map(|own| !own)
    }

    /// Its label, if it has one.
    pub fn label_given(&self) -> Option<&str> {
        self.plan.label.as_deref()
    }

    /// What is to be sent for a function.
    ///
    /// # Errors
    ///
    /// None that is known: all of it has bytes.
    pub fn for_function(&self) -> Result<Parcel<'_>, occ_sck::EncodeError> {
        if self.plan == Plan::default() {
            return Ok(Parcel {
                bytes: Vec::new(),
                fds: Vec::new(),
            });
        }
        self.parcel(&self.plan)
    }

    /// What is to be sent for an executable.
    ///
    /// # Errors
    ///
    /// As [`Options::for_function`].
    pub fn for_executable(&self, program: &OsStr) -> Result<Parcel<'_>, occ_sck::EncodeError> {
        let mut plan = self.plan.clone();
        plan.program = Some(program.as_bytes().to_vec());
        self.parcel(&plan)
    }

    fn parcel(&self, plan: &Plan) -> Result<Parcel<'_>, occ_sck::EncodeError> {
        let mut bytes = Vec::new();
        occ_sck::encode_into(plan, &mut bytes)?;
        let given = self.given.iter().flatten().chain(&self.extra);
        Ok(Parcel {
            bytes,
            fds: given.map(|fd| fd.as_fd()).collect(),
        })
    }
}

/// What an executable is called, where it has no label.
pub fn name_of(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    OsString::from_vec(name.as_bytes().to_vec())
        .to_string_lossy()
        .into_owned()
}
