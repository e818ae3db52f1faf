//! The guard: the program's parent. It waits for the program's end and for the front's, and then for all that is left.

use std::os::fd::{AsFd, OwnedFd};

use occ_proc::{OsPid, OsStatus, Stat};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, getppid, setsid};

use super::below::is_stopped;
use super::line::{Heard, Message, NAMED, When};
use super::take_down::take_down;
use super::{Ended, Line, Used};
use crate::sys::{self, Waited, arrived, wait_any};

#[derive(Debug)]
pub(crate) struct Guard {
    line: Line,
    /// Readable when the caller has ended.
    caller: Option<OwnedFd>,
    /// Whoever reads the other end becomes the program when a byte comes.
    go: Option<OwnedFd>,
    /// It is told by who has made it, before or after the front is ready.
    program: Option<OsPid>,
    /// The front is there, and will see this one's end.
    is_ready: bool,
    /// Its number is its own while it is the parent.
    front: Option<Pid>,
    /// The front is to stop when the program does, so that a shell sees it.
    stops_front: bool,
    /// It has been stopped, and has not passed on yet what let it go on.
    front_was_stopped: bool,
    signals: OwnedFd,
    status: Option<OsStatus>,
    used: Used,
}

impl Guard {
    pub(crate) fn new(
        line: Line,
        caller: Option<OwnedFd>,
        go: OwnedFd,
        program: Option<OsPid>,
    ) -> std::io::Result<Guard> {
        // `kill -9` of a job, and what timeout(1) does, is for all of a process group. One of us has to be left. A group of its own in
        // the same session would not do: with its end the other might become an orphaned one, and the kernel sends SIGHUP to all of
        // such a group if one in it is stopped (setpgid(2)).
        let _ = setsid();
        Ok(Guard {
            caller,
            go: Some(go),
            program,
            is_ready: false,
            // Who made the line, and not the parent: that may be another's child by now.
            front: socket_peercred(&line).ok().map(|front| front.pid),
            stops_front: false,
            front_was_stopped: false,
            line,
            signals: sys::signal_descriptor()?,
            status: None,
            used: Used::default(),
        })
    }

    pub(crate) fn stop_front_as_well(mut self) -> Guard {
        self.stops_front = true;
        self
    }

    /// Returns when nothing is left below that could be ended.
    pub(crate) fn run(mut self) {
        self.wait_for_an_end();
        let (program, mut status, mut used) = (self.program, self.status, self.used);
        let mut left = take_down(&self.signals, |waited| {
            note(program, waited, &mut status, &mut used);
        });
        left.retain(|left| Some(left.os_pid) != program);
        let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
        left.truncate(NAMED);
        self.line.say(&Message::Ended(Ended {
            status,
            used,
            count,
            left,
        }));
        self.wake_front();
    }

    /// Of the program, or of whoever wants it to live.
    fn wait_for_an_end(&mut self) {
        loop {
            loop {
                match wait_any() {
                    Waited::Nothing | Waited::NoChildren => break,
                    Waited::Stopped { os_pid, signal } if Some(os_pid) == self.program => {
                        if self.stops_front && is_of_jobs(signal) {
                            self.front_was_stopped = true;
                            self.send_front(Signal::STOP);
                        }
                    }
                    Waited::Continued { os_pid } if Some(os_pid) == self.program => {
                        self.wake_front();
                    }
                    other => note(self.program, other, &mut self.status, &mut self.used),
                }
            }
            if self.status.is_some() {
                return;
            }
            loop {
                match self.line.hear() {
                    Heard::Message(message) => {
                        if !self.follow(&message) {
                            return;
                        }
                    }
                    Heard::Noise => {}
                    Heard::Nothing => break,
                    Heard::End => return,
                }
            }
            self.wait();
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
        let _ = poll(&mut fds, None);
        let ended = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        while arrived(&self.signals).is_some() {}
        if ended {
            // It is the front that ends the program for that. One that has been stopped has to go on first, and may not be
            // stopped any more.
            self.caller = None;
            self.stops_front = false;
            self.send_front(Signal::CONT);
        }
    }

    /// Whoever has stopped the program alone lets that alone go on.
    fn wake_front(&self) {
        if self.stops_front {
            self.send_front(Signal::CONT);
        }
    }

    /// All that stops the front or lets it go on comes from here, one after the other: were it to stop itself, it could do so
    /// after the last who would have woken it.
    fn send_front(&self, signal: Signal) {
        if getppid() == self.front
            && let Some(front) = self.front
        {
            let _ = sys::send(front, signal.as_raw());
        }
    }

    /// Does what the front wants; false when that is the end.
    fn follow(&mut self, message: &Message) -> bool {
        match message {
            Message::Ready => {
                self.is_ready = true;
                self.let_it_go();
            }
            Message::Runs(program) => {
                self.program = Some(*program);
                self.let_it_go();
            }
            Message::Pass { signal, when } => self.pass(*signal, *when),
            Message::KillAll => return false,
            Message::Ended(_) => {}
        }
        true
    }

    fn let_it_go(&mut self) {
        if self.is_ready
            && let Some(program) = self.program
            && let Some(go) = self.go.take()
        {
            self.line.say(&Message::Runs(program));
            // Nobody may be there any more, which its end tells.
            let _ = rustix::io::write(&go, b"g");
        }
    }

    fn pass(&mut self, signal: i32, when: When) {
        let is_cont = signal == Signal::CONT.as_raw();
        let woke_front = is_cont && std::mem::take(&mut self.front_was_stopped);
        let Some(os_pid) = self.program else { return };
        let Some(program) = os_pid.to_rustix() else {
            return;
        };
        let is_wanted = match when {
            When::Always => true,
            When::NotInGroup => {
                group_of(os_pid) != self.front.and_then(|front| group_of(of(front)))
            }
            // By what let the front go on the program does as well. A second one would take the next key away that is to stop
            // it, if that had not come to it yet.
            When::NotStopped => !woke_front && !self.program.is_some_and(is_stopped),
        };
        if is_wanted {
            // Not yet reaped, so the number is its own.
            let _ = sys::send(program, signal);
        }
    }
}

fn of(pid: Pid) -> OsPid {
    OsPid::new(pid.as_raw_pid().unsigned_abs())
}

/// As /proc tells it: 0 for one whose leader is in a PID namespace further up, which is no number of a process, and which getpgid(2) of
/// rustix does not expect.
fn group_of(os_pid: OsPid) -> Option<u32> {
    Stat::of(os_pid).ok().map(|stat| stat.group)
}

/// Those that a shell's job is stopped by; SIGSTOP is what some programs stop themselves with when they are told to.
fn is_of_jobs(signal: i32) -> bool {
    let those = [Signal::TSTP, Signal::TTIN, Signal::TTOU, Signal::STOP];
    those.iter().any(|one| one.as_raw() == signal)
}

fn note(program: Option<OsPid>, waited: Waited, status: &mut Option<OsStatus>, used: &mut Used) {
    if let Waited::Ended {
        os_pid,
        status: how,
        used: more,
    } = waited
    {
        used.add(more);
        if Some(os_pid) == program {
            *status = Some(how);
        }
    }
}
