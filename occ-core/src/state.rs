//! The coordinator as a pure state machine: what has happened goes in, what is to be done comes out.
//!
//! It makes no system call and reads no clock, so every interleaving of spawn, exit, connect, monitor and failure
//! is a test without a process.
//!
//! ## Invariants
//!
//! - A process is in the table, and its monitors with it, before it may run; it is out of the table before
//!   anybody is told of its end.
//! - Each monitor is answered by exactly one Down, unless it is taken back or its owner ends first.
//! - Whoever asks for a connection gets one answer: the connection, or why there is none.
//! - The OS pid of a process is only acted on while the process is in the table; it is reaped when it leaves it.
//! - What a peer sends can do no more than what the peer may ask for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;

use occ_inbox::Pid;
use occ_proc::Sent;
use occ_sck::{Blob, MAX_NAME};
use occ_spawn::OsPid;
use occ_spawn::entry::LastWords;
use occ_spawn::zygote::Args;

use crate::protocol::{Care, Moment, ProcessInfo, Reply, Request};

mod beginnings;
mod connections;
mod ends;
mod event;
mod ledger;
#[cfg(test)]
mod model;
mod monitors;
mod spares;
#[cfg(test)]
mod tests;

pub use event::{Effect, Event};
pub use ledger::Known;
use ledger::Why;
use spares::Spares;

/// A process, by its number in this system.
pub type Serial = u64;

/// Who asked for a process that does not run yet.
#[derive(Debug)]
struct Asker {
    process: Serial,
    id: u64,
    /// The monitor that came with the request. It goes with it, too, if nothing comes of it.
    monitor: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    /// The program that started the system. It is not ours: not made by us, and not to be killed.
    Host,
    /// Asked for.
    Launching(Asker),
    /// It exists.
    Running { os_pid: OsPid, started: Moment },
}

#[derive(Debug)]
struct Process {
    phase: Phase,
    name: String,
    care: Care,
    /// Its control socket is open.
    open: bool,
    /// What the kernel calls it, where it is about to execute its program, and does not run that yet.
    known: Option<OsPid>,
    /// Killed before it ran: by whom, and what for.
    doomed: Option<Why>,
    /// Who is to be told of its end, under which number.
    watchers: BTreeSet<(Serial, u64)>,
    /// Whose end it is to be told of, by its own number.
    watching: HashMap<u64, Serial>,
    /// Who it has a connection with.
    peers: HashSet<Serial>,
    /// Who wants to know whether it is dead, or just does not listen.
    questions: BTreeSet<Serial>,
    words: LastWords,
    /// It has said something of its end that could not be heard.
    unheard: bool,
    /// The signals that were sent to it from here, written down before they were.
    sent: Vec<Sent>,
}

impl Process {
    fn new(phase: Phase, name: String) -> Process {
        Process {
            phase,
            name,
            care: Care::default(),
            open: true,
            known: None,
            doomed: None,
            watchers: BTreeSet::new(),
            watching: HashMap::new(),
            peers: HashSet::new(),
            questions: BTreeSet::new(),
            words: LastWords::default(),
            unheard: false,
            sent: Vec::new(),
        }
    }

    fn os_pid(&self) -> Option<OsPid> {
        match self.phase {
            Phase::Running { os_pid, .. } => Some(os_pid),
            Phase::Host | Phase::Launching(_) => None,
        }
    }

    /// It has a pipe besides its control socket, or besides the pidfd that takes the place of that.
    fn takes_two(&self) -> bool {
        self.care.stderr_at.is_some()
    }

    fn is_watched_by(&self, watcher: Serial) -> bool {
        self.watchers
            .range((watcher, 0)..=(watcher, u64::MAX))
            .next()
            .is_some()
    }
}

/// Everything the coordinator knows.
#[derive(Debug)]
pub struct State {
    incarnation: u32,
    host: Serial,
    host_os_pid: OsPid,
    /// The host is a process of the system: its first. Else it only waits for the system to end.
    host_listed: bool,
    next: Serial,
    spares: Spares,
    limit: usize,
    /// How many of the processes take a second descriptor.
    doubles: usize,
    processes: BTreeMap<Serial, Process>,
    stopping: bool,
    /// Who sends the signals.
    coordinator: Option<OsPid>,
}

impl State {
    /// A system with nobody in it but its host, and with room for `limit` processes.
    pub fn new(incarnation: u32, host_os_pid: OsPid, host_listed: bool, limit: usize) -> State {
        let host = Serial::from(host_listed);
        let process = Process::new(Phase::Host, "the host".to_owned());
        State {
            incarnation,
            host,
            host_os_pid,
            host_listed,
            next: host + 1,
            spares: Spares::default(),
            limit,
            doubles: 0,
            processes: BTreeMap::from([(host, process)]),
            stopping: false,
            coordinator: None,
        }
    }

    /// Says what the kernel calls the coordinator: a process that is told who sent it a signal is told that.
    #[must_use]
    pub fn sent_from(mut self, coordinator: OsPid) -> State {
        self.coordinator = Some(coordinator);
        self
    }

    /// The number of the host.
    pub fn host(&self) -> Serial {
        self.host
    }

    /// True when the system is about to end: nothing is begun any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The name of a process of this system.
    pub fn pid(&self, process: Serial) -> Pid {
        Pid {
            node: 0,
            incarnation: self.incarnation,
            serial: process,
        }
    }

    /// Whether it is one of the system: being made, or running, or a spare.
    pub fn is_alive(&self, process: Serial) -> bool {
        self.processes.contains_key(&process) || self.spares.is_one(process)
    }

    /// Whether it executes a program.
    pub fn executes(&self, process: Serial) -> bool {
        let process = self.processes.get(&process);
        process.is_some_and(|process| process.care.executes)
    }

    /// The OS pid of a process that exists.
    pub fn os_pid(&self, process: Serial) -> Option<OsPid> {
        if process == self.host {
            return Some(self.host_os_pid);
        }
        self.processes.get(&process)?.os_pid()
    }

    /// The process of this name, if it is one of this system and has not ended.
    fn find(&self, pid: Pid) -> Option<Serial> {
        let ours = pid == self.pid(pid.serial) && (self.host_listed || pid.serial != self.host);
        (ours && self.processes.contains_key(&pid.serial)).then_some(pid.serial)
    }

    /// Takes what has happened, and adds to `effects` what is to be done, in this order.
    pub fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Asked {
                by,
                request,
                blob,
                given,
            } => {
                if self.processes.contains_key(&by) {
                    self.asked(by, request, (blob, given), effects);
                }
            }
            Event::SpareReady { process } => self.spares.is_ready(process),
            Event::SpareGone { process } => self.spares.is_gone(process),
            Event::Began {
                process,
                os_pid,
                at,
            } => {
                if self.began(process, os_pid, at, effects) {
                    self.look_after(process, os_pid, effects);
                }
            }
            Event::BeganAndEnded {
                process,
                os_pid,
                end,
            } => {
                // Its OS pid may be another's by now, so nothing is done to it.
                if self.began(process, os_pid, end.at, effects) {
                    self.ended(process, end, effects);
                }
            }
            Event::NotMade { process, why } => self.not_made(process, why, effects),
            Event::Said { process, report } => {
                if let Some(process) = self.process(process) {
                    process.words.hear(report);
                }
            }
            Event::SaidUnheard { process } => {
                if let Some(process) = self.process(process) {
                    process.unheard = true;
                }
            }
            Event::Relaunched { process } => self.relaunched(process),
            Event::HungUp { process } => self.hung_up(process, effects),
            Event::Ended { process, end } => self.ended(process, end, effects),
            Event::Examined { process, exiting } => self.examined(process, exiting, effects),
            Event::NotSent { process, signal } => self.not_sent(process, signal),
            Event::Known { process, os_pid } => self.known(process, os_pid, effects),
            Event::OutOfReach { process } => self.out_of_reach(process, effects),
            Event::GraceOver { process } => self.grace_over(process, effects),
            Event::NoPair { closed, other } => self.no_pair(closed, other, effects),
            Event::Stop => self.stop(effects),
        }
    }

    fn asked(
        &mut self,
        by: Serial,
        request: Request,
        (blob, given): (Option<Blob>, Vec<OwnedFd>),
        effects: &mut Vec<Effect>,
    ) {
        let reply = match request {
            Request::Spawn {
                id,
                monitor,
                mut wanted,
            } => {
                let names = [Some(&mut wanted.name), wanted.care.label.as_mut()];
                for name in names.into_iter().flatten() {
                    name.truncate(name.floor_char_boundary(MAX_NAME));
                }
                wanted.keep_stdin &= by == self.host;
                let args = std::mem::take(&mut wanted.args).0;
                let args = blob.map_or(Args::Inline(args), Args::Blob);
                let asker = Asker {
                    process: by,
                    id,
                    monitor,
                };
                return self.spawn(asker, *wanted, (args, given), effects);
            }
            Request::Monitor { number, target } => {
                return self.monitor(by, number, target, effects);
            }
            Request::Connect { id, to, standing } => {
                return self.connect(by, id, (to, standing), effects);
            }
            Request::Demonitor { id, number } => {
                if let Some(target) = self.process(by).and_then(|p| p.watching.remove(&number))
                    && let Some(target) = self.process(target)
                {
                    target.watchers.remove(&(by, number));
                }
                Reply::Done { id }
            }
            Request::Processes { id } => Reply::Processes {
                id,
                list: self.list(),
            },
            Request::OsPid { id, pid } => {
                match self.find(pid).and_then(|process| self.os_pid(process)) {
                    Some(os_pid) => Reply::OsPid { id, os_pid },
                    None => Reply::NoProcess { id },
                }
            }
            Request::Terminate { id, pid } => self.terminate(by, id, pid, effects),
            Request::Kill { id, pid } => self.kill(by, id, pid, effects),
        };
        effects.push(Effect::Reply { to: by, reply });
    }

    fn process(&mut self, process: Serial) -> Option<&mut Process> {
        self.processes.get_mut(&process)
    }

    fn list(&self) -> Vec<ProcessInfo> {
        let listed = self
            .processes
            .iter()
            .filter(|(n, _)| self.host_listed || **n != self.host);
        listed
            .map(|(serial, process)| ProcessInfo {
                pid: self.pid(*serial),
                os_pid: self.os_pid(*serial),
                function: process.name.clone(),
                label: process.care.label.clone(),
            })
            .collect()
    }
}
