//! The front: stands for the program towards the caller.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use occ_proc::{OsPid, OsStatus, Stat};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use rustix::time::Timespec;

use super::below::is_stopped;
use super::line::{Heard, Message, When};
use super::take_down::take_down;
use super::{Ended, Line};
use crate::sys::{self, Arrived, Waited, arrived, wait_any};

#[derive(Debug)]
pub(crate) struct Front {
    line: Line,
    /// Readable when the caller has ended.
    caller: Option<OwnedFd>,
    signals: OwnedFd,
    grace: Duration,
    /// When all is killed.
    deadline: Option<Instant>,
    program: Option<OsPid>,
    guard: Option<OsPid>,
    guard_is_reaped: bool,
    ended: Option<Ended>,
    /// How the program ended, where the guard has not said it.
    seen: Option<OsStatus>,
    sent: Vec<Sent>,
}

/// A signal that the program was sent from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) signal: i32,
    pub(crate) why: String,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The program, once it ran.
    pub(crate) program: Option<OsPid>,
    /// What the guard said; nothing where it was killed.
    pub(crate) ended: Option<Ended>,
    /// Where the guard was killed, how the program ended, if that could be seen.
    seen: Option<OsStatus>,
    pub(crate) sent: Vec<Sent>,
}

impl Outcome {
    pub(crate) fn status(&self) -> Option<OsStatus> {
        let told = self.ended.as_ref().and_then(|ended| ended.status);
        told.or(self.seen)
    }
}

impl Front {
    pub(crate) fn new(
        line: Line,
        caller: Option<OwnedFd>,
        grace: Duration,
    ) -> std::io::Result<Front> {
        Ok(Front {
            line,
            caller,
            signals: sys::signal_descriptor()?,
            grace,
            deadline: None,
            program: None,
            guard: None,
            guard_is_reaped: false,
            ended: None,
            seen: None,
            sent: Vec::new(),
        })
    }

    /// Returns when nothing is left below.
    pub(crate) fn run(mut self) -> Outcome {
        self.line.say(&Message::Ready);
        while self.hear() {
            self.wait();
        }
        let (program, mut seen) = (self.program, self.seen);
        if self.ended.is_some() {
            self.wait_for_the_guard();
        } else {
            // It was killed, and what it had comes here.
            take_down(&self.signals, |waited| {
                if let Waited::Ended { os_pid, status, .. } = waited
                    && Some(os_pid) == program
                {
                    seen = Some(status);
                }
            });
        }
        Outcome {
            program,
            ended: self.ended,
            seen,
            sent: self.sent,
        }
    }

    /// Reads what the guard says; false when it has said the last, or is dead.
    fn hear(&mut self) -> bool {
        loop {
            match self.line.hear() {
                Heard::Message(Message::Runs(program)) => {
                    self.program = Some(program);
                    self.guard = Stat::of(program).ok().and_then(|program| program.parent);
                }
                Heard::Message(Message::Ended(ended)) => {
                    self.ended = Some(ended);
                    return false;
                }
                Heard::Message(_) | Heard::Noise => {}
                Heard::Nothing => return true,
                Heard::End => return false,
            }
        }
    }

    /// It is the only child, and has nothing more to do.
    fn wait_for_the_guard(&self) {
        // What nobody may kill comes here after it, and is no reason to wait.
        while !self.guard_is_reaped
            && !matches!(wait_any(), Waited::Ended { .. } | Waited::NoChildren)
        {
            let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], None);
            while arrived(&self.signals).is_some() {}
        }
    }

    fn wait(&mut self) {
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.line.as_fd(), PollFlags::IN),
        ];
        if let Some(caller) = &self.caller {
            fds.push(PollFd::new(caller, PollFlags::IN));
        }
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let _ = poll(&mut fds, left.as_ref());
        let caller_ended = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);

        while let Some(arrived) = arrived(&self.signals) {
            self.pass(arrived);
        }
        if caller_ended {
            self.caller = None;
            let term = Signal::TERM.as_raw();
            self.send(term, When::Always, "its parent ended".to_owned());
            // Where it was stopped, it has to go on to end.
            self.send(Signal::CONT.as_raw(), When::Always, String::new());
            self.begin_grace();
        }
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            self.deadline = None;
            let kill = Signal::KILL.as_raw();
            let why = if self.grace.is_zero() {
                "it had no time to end after SIGTERM".to_owned()
            } else {
                format!("it had not ended {:?} after SIGTERM", self.grace)
            };
            self.sent.push(Sent { signal: kill, why });
            self.line.say(&Message::KillAll);
        }
    }

    fn pass(&mut self, arrived: Arrived) {
        let signal = arrived.signal;
        if signal == Signal::CHILD.as_raw() {
            self.look_after_the_guard();
            return;
        }
        let is_term = signal == Signal::TERM.as_raw();
        let when = if signal == Signal::CONT.as_raw() {
            if Some(OsPid::new(arrived.sender)) == self.guard {
                // It was for this process alone.
                return;
            }
            // A shell sends it to the whole group. Were it passed on late to a program that has been stopped again, that would
            // go on.
            match self.program.is_some_and(is_stopped) {
                true => When::Always,
                false => When::NotStopped,
            }
        } else if arrived.from_kernel && is_of_terminals(signal) {
            When::NotInGroup
        } else {
            When::Always
        };
        let why = if arrived.from_kernel {
            "passed on from the kernel".to_owned()
        } else {
            format!("passed on from process {}", arrived.sender)
        };
        self.send(signal, when, why);
        if is_term {
            self.begin_grace();
        }
    }

    /// It is the only child while it lives, and when it is dead the line says so. Stopped it would see nothing.
    fn look_after_the_guard(&mut self) {
        match wait_any() {
            Waited::Stopped { os_pid, .. } => {
                if let Some(guard) = os_pid.to_rustix() {
                    let _ = sys::send(guard, Signal::CONT.as_raw());
                }
            }
            // Of a guard that was killed: it has come here.
            Waited::Ended { os_pid, status, .. } if Some(os_pid) == self.program => {
                self.seen = Some(status);
            }
            Waited::Ended { .. } => self.guard_is_reaped = true,
            Waited::Continued { .. } | Waited::Nothing | Waited::NoChildren => {}
        }
    }

    fn send(&mut self, signal: i32, when: When, why: String) {
        self.line.say(&Message::Pass { signal, when });
        if when == When::Always {
            // Of a signal that comes often the last is what matters.
            self.sent.retain(|sent| sent.signal != signal);
            self.sent.push(Sent { signal, why });
        }
    }

    /// The first time counts.
    fn begin_grace(&mut self) {
        if self.deadline.is_none() {
            self.deadline = Instant::now().checked_add(self.grace);
        }
    }
}

/// Those that a terminal sends the foreground group.
fn is_of_terminals(signal: i32) -> bool {
    let those = [
        Signal::INT,
        Signal::QUIT,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::HUP,
        Signal::WINCH,
    ];
    those.iter().any(|one| one.as_raw() == signal)
}
