//! Making processes.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_inbox::{Lost, Pid};
use occ_sck::{Blob, Bytes, MAX_NAME};
use occ_spawn::options::{MAX_GIVEN, name_of};
use occ_spawn::zygote::Args;
use occ_spawn::{Arguments, Function, Outcome};

use super::Process;
use crate::addr::Addr;
use crate::builder::Builder;
use crate::control::Unasked;
use crate::down::MonitorRef;
use crate::error::SpawnError;
use crate::protocol::{Care, Reply, Request, Wanted};
use crate::start::{AfterInbox, Entry};

/// What is to be run.
struct Launch<'a> {
    function: u64,
    name: &'a str,
    /// So many bytes before the arguments are options.
    plan: u64,
    /// And the descriptors in them.
    args: (Args, Vec<OwnedFd>),
    /// What belongs to the options.
    fds: Vec<BorrowedFd<'a>>,
    care: Care,
    keep_stdin: bool,
}

impl From<Unasked> for SpawnError {
    fn from(error: Unasked) -> SpawnError {
        match error {
            Unasked::Lost => SpawnError::SystemDown,
            Unasked::Io { op, source } => SpawnError::Io {
                op: op.to_owned(),
                source,
            },
        }
    }
}

impl Process {
    /// Runs `function` with `args` in a new process. When this returns the process exists, and what is
    /// sent to it arrives.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`].
    pub fn spawn<F, A, AnyhowResultOrValue>(
        &mut self,
        function: F,
        args: A,
    ) -> Result<Pid, SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        self.spawn_with(&Builder::new(), function, args)
    }

    /// As [`Process::spawn`], with a monitor from before the first line of the function.
    ///
    /// # Errors
    ///
    /// No process was made, and there will be no Down: see [`SpawnError`].
    pub fn spawn_monitor<F, A, AnyhowResultOrValue>(
        &mut self,
        function: F,
        args: A,
    ) -> Result<(Pid, MonitorRef), SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        self.spawn_monitor_with(&Builder::new(), function, args)
    }

    /// As [`Process::spawn`], of this making.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`]. [`SpawnError::NotBegun`] and [`SpawnError::Unsupported`] say which of
    /// the options could not be had.
    pub fn spawn_with<F, A, AnyhowResultOrValue>(
        &mut self,
        builder: &Builder,
        function: F,
        args: A,
    ) -> Result<Pid, SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        self.launch_function(builder, Entry::of(&function), &args, (None, false))
    }

    /// As [`Process::spawn_with`], with a monitor from before the first line of the function.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_with`], and there will be no Down.
    pub fn spawn_monitor_with<F, A, AnyhowResultOrValue>(
        &mut self,
        builder: &Builder,
        function: F,
        args: A,
    ) -> Result<(Pid, MonitorRef), SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        let monitor = self.next_monitor()?;
        let watched = (Some(monitor), false);
        let pid = self.launch_function(builder, Entry::of(&function), &args, watched)?;
        Ok((pid, monitor))
    }

    /// Runs `function` in a new process, with an inbox of its messages before `args`, and gives an address to which just those
    /// messages can be sent.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`].
    pub fn spawn_addr<F, A, M, AnyhowResultOrValue>(
        &mut self,
        builder: &Builder,
        function: F,
        args: A,
    ) -> Result<Addr<M>, SpawnError>
    where
        A: AfterInbox<M>,
        F: Function<A::WithInbox>,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        let entry = Entry::with_inbox::<F, A, M, AnyhowResultOrValue>(&function);
        let pid = self.launch_function(builder, entry, &args, (None, false))?;
        Ok(Addr::new(pid))
    }

    /// As [`Process::spawn_addr`], with a monitor from before the first line of the function.
    ///
    /// # Errors
    ///
    /// No process was made, and there will be no Down: see [`SpawnError`].
    pub fn spawn_addr_monitor<F, A, M, AnyhowResultOrValue>(
        &mut self,
        builder: &Builder,
        function: F,
        args: A,
    ) -> Result<(Addr<M>, MonitorRef), SpawnError>
    where
        A: AfterInbox<M>,
        F: Function<A::WithInbox>,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        let monitor = self.next_monitor()?;
        let entry = Entry::with_inbox::<F, A, M, AnyhowResultOrValue>(&function);
        let watched = (Some(monitor), false);
        let pid = self.launch_function(builder, entry, &args, watched)?;
        Ok((Addr::new(pid), monitor))
    }

    /// Runs a function as process zero of a system.
    pub(crate) fn launch_first<A: Arguments>(
        &mut self,
        entry: Entry,
        args: &A,
    ) -> Result<(Pid, MonitorRef), SpawnError> {
        let monitor = self.next_monitor()?;
        let watched = (Some(monitor), true);
        let pid = self.launch_function(&Builder::new(), entry, args, watched)?;
        Ok((pid, monitor))
    }

    /// Runs an executable as a process, with the arguments of the builder. When this returns, it runs.
    ///
    /// It is searched for in the path that it is given itself if its name has no slash, and no shell runs what is no
    /// executable. It has the default action for every signal but those that whoever started the system had ignored, none of them
    /// blocked, and a process group of its own. It has no inbox: what is sent to it is refused with
    /// [`NoInbox`](crate::SendError::NoInbox). It ends with an [`ExitReason::Code`](crate::ExitReason::Code) or a signal.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_with`]: [`SpawnError::NotBegun`] with [`Step::Execute`](crate::Step::Execute) says why it cannot be
    /// executed.
    #[doc(alias = "execve")]
    pub fn spawn_exe(
        &mut self,
        builder: &Builder,
        program: impl AsRef<OsStr>,
    ) -> Result<Pid, SpawnError> {
        self.launch_program(builder, program.as_ref(), None)
    }

    /// As [`Process::spawn_exe`], with a monitor from before it runs.
    ///
    /// # Errors
    ///
    /// As [`Process::spawn_exe`], and there will be no Down.
    pub fn spawn_exe_monitor(
        &mut self,
        builder: &Builder,
        program: impl AsRef<OsStr>,
    ) -> Result<(Pid, MonitorRef), SpawnError> {
        let monitor = self.next_monitor()?;
        let pid = self.launch_program(builder, program.as_ref(), Some(monitor))?;
        Ok((pid, monitor))
    }

    fn launch_function<A: Arguments>(
        &mut self,
        builder: &Builder,
        entry: Entry,
        args: &A,
        (monitor, keep_stdin): (Option<MonitorRef>, bool),
    ) -> Result<Pid, SpawnError> {
        let options = builder.options()?;
        let mut parcel = options.for_function()?;
        let launch = Launch {
            function: entry.function,
            name: entry.name,
            plan: parcel.bytes.len() as u64,
            args: Args::encode(std::mem::take(&mut parcel.bytes), args)?,
            fds: parcel.fds,
            care: builder.care(false),
            keep_stdin,
        };
        self.launch(launch, monitor)
    }

    fn launch_program(
        &mut self,
        builder: &Builder,
        program: &OsStr,
        monitor: Option<MonitorRef>,
    ) -> Result<Pid, SpawnError> {
        let options = builder.options()?;
        let parcel = options.for_executable(program)?;
        let launch = Launch {
            function: 0,
            name: &name_of(program),
            plan: parcel.bytes.len() as u64,
            args: (Args::new(parcel.bytes)?, Vec::new()),
            fds: parcel.fds,
            care: builder.care(true),
            keep_stdin: false,
        };
        self.launch(launch, monitor)
    }

    fn launch(
        &mut self,
        launch: Launch<'_>,
        monitor: Option<MonitorRef>,
    ) -> Result<Pid, SpawnError> {
        if self.is_fork() {
            return Err(SpawnError::Forked);
        }
        let (args, with_args) = launch.args;
        // The coordinator could pass no more on.
        let (given, limit) = (launch.fds.len() + with_args.len(), MAX_GIVEN);
        if given > limit {
            return Err(SpawnError::TooManyFds { given, limit });
        }
        let (args, blob) = match args {
            Args::Inline(bytes) => (bytes, None),
            Args::Blob(blob) => (Vec::new(), Some(blob)),
        };
        let id = self.connector()?.id();
        // A request is one datagram, so nothing in it may be as long as it likes.
        let name = launch.name[..launch.name.floor_char_boundary(MAX_NAME)].to_owned();
        let request = Request::Spawn {
            id,
            monitor: monitor.map(|monitor| monitor.0),
            wanted: Box::new(Wanted {
                function: launch.function,
                name,
                args: Bytes(args),
                blob: blob.as_ref().map(Blob::len),
                plan: launch.plan,
                given: launch.fds.len() as u32,
                with_args: with_args.len() as u32,
                keep_stdin: launch.keep_stdin,
                care: launch.care,
            }),
        };
        let with_args = with_args.iter().map(AsFd::as_fd);
        let blob = blob.iter().map(Blob::as_fd);
        let fds: Vec<BorrowedFd<'_>> = blob.chain(launch.fds).chain(with_args).collect();
        self.put(&request, &fds)?;
        match self.reply(id).map_err(|Lost| SpawnError::SystemDown)? {
            Reply::Spawned { pid, .. } => Ok(pid),
            Reply::NotSpawned { why, .. } => Err(why.into()),
            Reply::Failed { op, errno, .. } => Err(SpawnError::Io {
                op,
                source: io::Error::from_raw_os_error(errno),
            }),
            _ => Err(SpawnError::SystemDown),
        }
    }
}
