//! A process of a system, from its own side: everything that the free functions of the facade do.

use std::io;

use occ_inbox::{Inbox, Lost, Pid};
use occ_sck::{Blob, Bytes, Deadline, MAX_NAME, Socket};
use occ_spawn::zygote::Args;
use occ_spawn::{Arguments, Function, OsPid, Outcome};

use crate::control::{Control, Line, NotAsked};
use crate::down::{Down, MonitorRef};
use crate::error::{SpawnError, SystemError};
use crate::protocol::{ProcessInfo, Reply, Request};
use crate::start::Entry;
use crate::sys::ForkGuard;

mod messages;

/// The calling process, as a process of its system.
///
/// One thread has it. What it can do, the free functions of the facade do for the process that they are called in.
#[derive(Debug)]
pub struct Process {
    me: Pid,
    mail: Mail,
    guard: ForkGuard,
    monitors: u64,
    /// Requests since the last reply that may each be answered at once, by news.
    unanswered: u32,
}

/// Where what others send arrives.
#[derive(Debug)]
enum Mail {
    /// Nobody has looked yet, and many a process never does: it waits in the control socket. An inbox would cost each of
    /// them three system calls and a descriptor or two.
    Unopened(&'static Socket),
    Inbox(Box<Inbox<Control>>),
}

/// How many requests are made without looking at the answers. The coordinator does not read a process that is far
/// behind with them, and a process that waits to be read, and does not look, waits for ever.
const UNANSWERED_MAX: u32 = 128;

/// Why a process has no part in its system.
pub(crate) enum Unfit {
    Lost,
    Io(io::Error),
}

impl From<NotAsked> for SpawnError {
    fn from(error: NotAsked) -> SpawnError {
        match error {
            NotAsked::Lost => SpawnError::SystemDown,
            NotAsked::Io { op, source } => SpawnError::Io {
                op: op.to_owned(),
                source,
            },
        }
    }
}

impl From<NotAsked> for SystemError {
    fn from(error: NotAsked) -> SystemError {
        match error {
            NotAsked::Lost => SystemError::SystemDown,
            NotAsked::Io { op, source } => SystemError::Io {
                op: op.to_owned(),
                source,
            },
        }
    }
}

impl Process {
    /// The host, which is told who it is.
    pub(crate) fn host(socket: Socket) -> Result<Process, Unfit> {
        let mut control = Control::new(Line::Host(socket));
        let me = control.who_am_i().map_err(|Lost| Unfit::Lost)?;
        let inbox = Inbox::new(me, control).map_err(Unfit::Io)?;
        Process::with(me, Mail::Inbox(Box::new(inbox))).map_err(Unfit::Io)
    }

    /// A process, which knew who it is when it was made.
    pub(crate) fn new(me: Pid, socket: &'static Socket) -> io::Result<Process> {
        Process::with(me, Mail::Unopened(socket))
    }

    fn with(me: Pid, mail: Mail) -> io::Result<Process> {
        let guard = ForkGuard::arm()?;
        Ok(Process {
            me,
            mail,
            guard,
            monitors: 0,
            unanswered: 0,
        })
    }

    /// Its name.
    pub fn self_pid(&self) -> Pid {
        self.me
    }

    fn open(&mut self) -> io::Result<&mut Inbox<Control>> {
        if let Mail::Unopened(socket) = self.mail {
            let control = Control::new(Line::Process(socket));
            self.mail = Mail::Inbox(Box::new(Inbox::new(self.me, control)?));
        }
        match &mut self.mail {
            Mail::Inbox(inbox) => Ok(inbox),
            Mail::Unopened(_) => Err(io::ErrorKind::Other.into()),
        }
    }

    fn connector(&mut self) -> Result<&mut Control, NotAsked> {
        let op = "epoll_create";
        let inbox = self.open().map_err(|source| NotAsked::Io { op, source })?;
        Ok(inbox.connector())
    }

    fn is_fork(&self) -> bool {
        self.guard.is_fork()
    }

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
        self.launch(Entry::of(&function), &args, None, false)
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
        self.launch_monitored(Entry::of(&function), &args, false)
    }

    pub(crate) fn launch_monitored<A: Arguments>(
        &mut self,
        entry: Entry,
        args: &A,
        keep_stdin: bool,
    ) -> Result<(Pid, MonitorRef), SpawnError> {
        let monitor = self.next_monitor();
        let pid = self.launch(entry, args, Some(monitor), keep_stdin)?;
        Ok((pid, monitor))
    }

    fn launch<A: Arguments>(
        &mut self,
        entry: Entry,
        args: &A,
        monitor: Option<MonitorRef>,
        keep_stdin: bool,
    ) -> Result<Pid, SpawnError> {
        if self.is_fork() {
            return Err(SpawnError::Forked);
        }
        let mut bytes = Vec::new();
        occ_sck::encode_into(args, &mut bytes)?;
        let (args, blob) = match Args::new(bytes)? {
            Args::Inline(bytes) => (bytes, None),
            Args::Blob(blob) => (Vec::new(), Some(blob)),
        };
        let id = self.connector()?.id();
        // A request is one datagram, so nothing in it may be as long as it likes.
        let name = entry.name[..entry.name.floor_char_boundary(MAX_NAME)].to_owned();
        let request = Request::Spawn {
            id,
            monitor: monitor.map(|monitor| monitor.0),
            function: entry.function,
            name,
            args: Bytes(args),
            blob: blob.as_ref().map(Blob::len),
            keep_stdin,
        };
        self.connector()?.ask(&request, blob.as_ref())?;
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

    /// Waits for the reply to the request `id`. The coordinator never waits for us, so it comes, or the
    /// coordinator is gone.
    fn reply(&mut self, id: u64) -> Result<Reply, Lost> {
        let Mail::Inbox(inbox) = &mut self.mail else {
            return Err(Lost);
        };
        loop {
            if let Some(reply) = inbox.connector().take_reply(id) {
                // Answers come in the order of the questions.
                self.unanswered = 0;
                return Ok(reply);
            }
            inbox.attend(Deadline::Never)?;
        }
    }

    fn next_monitor(&mut self) -> MonitorRef {
        self.monitors += 1;
        MonitorRef(self.monitors)
    }

    /// Asks to be told when `target` ends: exactly one [`Down`] will come, at once if there is no such
    /// process.
    ///
    /// # Errors
    ///
    /// There is no system to tell.
    pub fn monitor(&mut self, target: Pid) -> Result<MonitorRef, SystemError> {
        self.check()?;
        let monitor = self.next_monitor();
        self.connector()?.ask(
            &Request::Monitor {
                number: monitor.0,
                target,
            },
            None,
        )?;
        self.unanswered += 1;
        if self.unanswered == UNANSWERED_MAX {
            // No monitor has this number. The answer comes after all others.
            self.ask(|id| Request::Demonitor { id, number: 0 })?;
        }
        Ok(monitor)
    }

    /// Takes a monitor back. Its Down will not be received any more, not even if it is in the inbox already.
    ///
    /// # Errors
    ///
    /// There is no system to tell.
    pub fn demonitor(&mut self, monitor: MonitorRef) -> Result<(), SystemError> {
        self.check()?;
        self.ask(|id| Request::Demonitor {
            id,
            number: monitor.0,
        })?;
        // What was told before the reply has arrived before the reply.
        if let Mail::Inbox(inbox) = &mut self.mail {
            inbox.retain(|message| {
                message
                    .system::<Down>()
                    .is_none_or(|down| down.monitor != monitor)
            });
        }
        Ok(())
    }

    /// The processes of the system at this moment.
    ///
    /// # Errors
    ///
    /// There is no system to ask.
    pub fn processes(&mut self) -> Result<Vec<ProcessInfo>, SystemError> {
        self.check()?;
        match self.ask(|id| Request::Processes { id })? {
            Reply::Processes { list, .. } => Ok(list),
            _ => Err(SystemError::SystemDown),
        }
    }

    /// What the kernel calls a process.
    ///
    /// # Errors
    ///
    /// There is no such process, or no system to ask.
    pub fn os_pid(&mut self, pid: Pid) -> Result<OsPid, SystemError> {
        self.check()?;
        match self.ask(|id| Request::OsPid { id, pid })? {
            Reply::OsPid { os_pid, .. } => Ok(os_pid),
            Reply::NoProcess { .. } => Err(SystemError::NoProcess { pid }),
            _ => Err(SystemError::SystemDown),
        }
    }

    /// Ends a process with SIGKILL. It cannot be caught.
    ///
    /// # Errors
    ///
    /// There is no such process, or no system to tell.
    pub fn kill(&mut self, pid: Pid) -> Result<(), SystemError> {
        self.check()?;
        match self.ask(|id| Request::Kill { id, pid })? {
            Reply::Done { .. } => Ok(()),
            Reply::NoProcess { .. } => Err(SystemError::NoProcess { pid }),
            Reply::IsHost { .. } => Err(SystemError::IsHost { pid }),
            _ => Err(SystemError::SystemDown),
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        if self.is_fork() {
            Err(SystemError::Forked)
        } else {
            Ok(())
        }
    }

    fn ask(&mut self, request: impl FnOnce(u64) -> Request) -> Result<Reply, SystemError> {
        let connector = self.connector()?;
        let id = connector.id();
        connector.ask(&request(id), None)?;
        match self.reply(id).map_err(|Lost| SystemError::SystemDown)? {
            Reply::Failed { op, errno, .. } => Err(SystemError::Io {
                op,
                source: io::Error::from_raw_os_error(errno),
            }),
            reply => Ok(reply),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The host goes, and its system with it, even if a fork of it holds the socket. A fork of it that drops its
        // copy says nothing.
        if !self.is_fork()
            && let Mail::Inbox(inbox) = &mut self.mail
        {
            inbox.connector().hang_up();
        }
        self.guard.disarm();
    }
}
