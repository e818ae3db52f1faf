//! A zygote of one's own, and the processes that it makes.

use std::ffi::OsStr;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use occ_proc::OsPid;
use occ_sck::{Assembler, Deadline, Limits, MAX_DATAGRAM, Received, SendError, Socket};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::boot::{self, BootError};
use crate::child::Child;
use crate::descriptor::Context;
use crate::error::SpawnError;
use crate::function::{Arguments, Function, Outcome, Run, descriptor};
use crate::keeper::Keeper;
use crate::options::{self, NotBegun, Options, Parcel};
use crate::outcome::{End, ErrorReport, kind};
use crate::sys;
use crate::watch::EndWatch;
use crate::zygote::{Args, Request, Zygote};

/// How long a new process may take to say its first word before somebody looks whether it lives.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How often that is waited for when there is nobody left to ask.
const PATIENCE: u32 = 10;

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

/// Runs a function with its arguments.
struct Plain<K>(PhantomData<K>);

impl<F, A, K> Run<F, A> for Plain<K>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A) -> F::Output, context: Context) -> End {
        match occ_sck::decode::<A>(&context.args) {
            Ok(args) => function(args).into_end(),
            Err(error) => undecodable(&error),
        }
    }
}

/// As [`Plain`], with a socket before the arguments.
struct WithSocket<A, K>(PhantomData<(A, K)>);

impl<F, A, K> Run<F, A::WithSocket> for WithSocket<A, K>
where
    F: Function<A::WithSocket>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A::WithSocket) -> F::Output, context: Context) -> End {
        let mut fds = context.fds;
        let Some(socket) = fds.pop() else {
            let chain = vec!["the socket of the function did not arrive".to_owned()];
            return End::words(ErrorReport {
                chain,
                backtrace: None,
            });
        };
        match occ_sck::decode::<A>(&context.args) {
            Ok(args) => function(args.with_socket(Socket::from(socket))).into_end(),
            Err(error) => undecodable(&error),
        }
    }
}

fn undecodable(error: &occ_sck::DecodeError) -> End {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let mut chain = vec![
        "the arguments could not be decoded".to_owned(),
        error.to_string(),
    ];
    chain.extend(cause);
    End::words(ErrorReport {
        chain,
        backtrace: None,
    })
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
    /// When this returns the process exists and is about to run the function.
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
        let mut bytes = Vec::new();
        occ_sck::encode_into(&args, &mut bytes)?;
        let what = What {
            parcel: options.for_function()?,
            function: entry.offset(),
            args: bytes,
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
        let what = What {
            parcel: options.for_executable(program)?,
            function: 0,
            args: Vec::new(),
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
        let mut bytes = Vec::new();
        occ_sck::encode_into(&args, &mut bytes)?;
        let ordinary = Options::default();
        let what = What {
            parcel: ordinary.for_function()?,
            function: entry.offset(),
            args: bytes,
            socket: Some(theirs.as_fd()),
            executes: false,
        };
        let mut child = self.launch(what)?;
        child.set_label(entry.name());
        Ok((child, ours))
    }

    fn launch(&self, mut what: What<'_>) -> Result<Child, SpawnError> {
        if self.inner.is_forked() {
            return Err(SpawnError::Forked);
        }
        let plan = what.parcel.bytes.len() as u64;
        what.parcel.bytes.append(&mut what.args);
        let given: io::Result<Vec<OwnedFd>> = what
            .parcel
            .fds
            .iter()
            .map(BorrowedFd::try_clone_to_owned)
            .collect();
        let request = Request {
            serial: self.inner.next.fetch_add(1, Ordering::Relaxed),
            function: what.function,
            args: Args::new(what.parcel.bytes)?,
            keep_stdin: false,
            mark: None,
            preface: Vec::new(),
            plan,
            given: given.map_err(|source| SpawnError::Io {
                op: "fcntl(F_DUPFD_CLOEXEC)",
                source,
            })?,
            joins: Vec::new(),
            namespace: false,
            spare: false,
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

    /// Sends the request, and says to which zygote. One that has died is replaced; a request that a dead
    /// one may have taken is not repeated.
    fn request(
        &self,
        request: &Request,
        control: BorrowedFd<'_>,
        socket: Option<BorrowedFd<'_>>,
    ) -> Result<u64, SpawnError> {
        let mut current = self.inner.current();
        for _ in 0..2 {
            let zygote = match current.zygote.take() {
                Some(zygote) => zygote,
                None => match self.inner.keeper()?.zygote() {
                    // Killed before it had read a line: nothing has been asked of it.
                    Err(SpawnError::Boot(BootError::Orders(SendError::Closed))) => continue,
                    started => started?,
                },
            };
            match zygote.request(request, control, socket, Deadline::Never) {
                Ok(()) => {
                    current.zygote = Some(zygote);
                    return Ok(current.replaced);
                }
                Err(SendError::Closed) => {
                    current.replaced += 1;
                    // The next one would refuse as well, and for the same reason.
                    if let SpawnError::Boot(refusal) = bury(zygote) {
                        return Err(refusal.into());
                    }
                }
                Err(error) => {
                    current.zygote = Some(zygote);
                    return Err(SpawnError::Io {
                        op: "sendmsg",
                        source: error.into(),
                    });
                }
            }
        }
        Err(SpawnError::ZygoteDied)
    }

    /// Waits for the first word of a new process; and if it is to execute a program, for the end of its socket, which that
    /// takes away.
    fn begin(
        &self,
        serial: u64,
        asked: u64,
        control: Socket,
        executes: bool,
    ) -> Result<Child, SpawnError> {
        let mut known = None;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut refused = false;
        let mut patience = PATIENCE;
        loop {
            let deadline = if refused {
                Deadline::Now
            } else {
                Deadline::after(FIRST_WORD)
            };
            let received = control
                .receive(&mut buffer, &mut Vec::new(), deadline)
                .map_err(|error| SpawnError::Io {
                    op: "recvmsg",
                    source: io::Error::other(error),
                })?;
            let (len, sender) = match received {
                Received::Datagram { len, sender } => (len, sender),
                Received::Nothing if refused => return Err(SpawnError::DiedAtBirth),
                // The end of file does not come where a fork of this program, made by somebody at the wrong
                // moment, holds the other end. Nor need the process be dead: it may only be slow.
                Received::Nothing if let Some(os_pid) = known => {
                    if has_ended(os_pid) || has_executed(os_pid) {
                        return Child::new(os_pid, control, Arc::clone(&self.inner));
                    }
                    continue;
                }
                Received::Nothing => match self.forked_for(serial, asked) {
                    Ok(Some(os_pid)) if has_ended(os_pid) => {
                        return Child::new(os_pid, control, Arc::clone(&self.inner));
                    }
                    Ok(Some(_)) => continue,
                    Ok(None) => {
                        refused = true;
                        continue;
                    }
                    // It may have died after the fork, and the process is about to say so; one that is slower
                    // than this finds nobody to say it to, and ends.
                    Err(error) => {
                        patience -= 1;
                        if patience == 0 {
                            return Err(error);
                        }
                        continue;
                    }
                },
                // Either there was no fork, or the process was killed before its first line. The zygote
                // knows, if it lives.
                Received::Closed if let Some(os_pid) = known => {
                    return Child::new(os_pid, control, Arc::clone(&self.inner));
                }
                Received::Closed => {
                    return match self.forked_for(serial, asked)? {
                        Some(os_pid) => Child::new(os_pid, control, Arc::clone(&self.inner)),
                        None => Err(SpawnError::DiedAtBirth),
                    };
                }
            };
            let envelope = Assembler::new(Limits::default()).push(&buffer[..len], Vec::new());
            return match (envelope, sender) {
                (Ok(Some(envelope)), _) if envelope.kind == kind::FORK_FAILED => {
                    let errno = envelope.decode::<i32>().unwrap_or(0);
                    Err(SpawnError::Fork(io::Error::from_raw_os_error(errno)))
                }
                (Ok(Some(envelope)), sender) if envelope.kind == kind::NOT_BEGUN => {
                    // It ends by itself, and nobody else waits for it.
                    if let Some(sender) = sender {
                        reap(OsPid::new(sender.os_pid));
                    }
                    Err(envelope
                        .decode()
                        .map_or(SpawnError::DiedAtBirth, |why: NotBegun| why.into()))
                }
                (Ok(Some(envelope)), Some(sender)) if envelope.kind == kind::HELLO && executes => {
                    known = Some(OsPid::new(sender.os_pid));
                    continue;
                }
                (Ok(Some(envelope)), Some(sender)) if envelope.kind == kind::HELLO => {
                    Child::new(OsPid::new(sender.os_pid), control, Arc::clone(&self.inner))
                }
                _ => Err(SpawnError::DiedAtBirth),
            };
        }
    }

    /// Asks the zygote that was `asked` which process it forked for `serial`; requests are taken in turn, so
    /// that request is dealt with by the time of the answer.
    fn forked_for(&self, serial: u64, asked: u64) -> Result<Option<OsPid>, SpawnError> {
        let mut current = self.inner.current();
        let same = current.replaced == asked;
        let Some(zygote) = current.zygote.take_if(|_| same) else {
            return Err(SpawnError::ZygoteDied);
        };
        let answer = zygote
            .ask_which(serial, Deadline::Never)
            .ok()
            .and_then(|()| boot::receive_one(zygote.socket(), Deadline::Never).ok());
        match answer {
            Some(envelope) if envelope.kind == kind::WHICH => {
                current.zygote = Some(zygote);
                Ok(Zygote::answer(&envelope).and_then(|(_, os_pid)| os_pid))
            }
            Some(envelope) => {
                current.replaced += 1;
                zygote.end();
                Err(boot::refusal(&envelope).map_or(SpawnError::ZygoteDied, SpawnError::Boot))
            }
            None => {
                current.replaced += 1;
                Err(bury(zygote))
            }
        }
    }
}

/// Reaps a zygote that has died, and says what of.
fn bury(zygote: Zygote) -> SpawnError {
    let refusal = zygote.refusal();
    zygote.end();
    refusal.map_or(SpawnError::ZygoteDied, SpawnError::Boot)
}

/// True when a child of this program has ended; it stays what it is, for its parent to reap.
fn has_ended(os_pid: OsPid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = os_pid.to_rustix();
    pid.is_none_or(|pid| !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// True when a child of this program is another program by now.
fn has_executed(os_pid: OsPid) -> bool {
    occ_proc::Stat::of(os_pid).is_ok_and(|stat| stat.executed)
}

/// Waits for a child that is about to end.
fn reap(os_pid: OsPid) {
    let Some(pid) = os_pid.to_rustix() else {
        return;
    };
    let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    while wait().is_err_and(|errno| errno == Errno::INTR) {}
}

/// What is to be run.
struct What<'a> {
    parcel: Parcel<'a>,
    function: u64,
    args: Vec<u8>,
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
