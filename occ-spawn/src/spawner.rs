//! A zygote of one's own, and the processes that it makes.
//!
//! - [`runs`]: how a function is run there; [`beginning`]: from the request to the first word.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use occ_proc::OsPid;
use occ_sck::Socket;

use crate::child::Child;
use crate::error::SpawnError;
use crate::function::{Arguments, Function, Outcome, descriptor};
use crate::keeper::Keeper;
use crate::options::{self, MAX_GIVEN, Options};
use crate::sys;
use crate::watch::EndWatch;
use crate::zygote::{Args, Request, Zygote};

mod beginning;
mod runs;

use runs::{Plain, WithSocket};

/// Makes processes from functions.
///
/// It holds a thread and a zygote. The processes are children of that thread, and die with it: they live
/// no longer than the spawner and the [`Child`]ren it gave out. It can be used from many threads at once.
#[derive(Debug)]
pub struct Spawner {
    inner: Arc<Inner>,
}

/// What the spawner and its children hold together.
#[derive(Debug)]
pub(crate) struct Inner {
    zygote: Mutex<Current>,
    next: AtomicU64,
    keeper: Option<Keeper>,
    /// The program whose children the processes are; not a fork of it.
    owner: OsPid,
}

/// The zygote of the moment.
#[derive(Debug)]
struct Current {
    zygote: Option<Zygote>,
    /// How many there were before it.
    replaced: u64,
}

impl Spawner {
    /// Starts a zygote.
    ///
    /// # Errors
    ///
    /// The program's image cannot be started again, or SIGCHLD is ignored.
    pub fn new() -> Result<Spawner, SpawnError> {
        if sys::sigchld_is_ignored() {
            return Err(SpawnError::SigchldIgnored);
        }
        let keeper = Keeper::start()?;
        let zygote = Some(keeper.zygote()?);
        let inner = Inner {
            zygote: Mutex::new(Current {
                zygote,
                replaced: 0,
            }),
            next: AtomicU64::new(1),
            keeper: Some(keeper),
            owner: OsPid::own(),
        };
        Ok(Spawner {
            inner: Arc::new(inner),
        })
    }

    /// Runs `function` with `args` in a new process.
    ///
    /// When this returns the process exists and is about to run the function. Arguments and value may have file descriptors in
    /// them: [`Fd`](occ_sck::Fd).
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`].
    pub fn spawn<F, A, AnyhowResultOrValue>(
        &self,
        function: F,
        args: A,
    ) -> Result<Child, SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        self.spawn_with(&Options::default(), function, args)
    }

    /// As [`Spawner::spawn`], with options.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`]. [`SpawnError::NotBegun`] says which of the options could not be had.
    pub fn spawn_with<F, A, AnyhowResultOrValue>(
        &self,
        options: &Options,
        function: F,
        args: A,
    ) -> Result<Child, SpawnError>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        let entry = descriptor::<Plain<AnyhowResultOrValue>, F, A>(&function);
        let mut parcel = options.for_function()?;
        let plan = parcel.bytes.len() as u64;
        let what = What {
            plan,
            args: Args::encode(std::mem::take(&mut parcel.bytes), &args)?,
            fds: parcel.fds,
            function: entry.offset(),
            socket: None,
            executes: false,
        };
        let mut child = self.launch(what)?;
        child.set_label(options.label_given().unwrap_or(entry.name()));
        Ok(child)
    }

    /// Runs an executable in a new process.
    ///
    /// It is searched for in the path that it is given itself if its name has no slash. It has the default action for every
    /// signal but those that whoever started this program had ignored, none of them blocked, and a process group of its own.
    /// When this returns, it runs.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`]. [`SpawnError::NotBegun`] with [`Step::Execute`](crate::Step::Execute) says why it cannot be executed.
    ///
    /// ```
    /// use occ_spawn::{ExitReason, Options, Spawner};
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let spawner = Spawner::new()?;
    /// let mut child = spawner.spawn_exe(&Options::new().args(["-c", "exit 3"]), "sh")?;
    /// assert!(matches!(child.wait()?.reason, ExitReason::Code(3)));
    /// assert!(spawner.spawn_exe(&Options::new(), "no-such-program").is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "execve")]
    pub fn spawn_exe(
        &self,
        options: &Options,
        program: impl AsRef<OsStr>,
    ) -> Result<Child, SpawnError> {
        let program = program.as_ref();
        let parcel = options.for_executable(program)?;
        let what = What {
            plan: parcel.bytes.len() as u64,
            args: (Args::new(parcel.bytes)?, Vec::new()),
            fds: parcel.fds,
            function: 0,
            socket: None,
            executes: true,
        };
        let mut child = self.launch(what)?;
        child.set_executes();
        let name = options::name_of(program);
        child.set_label(options.label_given().unwrap_or(&name));
        Ok(child)
    }

    /// Runs `function` with one end of a new pair before its arguments, and gives the other end.
    ///
    /// # Errors
    ///
    /// No process was made: see [`SpawnError`].
    pub fn spawn_with_socket<F, A, AnyhowResultOrValue>(
        &self,
        function: F,
        args: A,
    ) -> Result<(Child, Socket), SpawnError>
    where
        F: Function<A::WithSocket>,
        A: Arguments,
        F::Output: Outcome<AnyhowResultOrValue>,
    {
        let entry = descriptor::<WithSocket<A, AnyhowResultOrValue>, F, A::WithSocket>(&function);
        let (ours, theirs) = Socket::pair().map_err(|source| SpawnError::Io {
            op: "socketpair",
            source,
        })?;
        let ordinary = Options::default();
        let mut parcel = ordinary.for_function()?;
        let plan = parcel.bytes.len() as u64;
        let what = What {
            plan,
            args: Args::encode(std::mem::take(&mut parcel.bytes), &args)?,
            fds: parcel.fds,
            function: entry.offset(),
            socket: Some(theirs.as_fd()),
            executes: false,
        };
        let mut child = self.launch(what)?;
        child.set_label(entry.name());
        Ok((child, ours))
    }

    fn launch(&self, what: What<'_>) -> Result<Child, SpawnError> {
        if self.inner.is_forked() {
            return Err(SpawnError::Forked);
        }
        let (args, with_args) = what.args;
        let given = what.fds.len() + with_args.len();
        if given > MAX_GIVEN {
            let limit = MAX_GIVEN;
            return Err(SpawnError::TooManyFds { given, limit });
        }
        let given: io::Result<Vec<OwnedFd>> = what
            .fds
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect();
        let request = Request {
            serial: self.inner.next.fetch_add(1, Ordering::Relaxed),
            function: what.function,
            args,
            with_args,
            keep_stdin: false,
            mark: None,
            preface: Vec::new(),
            plan: what.plan,
            given: given.map_err(|source| SpawnError::Io {
                op: "fcntl(F_DUPFD_CLOEXEC)",
                source,
            })?,
            joins: Vec::new(),
            executes: what.executes,
            namespace: false,
            spare: false,
            likely: 0,
        };

        let io = |op| move |source: io::Error| SpawnError::Io { op, source };
        let (control, theirs) = Socket::pair().map_err(io("socketpair"))?;
        control
            .ask_credentials()
            .map_err(io("setsockopt(SO_PASSCRED)"))?;
        let asked = self.request(&request, theirs.as_fd(), what.socket)?;
        drop(theirs);
        self.begin(request.serial, asked, control, what.executes)
    }
}

/// What is to be run.
struct What<'a> {
    /// So many bytes before the arguments are options.
    plan: u64,
    /// And the descriptors in them.
    args: (Args, Vec<OwnedFd>),
    /// What belongs to the options.
    fds: Vec<BorrowedFd<'a>>,
    function: u64,
    /// One more, for the function.
    socket: Option<BorrowedFd<'a>>,
    executes: bool,
}

impl Inner {
    fn current(&self) -> MutexGuard<'_, Current> {
        // Nothing panics while it is held; if something did, the zygote is as good as it was.
        self.zygote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self) -> Result<&Keeper, SpawnError> {
        self.keeper.as_ref().ok_or(SpawnError::ZygoteDied)
    }

    fn is_forked(&self) -> bool {
        self.owner != OsPid::own()
    }

    /// Has a process reaped when it ends, that nobody waits for any more.
    pub(crate) fn adopt(&self, child: EndWatch) {
        if let Some(keeper) = &self.keeper
            && !self.is_forked()
        {
            keeper.adopt(child);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let zygote = self.current().zygote.take();
        if self.is_forked() {
            // The zygote and the thread are the original's: one lives on, the other is not here.
            std::mem::forget(self.keeper.take());
        } else if let Some(zygote) = zygote {
            zygote.end();
        }
    }
}
