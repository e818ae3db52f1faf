//! A system, from the side of the program that starts it.
//!
//! A thread of its own, the keeper, starts the guard, which starts the coordinator, and lives as long as it.
//!
//! Nothing here relies on a socket's end alone, because a fork of this program holds duplicates of all its sockets: the
//! keeper watches the guard by pidfd, which ends with the coordinator, and whoever ends a connection shuts it down before closing it.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use occ_inbox::Pid;
use occ_sck::{
    Assembler, Deadline, Envelope, Limits, MAX_DATAGRAM, ReceiveError, Received, Socket,
};
use occ_spawn::OsPid;
use occ_spawn::boot::{self, Booted};
use occ_spawn::entry::kind as spawn;
use occ_spawn::kernel::EndWatch;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions};

use crate::central::Settings;
use crate::control::hang_up;
use crate::control_group;
use crate::down::AbnormalExit;
use crate::error::StartError;
use crate::guard;
use crate::process::{Process, Unfit};
use crate::protocol::{Abnormal, kind};
use crate::sys::{self, ForkGuard};

/// What is done with the abnormal exits that nobody watched.
type Reporter = Box<dyn FnMut(&AbnormalExit) + Send>;

/// How a system is to be started.
pub struct SystemBuilder {
    reporter: Reporter,
    listed: bool,
    spares: usize,
}

impl std::fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemBuilder").finish_non_exhaustive()
    }
}

impl SystemBuilder {
    /// A system that reports an abnormal exit that nobody watched in one line on stderr.
    pub fn new() -> SystemBuilder {
        SystemBuilder {
            reporter: Box::new(to_stderr),
            listed: true,
            spares: 0,
        }
    }

    /// Calls `reporter` for each abnormal exit that nobody watched, on a thread of the system's own. A stop waits for it.
    ///
    /// Ordinarily each is one line on stderr, without the backtrace that `RUST_BACKTRACE` asks for: to look for its names takes
    /// some tenth of a second, and many may end at once. Who wants to see it all the same:
    ///
    /// ```
    /// use occ_core::{AbnormalExit, ExitReason, SystemBuilder};
    ///
    /// let builder = SystemBuilder::new().on_abnormal_exit(|exit: &AbnormalExit| {
    ///     let backtrace = match &exit.reason {
    ///         ExitReason::Panic(panic) => panic.backtrace.as_ref(),
    ///         ExitReason::Error(failure) => failure.backtrace(),
    ///         _ => None,
    ///     };
    ///     eprintln!("{exit}");
    ///     backtrace.inspect(|backtrace| eprintln!("{backtrace}"));
    /// });
    /// builder.start()?.stop();
    /// # Ok::<(), occ_core::StartError>(())
    /// ```
    #[must_use]
    pub fn on_abnormal_exit(
        mut self,
        reporter: impl FnMut(&AbnormalExit) + Send + 'static,
    ) -> SystemBuilder {
        self.reporter = Box::new(reporter);
        self
    }

    /// Makes so many processes before they are asked for, so that a spawn has no fork in its way: for systems that must answer
    /// quickly. Each costs the memory of an idle process, and a file descriptor of the coordinator. New ones are made when nobody
    /// has asked for a process for a millisecond, and as long as there is room for more processes: those come first.
    ///
    /// What a process does itself before its function takes a fork of its own: of a [`Builder`](crate::Builder)'s options only the grace
    /// period goes with a spare.
    #[must_use]
    pub fn spares(mut self, count: usize) -> SystemBuilder {
        self.spares = count;
        self
    }

    /// The host is no process of the system, and only waits for it.
    pub(crate) fn unlisted(mut self) -> SystemBuilder {
        self.listed = false;
        self
    }

    /// Starts the system. The calling thread is its process zero.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(self) -> Result<System, StartError> {
        System::launch(self)
    }
}

impl Default for SystemBuilder {
    fn default() -> SystemBuilder {
        SystemBuilder::new()
    }
}

/// A running system. Dropping it ends it: every process is killed and reaped.
#[derive(Debug)]
pub struct System {
    process: Option<Process>,
    /// A duplicate of the process's socket, to end the system by, wherever the process is.
    line: Arc<OwnedFd>,
    keeper: Option<JoinHandle<()>>,
    host: OsPid,
    coordinator: OsPid,
}

impl System {
    /// Starts a system.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<System, StartError> {
        SystemBuilder::new().start()
    }

    fn launch(builder: SystemBuilder) -> Result<System, StartError> {
        if ForkGuard::is_fork_of_armed() {
            return Err(StartError::Forked);
        }
        let io = |op| move |source: std::io::Error| StartError::Io { op, source };
        let (ours, theirs) = Socket::pair().map_err(io("socketpair"))?;
        let line = ours
            .as_fd()
            .try_clone_to_owned()
            .map_err(io("fcntl(F_DUPFD_CLOEXEC)"))?;
        let line = Arc::new(line);
        let host = OsPid::own();
        let settings = Settings {
            host,
            parent: host,
            host_listed: builder.listed,
            spares: builder.spares,
            incarnation: incarnation().map_err(io("getrandom"))?,
        };
        let (started, answer) = channel();
        let (kept, reporter) = (Arc::clone(&line), builder.reporter);
        // The host's signals are for the host's own threads.
        let keeper = sys::with_signals_blocked(|| {
            std::thread::Builder::new()
                .name("occ-system".to_owned())
                .spawn(move || {
                    keep(&settings, theirs, &started, (reporter, kept.as_fd()));
                    hang_up(kept.as_fd());
                })
        })
        .map_err(io("clone"))?;
        let coordinator = match answer.recv() {
            Ok(Ok(coordinator)) => coordinator,
            Ok(Err(error)) => {
                let _ = keeper.join();
                return Err(error);
            }
            Err(_) => {
                return Err(StartError::NotReady {
                    why: "it is gone".to_owned(),
                });
            }
        };
        let mut system = System {
            process: None,
            line,
            keeper: Some(keeper),
            host,
            coordinator,
        };
        system.process = Some(Process::host(ours).map_err(|unfit| match unfit {
            Unfit::Lost => StartError::NotReady {
                why: "it is gone".to_owned(),
            },
            Unfit::Io(source) => StartError::Io {
                op: "epoll_create",
                source,
            },
        })?);
        Ok(system)
    }

    /// The calling thread as a process of the system.
    ///
    /// # Panics
    ///
    /// If [`System::take_process`] has taken it.
    pub fn process(&mut self) -> &mut Process {
        match &mut self.process {
            Some(process) => process,
            None => panic!("the process of this system has been taken"),
        }
    }

    /// Takes the process out, to be held elsewhere; [`System::put_process`] brings it back. The system ends
    /// when either is dropped.
    pub fn take_process(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Brings the process back.
    pub fn put_process(&mut self, process: Process) {
        self.process = Some(process);
    }

    /// The name of the calling thread in the system.
    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(Process::self_pid)
    }

    /// The OS pid of the coordinator.
    pub fn coordinator(&self) -> OsPid {
        self.coordinator
    }

    /// Ends the system: every process is killed and reaped before this returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        // A fork of the host has a copy of all this, and neither the thread nor the say.
        if self.host != OsPid::own() {
            return std::mem::forget(keeper);
        }
        hang_up(self.line.as_fd());
        self.process = None;
        let _ = keeper.join();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tells this system from all others that ever ran here.
fn incarnation() -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if got == bytes.len() {
        Ok(u32::from_ne_bytes(bytes))
    } else {
        Err(std::io::ErrorKind::Other.into())
    }
}

/// The thread that is the guard's parent. It hangs `line` up when the coordinator has ended.
fn keep(
    settings: &Settings,
    control: Socket,
    started: &Sender<Result<OsPid, StartError>>,
    (mut reporter, line): (Reporter, BorrowedFd<'_>),
) {
    let booted = match boot_guard(settings, control) {
        Ok(booted) => booted,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let mut wire = match Wire::of(booted) {
        Ok(wire) => wire,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    match wait_until_ready(&mut wire) {
        Ok(coordinator) => {
            wire.watch_coordinator(coordinator);
            let _ = started.send(Ok(coordinator));
        }
        Err(why) => {
            wire.booted.end();
            let _ = started.send(Err(StartError::NotReady { why }));
            return;
        }
    }

    let mut report = None;
    while let Some(envelope) = wire.next(|| hang_up(line)) {
        match envelope.kind {
            kind::ABNORMAL => {
                let before = report.take();
                if let Ok(news) = envelope.decode::<Abnormal>() {
                    let before = before.filter(|_| news.report_before);
                    let report = news.report.map(Envelope::from).or(before);
                    let exit = AbnormalExit::new(&news.ended, report, news.missed);
                    // A panic has said what it has to say, and must not take the system down.
                    let _ = catch_unwind(AssertUnwindSafe(|| reporter(&exit)));
                }
            }
            spawn::VALUE | spawn::ERROR | spawn::FAILURE | spawn::PANIC => report = Some(envelope),
            _ => {}
        }
    }
    reap(wire.booted.os_pid);
    // Where the guard was killed nobody has done it.
    control_group::remove_all_of(settings.incarnation);
}

fn boot_guard(settings: &Settings, control: Socket) -> Result<Booted, StartError> {
    let mut args = Vec::new();
    occ_sck::encode_into(settings, &mut args).map_err(|error| StartError::Io {
        op: "encode",
        source: std::io::Error::other(error),
    })?;
    Ok(boot::launch(guard::ENTRY, args, &[control.as_fd()])?)
}

/// The OS pid of the coordinator.
fn wait_until_ready(wire: &mut Wire) -> Result<OsPid, String> {
    let Some(envelope) = wire.next(|| ()) else {
        return Err("it ended before it was ready".to_owned());
    };
    match envelope.kind {
        kind::READY => envelope.decode().map_err(|error| error.to_string()),
        kind::NOT_READY | spawn::BOOT_FAILED => {
            Err(envelope.decode().unwrap_or_else(|error| error.to_string()))
        }
        other => Err(format!(
            "it said something that is not known, of kind {other}"
        )),
    }
}

/// The keeper's side of the guard and the coordinator.
struct Wire {
    booted: Booted,
    /// Readable once the guard has ended, which is after the coordinator.
    watch: EndWatch,
    /// Readable once the coordinator has. The guard closes what that had open; but a guard may be stopped, and the host is told all
    /// the same. Where there are no pidfds it waits for the guard.
    coordinator: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Wire {
    fn of(booted: Booted) -> Result<Wire, StartError> {
        match EndWatch::of_child(booted.os_pid) {
            Ok(watch) => Ok(Wire {
                booted,
                watch,
                coordinator: None,
                buffer: vec![0; MAX_DATAGRAM],
            }),
            Err(source) => {
                booted.end();
                Err(StartError::Io {
                    op: "pidfd_open",
                    source,
                })
            }
        }
    }

    fn watch_coordinator(&mut self, os_pid: OsPid) {
        let pid = os_pid.to_rustix();
        self.coordinator =
            pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    }

    /// The next message; `None` when the guard is gone and all messages have been read. `coordinator_ended` is called once, when it has.
    fn next(&mut self, coordinator_ended: impl Fn()) -> Option<Envelope> {
        let mut gone = false;
        loop {
            let mut fds = Vec::new();
            match self
                .booted
                .socket
                .receive(&mut self.buffer, &mut fds, Deadline::Now)
            {
                Ok(Received::Datagram { len, .. }) => {
                    let whole = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                    if let Ok(Some(envelope)) = whole {
                        return Some(envelope);
                    }
                }
                Err(ReceiveError::Frame(_)) => {}
                Ok(Received::Nothing) if !gone => gone = self.wait(&coordinator_ended),
                Ok(Received::Nothing | Received::Closed) | Err(_) => return None,
            }
        }
    }

    /// Waits for a message or for an end; true if it is the guard's.
    fn wait(&mut self, coordinator_ended: impl Fn()) -> bool {
        let mut fds = vec![
            PollFd::new(&self.booted.socket, PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
        ];
        fds.extend(
            self.coordinator
                .as_ref()
                .map(|ended| PollFd::new(ended, PollFlags::IN)),
        );
        let _ = rustix::event::poll(&mut fds, None);
        let seen = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        let (guard, coordinator) = (seen(fds.get(1)), seen(fds.get(2)));
        drop(fds);
        if coordinator {
            self.coordinator = None;
            coordinator_ended();
        }
        guard
    }
}

/// Takes the guard's status away. A host that ignores SIGCHLD has none, and it is of no interest.
fn reap(os_pid: OsPid) {
    let Some(pid) = os_pid.to_rustix() else {
        return;
    };
    let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
}

/// The default: one line, for people. It is the only thing that this library ever prints.
fn to_stderr(exit: &AbnormalExit) {
    let _ = writeln!(std::io::stderr(), "occasional: {exit}");
}
