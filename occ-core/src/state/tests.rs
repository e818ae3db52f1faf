//! The state machine, without a process: each test tells what happens and what is to be done about it.
//!
//! Process 1 is the host. What is to be done is compared in words: see [`words`].

use std::time::Duration;

use occ_inbox::{Pid, Standing};
use occ_proc::{Evidence, Usage};
use occ_sck::{Envelope, Packet, Term};
use occ_spawn::entry::kind;
use occ_spawn::{OsPid, OsStatus};

use super::*;
use crate::protocol::{Care, End, Ended, Moment, News, NotSpawned, Wanted};

mod connections;
mod grace;
mod kill;
mod ledger;
mod monitors;
mod programs;
mod spares;
mod spawn;
mod stop;
mod words;

const HOST: Serial = 1;
const SIGKILL: i32 = 9;

/// A state machine whose every process has the OS pid 1000 + its number.
struct System(State);

impl System {
    fn new() -> System {
        System(State::new(7, os_pid(HOST), true, 100))
    }

    /// With these processes, which the host has spawned.
    fn with<const N: usize>(processes: [Serial; N]) -> System {
        let mut system = System::new();
        for process in processes {
            system.ask(HOST, spawn(0, None));
            system.begins(process);
        }
        system
    }

    fn handle(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.0.handle(event, &mut effects);
        effects.iter().map(words).collect()
    }

    fn ask(&mut self, by: Serial, request: Request) -> Vec<String> {
        self.handle(Event::Asked {
            by,
            request,
            blob: None,
            given: Vec::new(),
        })
    }

    fn begins(&mut self, process: Serial) -> Vec<String> {
        self.handle(Event::Began {
            process,
            os_pid: os_pid(process),
            at: Moment::ZERO,
        })
    }

    fn is_not_made(&mut self, process: Serial) -> Vec<String> {
        self.handle(Event::NotMade {
            process,
            why: NotSpawned::ZygoteDied,
        })
    }

    fn hangs_up(&mut self, process: Serial) -> Vec<String> {
        self.handle(Event::HungUp { process })
    }

    fn ends(&mut self, process: Serial, status: OsStatus) -> Vec<String> {
        self.handle(Event::Ended {
            process,
            end: end(status),
        })
    }

    fn says<T: Term>(&mut self, process: Serial, kind: u8, value: &T) {
        let report = Packet::of(kind, value).unwrap().into_envelope();
        assert_eq!(self.handle(Event::Said { process, report }), [""; 0]);
    }

    fn monitor(&mut self, by: Serial, number: u64, target: Serial) -> Vec<String> {
        let target = self.0.pid(target);
        self.ask(by, Request::Monitor { number, target })
    }

    fn connect(&mut self, by: Serial, to: Serial, standing: Standing) -> Vec<String> {
        let to = self.0.pid(to);
        self.ask(
            by,
            Request::Connect {
                id: 0,
                to,
                standing,
            },
        )
    }

    fn kill(&mut self, by: Serial, id: u64, pid: Serial) -> Vec<String> {
        let pid = self.0.pid(pid);
        self.ask(by, Request::Kill { id, pid })
    }

    fn processes(&mut self) -> Vec<String> {
        self.ask(HOST, Request::Processes { id: 0 })
    }
}

pub(super) fn end(status: OsStatus) -> End {
    End {
        status,
        usage: Usage::NONE,
        evidence: Vec::new(),
        stderr: None,
        at: Moment::ZERO,
    }
}

fn os_pid(process: Serial) -> OsPid {
    OsPid::new(1000 + u32::try_from(process).unwrap())
}

fn spawn(id: u64, monitor: Option<u64>) -> Request {
    wish(id, monitor, Wanted::default())
}

fn wish(id: u64, monitor: Option<u64>, wanted: Wanted) -> Request {
    Request::Spawn {
        id,
        monitor,
        wanted: Box::new(wanted),
    }
}

fn with_care(id: u64, care: Care) -> Request {
    let care = Wanted {
        care,
        ..Wanted::default()
    };
    wish(id, None, care)
}

fn demonitor(id: u64, number: u64) -> Request {
    Request::Demonitor { id, number }
}

pub(super) fn code(code: i32) -> OsStatus {
    OsStatus {
        si_code: libc::CLD_EXITED,
        si_status: code,
    }
}

pub(super) fn signal(number: i32) -> OsStatus {
    OsStatus {
        si_code: libc::CLD_KILLED,
        si_status: number,
    }
}

/// An effect in words, processes by their numbers, requests and monitors by theirs.
fn words(effect: &Effect) -> String {
    match effect {
        Effect::Launch {
            process, wanted, ..
        } => {
            let with = if wanted.keep_stdin { " with stdin" } else { "" };
            format!("launch {process}{with}")
        }
        Effect::AskZygote { process } => format!("ask zygote about {process}"),
        Effect::Reply { to, reply } => format!("{to} #{}", reply_in_words(reply)),
        Effect::Tell {
            to,
            news: News::Refused { peer, why },
        } => {
            format!("{to}: {} refused, {why:?}", peer.serial)
        }
        Effect::Tell {
            to,
            news: News::Gone { peer },
        } => format!("{to}: {} gone", peer.serial),
        Effect::Tell { to, news } => format!("{to}: {news:?}"),
        Effect::Down { to, ended, report } => {
            format!(
                "{to}: down {}, {}",
                ended.number,
                end_in_words(ended, report.as_deref())
            )
        }
        Effect::Connect { a, b } => format!("connect {a} {b}"),
        Effect::Remind { to, peer, .. } => format!("remind {to} of {peer}"),
        Effect::AwaitEnd {
            process,
            os_pid: asked,
        } => {
            assert_eq!(*asked, os_pid(*process));
            format!("await {process}")
        }
        Effect::Examine {
            process,
            os_pid: asked,
        } => {
            assert_eq!(*asked, os_pid(*process));
            format!("examine {process}")
        }
        Effect::Signal {
            os_pid,
            signal: SIGKILL,
            ..
        } => format!("kill {}", os_pid.get() - 1000),
        Effect::Signal { os_pid, signal, .. } => {
            format!("signal {signal} to {}", os_pid.get() - 1000)
        }
        Effect::Wait { process, grace } => format!("wait {grace:?} for {process}"),
        Effect::Close { process } => format!("close {process}"),
        Effect::Abnormal { ended, report } => {
            format!("abnormal: {}", end_in_words(ended, report.as_deref()))
        }
        Effect::Finish => "finish".to_owned(),
    }
}

fn reply_in_words(reply: &Reply) -> String {
    match reply {
        Reply::Spawned { id, pid } => format!("{id} spawned {}", pid.serial),
        Reply::NotSpawned { id, why } => format!("{id} not spawned, {why:?}"),
        Reply::Done { id } => format!("{id} done"),
        Reply::NoProcess { id } => format!("{id} no process"),
        Reply::IsHost { id } => format!("{id} is host"),
        Reply::Processes { id, list } => {
            let list: Vec<_> = list.iter().map(|process| process.pid.serial).collect();
            format!("{id} processes {list:?}")
        }
        Reply::OsPid { id, os_pid } => format!("{id} os pid {os_pid}"),
        Reply::Failed { .. } | Reply::Unread => format!("{reply:?}"),
    }
}

fn end_in_words(ended: &Ended, report: Option<&Envelope>) -> String {
    let how = match ended.facts.as_ref().map(|facts| facts.end.status) {
        None => "no process".to_owned(),
        Some(status) => match status.signal() {
            Some(signal) => format!("signal {}", signal.number()),
            None => format!("code {}", status.si_status),
        },
    };
    let said = match (ended.reported, report) {
        (false, None) => String::new(),
        (true, Some(report)) => format!(" with a report of kind {}", report.kind),
        (true, None) => " with a report that is lost".to_owned(),
        (false, Some(_)) => panic!("a report that is not announced"),
    };
    format!("{} {how}{said}", ended.pid.serial)
}
