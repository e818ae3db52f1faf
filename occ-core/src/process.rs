//! A process of a system, from its own side: everything that the free functions of the facade do.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use occ_inbox::{ConnectorGuard, Inbox, Lost, Pid};
use occ_sck::{Deadline, Socket};
use occ_spawn::OsPid;

use crate::control::{Asked, Control, Line, Question, Unasked};
use crate::down::{Down, MonitorRef};
use crate::error::SystemError;
use crate::protocol::{Me, ProcessInfo, Reply, Request};
use crate::sys::ForkGuard;

mod messages;
mod spawning;

/// The calling process, as a process of its system.
///
/// One thread has it. What it can do, the free functions of the facade do for the process that they are called in.
#[derive(Debug)]
pub struct Process {
    me: Pid,
    mail: Mail,
    guard: ForkGuard,
    /// Requests since the last reply that may each be answered at once, by news.
    unanswered: u32,
}

/// Where what others send arrives.
#[derive(Debug)]
enum Mail {
    /// Nobody has looked yet, and many a process never does: it waits in the control socket. An inbox would cost each of
    /// them three system calls and a descriptor or two.
    Unopened(&'static Socket, Option<u32>),
    Inbox(Box<Inbox<Control>>),
}

/// How many requests are made without looking at the answers. The coordinator does not read a process that is far
/// behind with them, and a process that waits to be read, and does not look, waits for ever.
const UNANSWERED_MAX: u32 = 128;

/// How long one waits for room for descriptors that are under way: those may be for this process itself.
const CROWDED: Duration = Duration::from_secs(5);

/// How long until one looks again for what nobody tells of.
const MOMENT: Duration = Duration::from_millis(5);

/// Why a process has no part in its system.
pub(crate) enum Unfit {
    Lost,
    Io(io::Error),
}

impl From<Unasked> for SystemError {
    fn from(error: Unasked) -> SystemError {
        match error {
            Unasked::Lost => SystemError::SystemDown,
            Unasked::Io { op, source } => SystemError::Io {
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
    pub(crate) fn new(me: Me, socket: &'static Socket) -> io::Result<Process> {
        Process::with(me.pid, Mail::Unopened(socket, me.tally))
    }

    fn with(me: Pid, mail: Mail) -> io::Result<Process> {
        let guard = ForkGuard::arm()?;
        Ok(Process {
            me,
            mail,
            guard,
            unanswered: 0,
        })
    }

    /// Its name.
    pub fn self_pid(&self) -> Pid {
        self.me
    }

    /// Does for nothing what many a process does first.
    pub(crate) fn rehearse(&mut self) {
        let _ = self.open();
    }

    fn open(&mut self) -> io::Result<&mut Inbox<Control>> {
        if let Mail::Unopened(socket, tally) = self.mail {
            let control = Control::of_process(socket, tally);
            self.mail = Mail::Inbox(Box::new(Inbox::new(self.me, control)?));
        }
        match &mut self.mail {
            Mail::Inbox(inbox) => Ok(inbox),
            Mail::Unopened(..) => Err(io::ErrorKind::Other.into()),
        }
    }

    fn connector(&mut self) -> Result<ConnectorGuard<'_, Control>, Unasked> {
        self.opened().map(Inbox::connector)
    }

    fn opened(&mut self) -> Result<&mut Inbox<Control>, Unasked> {
        let op = "epoll_create";
        self.open().map_err(|source| Unasked::Io { op, source })
    }

    fn is_fork(&self) -> bool {
        self.guard.is_fork()
    }

    /// Asks for something, with the descriptors that belong to it. Waits for room, and hears what is said meanwhile; other
    /// threads go on with what they want.
    fn put(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Unasked> {
        let question = Question::new(request)?;
        let inbox = self.opened()?;
        let mut crowded = None;
        loop {
            let asked = inbox.attend_until_said(Deadline::Never, |control| {
                let asked = control.ask(&question, fds);
                (!matches!(asked, Ok(Asked::Full))).then_some(asked)
            });
            let asked = asked.map_err(|Lost| Unasked::Lost)?;
            let Asked::Crowded(error) = asked.ok_or(Unasked::Lost)?? else {
                return Ok(());
            };
            let until = crowded.get_or_insert_with(|| Deadline::after(CROWDED));
            if until.passed() {
                let source = io::Error::other(error);
                let op = "sendmsg";
                return Err(Unasked::Io { op, source });
            }
            inbox
                .attend(Deadline::after(MOMENT))
                .map_err(|Lost| Unasked::Lost)?;
        }
    }

    /// Waits for the reply to the request `id`. The coordinator never waits for us, so it comes, or the
    /// coordinator is gone.
    fn reply(&mut self, id: u64) -> Result<Reply, Lost> {
        let Mail::Inbox(inbox) = &mut self.mail else {
            return Err(Lost);
        };
        let reply = inbox.attend_until(Deadline::Never, |control| control.take_reply(id))?;
        // Answers come in the order of the questions.
        self.unanswered = 0;
        reply.ok_or(Lost)
    }

    /// A name for a monitor, and a mark in the inbox: its Down is younger.
    fn next_monitor(&mut self) -> Result<MonitorRef, Unasked> {
        // Whoever asks on is told that it is none.
        if self.is_fork() {
            return Ok(MonitorRef(0));
        }
        Ok(MonitorRef(self.opened()?.pass()))
    }

    /// Asks to be told when `target` ends: exactly one [`Down`] will come, at once if there is no such
    /// process.
    ///
    /// # Errors
    ///
    /// There is no system to tell.
    pub fn monitor(&mut self, target: Pid) -> Result<MonitorRef, SystemError> {
        self.check()?;
        let monitor = self.next_monitor()?;
        let number = monitor.0;
        self.put(&Request::Monitor { number, target }, &[])?;
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
            inbox
                .since(monitor)
                .forget(|down: &Down| down.monitor == monitor);
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

    /// Asks a process to end, with SIGTERM, and ends it with SIGKILL if it has not done so in its grace period, which is none
    /// unless a [`Builder`](crate::Builder) gave it one.
    ///
    /// # Errors
    ///
    /// There is no such process, or no system to tell.
    pub fn terminate(&mut self, pid: Pid) -> Result<(), SystemError> {
        self.check()?;
        let reply = self.ask(|id| Request::Terminate { id, pid })?;
        ordered(pid, &reply)
    }

    /// Ends a process with SIGKILL. It cannot be caught.
    ///
    /// # Errors
    ///
    /// There is no such process, or no system to tell.
    pub fn kill(&mut self, pid: Pid) -> Result<(), SystemError> {
        self.check()?;
        let reply = self.ask(|id| Request::Kill { id, pid })?;
        ordered(pid, &reply)
    }

    fn check(&self) -> Result<(), SystemError> {
        if self.is_fork() {
            Err(SystemError::Forked)
        } else {
            Ok(())
        }
    }

    fn ask(&mut self, request: impl FnOnce(u64) -> Request) -> Result<Reply, SystemError> {
        let id = self.connector()?.id();
        self.put(&request(id), &[])?;
        match self.reply(id).map_err(|Lost| SystemError::SystemDown)? {
            Reply::Failed { op, errno, .. } => Err(SystemError::Io {
                op,
                source: io::Error::from_raw_os_error(errno),
            }),
            reply => Ok(reply),
        }
    }
}

/// What became of an order that concerns `pid`.
fn ordered(pid: Pid, reply: &Reply) -> Result<(), SystemError> {
    match reply {
        Reply::Done { .. } => Ok(()),
        Reply::NoProcess { .. } => Err(SystemError::NoProcess { pid }),
        Reply::IsHost { .. } => Err(SystemError::IsHost { pid }),
        _ => Err(SystemError::SystemDown),
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
