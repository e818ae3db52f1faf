//! How a process is to be started, where that differs from the ordinary: what it does itself, and what the coordinator sees to.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use occ_inbox::Pid;
use occ_sck::MAX_NAME;
use occ_spawn::{Arguments, Function, Limit, Options, Outcome, Stdio};

use crate::addr::Addr;
use crate::containment::Containment;
use crate::current::{self, Absent};
use crate::down::MonitorRef;
use crate::error::SpawnError;
use crate::process::Process;
use crate::protocol::Care;
use crate::start::AfterInbox;

/// How a process is to be started, where that differs from the ordinary.
///
/// It serves as often as it is used, for functions and executables alike. [`Builder::spawn`] and its like act on the process that
/// the calling thread is; [`Process::spawn_with`] and its like take a builder.
///
/// ```
/// use occ_core::{Builder, Down, ExitReason, System};
///
/// let mut system = System::start()?;
/// let me = system.process();
/// let builder = Builder::new().label("lister").cwd("/proc").args(["-c", "test -d self || exit 9"]);
/// let (pid, _) = me.spawn_exe_monitor(&builder, "sh")?;
/// let down: Down = me.receive()?;
/// assert_eq!(down.pid, pid);
/// assert!(matches!(down.reason, ExitReason::Code(0)));
/// assert!(down.report.to_string().starts_with("lister "));
/// system.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    options: Options,
    captures: bool,
    care: Care,
    /// What was asked for as a number of processors, and is none.
    no_processors: Option<f64>,
}

macro_rules! passed_on {
    ($($(#[$doc:meta])* $name:ident($($param:ident: $type:ty),*);)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $($param: $type),*) -> Builder {
                self.options = self.options.$name($($param),*);
                self
            }
        )*
    };
}

impl Builder {
    passed_on! {
        /// What people shall call it: in reports, and, as far as 15 bytes go, in ps(1) and top(1).
        label(label: impl Into<String>);
        /// One more argument. Only an executable has these; a function has its own.
        arg(arg: impl AsRef<OsStr>);
        /// More arguments, as [`Builder::arg`].
        args(args: impl IntoIterator<Item = impl AsRef<OsStr>>);
        /// Sets a variable of its environment, which else is that of whoever started the system.
        env(name: impl AsRef<OsStr>, value: impl AsRef<OsStr>);
        /// Removes a variable from its environment.
        env_remove(name: impl AsRef<OsStr>);
        /// Its environment has only what [`Builder::env`] sets from here on.
        env_clear();
        /// Its working directory. A relative one is meant from that of whoever started the system.
        cwd(dir: impl AsRef<Path>);
        /// Its standard input: ordinarily [`Stdio::Null`].
        stdin(from: impl Into<Stdio>);
        /// Its standard output: ordinarily [`Stdio::Inherit`].
        stdout(to: impl Into<Stdio>);
        /// Gives it a descriptor under this number. A function has its own at 3, and cannot be given another there. More than 245, those
        /// for the standard streams included, are an error of the spawn: [`SpawnError::TooManyFds`].
        fd(number: RawFd, fd: impl Into<OwnedFd>);
        /// Limits what it, and what it starts in turn, may use: the soft limit, which it may raise itself, and the hard one; `None`
        /// is no limit.
        rlimit(limit: Limit, soft: Option<u64>, hard: Option<u64>);
        /// How nice it is: added to the nice value of whoever started the system (nice(2)).
        nice(increment: i32);
        /// Runs it as this user. Its group stays, unless [`Builder::group`] changes it, and it has no supplementary groups then but those of [`Builder::groups`].
        ///
        /// The memory of a function was another user's before. So the kernel hides it from its new user, and from itself what lies in
        /// /proc/self, until it allows that (`PR_SET_DUMPABLE`, prctl(2)).
        user(user: u32);
        /// Runs it with this group.
        group(group: u32);
        /// Runs it with these supplementary groups.
        groups(groups: impl IntoIterator<Item = u32>);
        /// Neither it nor what it starts gains privileges by executing a program, set-user-ID or otherwise.
        no_new_privs();
        /// Whether it is in the process group of whoever started the system, which is the foreground of a terminal if that is:
        /// it can read from the terminal then, and ctrl-c reaches it. Ordinarily a function is, and an executable has a process group of
        /// its own.
        foreground(foreground: bool);
    }

    /// The ordinary.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Its standard error: ordinarily [`Stdio::Inherit`].
    #[must_use]
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Builder {
        self.captures = false;
        self.options = self.options.stderr(to);
        self
    }

    /// What it writes to standard error is read as it comes, and the last 4 KiB are in its
    /// [report](crate::ExitReport::stderr). It costs the coordinator one descriptor more.
    #[must_use]
    pub fn capture_stderr(mut self) -> Builder {
        self.captures = true;
        self.options = self.options.stderr_added();
        self
    }

    /// How what it forks and executes is ended with it: ordinarily [`Containment::Sweep`].
    ///
    /// [`Containment::ProcessGroup`] makes a function the leader of a process group of its own, as every executable is
    /// ordinarily.
    #[must_use]
    pub fn containment(mut self, containment: Containment) -> Builder {
        self.care.containment = containment;
        self
    }

    /// Most bytes of memory that it may have, with all that it starts. The kernel kills it, or one of those, when there is no more to be
    /// had; and its report says so.
    ///
    /// It takes a control group that this user may make: else the spawn is [`SpawnError::Unsupported`], and [`Fallback::here`](crate::Fallback::here) has said so
    /// before.
    #[must_use]
    #[doc(alias = "memory.max")]
    pub fn memory_max(mut self, bytes: u64) -> Builder {
        self.care.memory = Some(bytes);
        self
    }

    /// Most of the processors that it may have, with all that it starts: 0.5 is half of one, 2.0 are two. Less than a thousandth, or
    /// infinity, is an error of the spawn that says so: [`SpawnError::Unsupported`].
    ///
    /// It takes a control group that this user may make: else the spawn is the same error, with that reason, and [`Fallback::here`](crate::Fallback::here) has
    /// said so before.
    #[must_use]
    #[doc(alias = "cpu.max")]
    pub fn cpu_max(mut self, processors: f64) -> Builder {
        let is_some = processors >= 0.001 && processors.is_finite();
        let thousandths = (processors * 1000.0).min(f64::from(u32::MAX));
        self.care.cpu = is_some.then_some(thousandths as u32);
        self.no_processors = (!is_some).then_some(processors);
        self
    }

    /// How long it may take to end, once it has been asked to by SIGTERM, before it is ended by SIGKILL: when
    /// [`Process::terminate`] is called, and when the system stops. Ordinarily it is not asked.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Builder {
        self.care.grace = grace;
        self
    }

    /// Runs `function` with `args` in a new process of the calling thread's system.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_with`].
    pub fn spawn<F, A, AnyhowResultOrValue>(&self, function: F, args: A) -> Result<Pid, SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        here(|process| process.spawn_with(self, function, args))
    }

    /// As [`Builder::spawn`], with a monitor from before the first line of the function.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_monitor_with`].
    pub fn spawn_monitor<F, A, AnyhowResultOrValue>(
        &self,
        function: F,
        args: A,
    ) -> Result<(Pid, MonitorRef), SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        here(|process| process.spawn_monitor_with(self, function, args))
    }

    /// Runs `function` in a new process of the calling thread's system, with an inbox of its messages before `args`.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_addr`].
    pub fn spawn_addr<F, A, M, AnyhowResultOrValue>(
        &self,
        function: F,
        args: A,
    ) -> Result<Addr<M>, SpawnError>
    where
        A: AfterInbox<M>,
        F: Function<A::WithInbox>,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        here(|process| process.spawn_addr(self, function, args))
    }

    /// As [`Builder::spawn_addr`], with a monitor from before the first line of the function.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_addr_monitor`].
    pub fn spawn_addr_monitor<F, A, M, AnyhowResultOrValue>(
        &self,
        function: F,
        args: A,
    ) -> Result<(Addr<M>, MonitorRef), SpawnError>
    where
        A: AfterInbox<M>,
        F: Function<A::WithInbox>,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        here(|process| process.spawn_addr_monitor(self, function, args))
    }

    /// Runs an executable as a process of the calling thread's system, with the arguments of this builder.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_exe`].
    pub fn spawn_exe(&self, program: impl AsRef<OsStr>) -> Result<Pid, SpawnError> {
        here(|process| process.spawn_exe(self, program))
    }

    /// As [`Builder::spawn_exe`], with a monitor from before it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_exe_monitor`].
    pub fn spawn_exe_monitor(
        &self,
        program: impl AsRef<OsStr>,
    ) -> Result<(Pid, MonitorRef), SpawnError> {
        here(|process| process.spawn_exe_monitor(self, program))
    }

    /// What the process does itself.
    pub(crate) fn options(&self) -> Result<Cow<'_, Options>, SpawnError> {
        if let Some(seen) = self.no_processors {
            return Err(SpawnError::Unsupported {
                what: "a limit on the processors".to_owned(),
                why: format!("expected 0.001 or more, and not infinity, and it is {seen}"),
            });
        }
        if self.care.containment != Containment::ProcessGroup {
            return Ok(Cow::Borrowed(&self.options));
        }
        if self.options.foreground_given() == Some(true) {
            return Err(SpawnError::Unsupported {
                what: "containment by process group".to_owned(),
                why: "it is to be in the foreground, which is the group of others".to_owned(),
            });
        }
        Ok(Cow::Owned(self.options.clone().foreground(false)))
    }

    pub(crate) fn care(&self, executes: bool) -> Care {
        let mut care = self.care.clone();
        // A request is one datagram, so nothing in it may be as long as it likes.
        let label = self.options.label_given();
        care.label = label.map(|label| label[..label.floor_char_boundary(MAX_NAME)].to_owned());
        care.executes = executes;
        care.stderr_at = self.captures.then(|| self.options.stderr_at() as u32);
        care
    }
}

fn here<R>(act: impl FnOnce(&mut Process) -> Result<R, SpawnError>) -> Result<R, SpawnError> {
    current::with(act).map_err(|absent| match absent {
        Absent::NotStarted => SpawnError::NotStarted,
        Absent::Reentrant => SpawnError::Reentrant,
    })?
}
