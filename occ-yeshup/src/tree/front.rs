//! The front: stands for the program towards the caller.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use occ_proc::{OsPid, OsStatus, Stat, State};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, getpid};
use rustix::time::Timespec;

use super::line::{Heard, Message};
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
    /// It stops when the program does, so that a shell sees it.
    follows_stops: bool,
    program: Option<OsPid>,
    ended: Option<Ended>,
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
            follows_stops: false,
            program: None,
            ended: None,
            sent: Vec::new(),
        })
    }

    pub(crate) fn follow_stops(mut self) -> Front {
        self.follows_stops = true;
        self
    }

    /// Returns when nothing is left below.
    pub(crate) fn run(mut self) -> Outcome {
        self.line.say(&Message::Ready);
        while self.hear() {
            self.wait();
        }
        let (program, mut seen) = (self.program, None);
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
                Heard::Message(Message::Runs(program)) => self.program = Some(program),
                Heard::Message(Message::Stopped { signal }) => self.stop_as_well(signal),
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
        while matches!(wait_any(), Waited::Nothing | Waited::Stopped { .. }) {
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
            self.send(term, false, "its parent ended".to_owned());
            // Where it was stopped, it has to go on to end.
            self.send(Signal::CONT.as_raw(), false, String::new());
            self.begin_grace();
        }
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            self.deadline = None;
            let kill = Signal::KILL.as_raw();
            let why = format!("it had not ended {:?} after SIGTERM", self.grace);
            self.sent.push(Sent { signal: kill, why });
            self.line.say(&Message::KillAll);
        }
    }

    fn pass(&mut self, arrived: Arrived) {
        let signal = arrived.signal;
        if signal == Signal::CHILD.as_raw() {
            // The guard is the only child while it lives, and when it is dead the line says so.
            return;
        }
        let why = if arrived.from_kernel {
            "passed on from the kernel".to_owned()
        } else {
            format!("passed on from process {}", arrived.sender)
        };
        self.send(signal, arrived.from_kernel && is_of_terminals(signal), why);
        if signal == Signal::TERM.as_raw() {
            self.begin_grace();
        }
    }

    fn send(&mut self, signal: i32, at_terminal: bool, why: String) {
        self.line.say(&Message::Pass {
            signal,
            at_terminal,
        });
        if !at_terminal {
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

    fn stop_as_well(&self, signal: i32) {
        let stops = [Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::STOP];
        let is_job_control = stops.iter().any(|stop| stop.as_raw() == signal);
        let is_stopped = |program| Stat::of(program).is_ok_and(|it| it.state == State::Stopped);
        // It may go on already. Nobody would wake who stops now.
        if self.follows_stops && is_job_control && self.program.is_some_and(is_stopped) {
            let _ = sys::send(getpid(), Signal::STOP.as_raw());
        }
    }
}

/// Those that a terminal sends the foreground group.
fn is_of_terminals(signal: i32) -> bool {
    let those = [
        Signal::INT,
        Signal::QUIT,
        Signal::TSTP,
        Signal::HUP,
        Signal::WINCH,
        Signal::CONT,
    ];
    those.iter().any(|one| one.as_raw() == signal)
}
