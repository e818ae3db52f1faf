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

mod spares;

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

fn demonitor(id: u64, number: u64) -> Request {
    Request::Demonitor { id, number }
}

fn code(code: i32) -> OsStatus {
    OsStatus {
        si_code: libc::CLD_EXITED,
        si_status: code,
    }
}

fn signal(number: i32) -> OsStatus {
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

// ---- spawn ----

#[test]
fn a_spawned_process_is_told_of_once_it_exists() {
    let mut s = System::new();
    assert_eq!(s.ask(HOST, spawn(5, None)), ["launch 2"]);
    assert_eq!(s.processes(), ["1 #0 processes [1, 2]"]);
    assert_eq!(s.begins(2), ["1 #5 spawned 2"]);
    assert_eq!(s.ends(2, code(0)), ["close 2"]);
    assert_eq!(s.processes(), ["1 #0 processes [1]"]);
}

#[test]
fn who_asked_for_a_process_that_was_not_made_gets_an_error_and_no_down() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    assert_eq!(
        s.is_not_made(2),
        ["close 2", "1 #5 not spawned, ZygoteDied"]
    );
    assert_eq!(s.monitor(HOST, 2, 2), ["1: down 2, 2 no process"]);
    // The number of the monitor that came to nothing is free.
    s.ask(HOST, spawn(6, Some(1)));
    s.begins(3);
    assert_eq!(s.ends(3, code(0)), ["close 3", "1: down 1, 3 code 0"]);
}

#[test]
fn a_process_killed_before_its_first_word_is_spawned_and_down() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    assert_eq!(s.hangs_up(2), ["close 2", "ask zygote about 2"]);
    assert_eq!(s.begins(2), ["1 #5 spawned 2", "await 2"]);
    assert_eq!(
        s.ends(2, signal(SIGKILL)),
        ["close 2", "1: down 1, 2 signal 9"]
    );
}

#[test]
fn a_process_that_is_made_once_more_is_one_like_any_other() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    assert_eq!(s.hangs_up(2), ["close 2", "ask zygote about 2"]);
    let relaunched = Event::Relaunched { process: 2 };
    assert!(s.handle(relaunched).is_empty());
    assert_eq!(s.begins(2), ["1 #5 spawned 2"]);
    // Late, and of no meaning any more.
    let relaunched = Event::Relaunched { process: 2 };
    assert!(s.handle(relaunched).is_empty());
    assert_eq!(s.hangs_up(2), ["close 2", "await 2"]);
    assert_eq!(s.ends(2, code(0)), ["close 2", "1: down 1, 2 code 0"]);
}

#[test]
fn a_process_reaped_before_it_was_known_is_spawned_and_down_and_its_os_pid_left_alone() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    s.kill(HOST, 6, 2);
    s.hangs_up(2);
    let event = Event::BeganAndEnded {
        process: 2,
        os_pid: os_pid(2),
        end: end(signal(SIGKILL)),
    };
    let told = ["1 #5 spawned 2", "close 2", "1: down 1, 2 signal 9"];
    assert_eq!(s.handle(event), told);
}

#[test]
fn a_process_that_no_zygote_made_is_not_spawned() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    assert_eq!(s.hangs_up(2), ["close 2", "ask zygote about 2"]);
    assert_eq!(
        s.is_not_made(2),
        ["close 2", "1 #5 not spawned, ZygoteDied"]
    );
}

#[test]
fn what_comes_twice_of_a_new_process_counts_once() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    s.begins(2);
    for event in [
        Event::Began {
            process: 2,
            os_pid: os_pid(3),
            at: Moment::ZERO,
        },
        Event::NotMade {
            process: 2,
            why: NotSpawned::ZygoteDied,
        },
    ] {
        assert_eq!(s.handle(event), [""; 0]);
    }
    assert_eq!(s.hangs_up(2), ["close 2", "await 2"]);
    assert_eq!(s.hangs_up(2), [""; 0]);
    assert_eq!(s.ends(2, code(0)), ["close 2", "1: down 1, 2 code 0"]);
    assert_eq!(s.ends(2, code(0)), [""; 0]);
}

#[test]
fn a_process_outlives_its_asker_who_is_told_nothing() {
    let mut s = System::with([2]);
    s.ask(2, spawn(5, Some(1)));
    s.ask(2, spawn(6, Some(2)));
    assert_eq!(s.ends(2, code(0)), ["close 2"]);
    assert_eq!(s.begins(3), [""; 0]);
    assert_eq!(s.is_not_made(4), ["close 4"]);
    assert_eq!(s.processes(), ["1 #0 processes [1, 3]"]);
    // Nobody watches it any more, so the host hears of its end.
    assert_eq!(s.ends(3, code(1)), ["close 3", "abnormal: 3 code 1"]);
}

#[test]
fn there_are_no_more_processes_than_the_limit_and_room_again_after_an_end() {
    let mut s = System(State::new(7, os_pid(HOST), true, 2));
    s.ask(HOST, spawn(0, None));
    s.ask(HOST, spawn(0, None));
    assert_eq!(
        s.ask(HOST, spawn(5, Some(1))),
        ["1 #5 not spawned, TooMany { limit: 2 }"]
    );
    s.is_not_made(2);
    assert_eq!(s.ask(HOST, spawn(6, Some(1))), ["launch 4"]);
}

#[test]
fn stdin_is_the_hosts_to_give() {
    let keep = |id| {
        let keep_stdin = true;
        wish(
            id,
            None,
            Wanted {
                keep_stdin,
                ..Wanted::default()
            },
        )
    };
    let mut s = System::with([2]);
    assert_eq!(s.ask(2, keep(1)), ["launch 3"]);
    assert_eq!(s.ask(HOST, keep(2)), ["launch 4 with stdin"]);
}

#[test]
fn a_name_is_cut_between_characters() {
    let long = "é".repeat(MAX_NAME);
    let mut s = System::new();
    let mut wanted = Wanted {
        name: long.clone(),
        ..Wanted::default()
    };
    wanted.care.label = Some(long);
    s.ask(HOST, wish(0, None, wanted));
    let cut = "é".repeat(MAX_NAME / 2);
    assert_eq!(s.0.list()[1].function, cut);
    assert_eq!(s.0.list()[1].label, Some(cut));
}

fn with_care(id: u64, care: Care) -> Request {
    let care = Wanted {
        care,
        ..Wanted::default()
    };
    wish(id, None, care)
}

#[test]
fn one_whose_standard_error_is_kept_takes_the_room_of_two() {
    let mut s = System(State::new(7, os_pid(HOST), true, 3));
    let kept = |id| {
        let care = Care {
            stderr_at: Some(0),
            ..Care::default()
        };
        with_care(id, care)
    };
    assert_eq!(s.ask(HOST, kept(1)), ["launch 2"]);
    assert_eq!(s.ask(HOST, spawn(2, None)), ["launch 3"]);
    let refused = ["1 #3 not spawned, TooMany { limit: 3 }"];
    assert_eq!(s.ask(HOST, spawn(3, None)), refused);
    s.is_not_made(2);
    assert_eq!(s.ask(HOST, kept(4)), ["launch 4"]);
    s.begins(4);
    s.ends(4, code(0));
    assert_eq!(s.ask(HOST, kept(5)), ["launch 5"]);
}

// ---- grace ----

fn patient(id: u64) -> Request {
    let care = Care {
        grace: Duration::from_secs(5),
        ..Care::default()
    };
    with_care(id, care)
}

fn terminate(s: &mut System, id: u64, process: Serial) -> Vec<String> {
    let pid = s.0.pid(process);
    s.ask(HOST, Request::Terminate { id, pid })
}

#[test]
fn one_with_a_grace_period_is_asked_first_and_waited_for_once() {
    let mut s = System::new();
    s.ask(HOST, patient(1));
    s.begins(2);
    s.monitor(HOST, 1, 2);
    let asked = ["signal 15 to 2", "wait 5s for 2", "1 #2 done"];
    assert_eq!(terminate(&mut s, 2, 2), asked);
    assert_eq!(terminate(&mut s, 3, 2), ["signal 15 to 2", "1 #3 done"]);
    assert_eq!(s.handle(Event::GraceOver { process: 2 }), ["kill 2"]);
    assert_eq!(
        s.ends(2, signal(SIGKILL)),
        ["close 2", "1: down 1, 2 signal 9"]
    );
    // It may be over long after the end.
    assert_eq!(s.handle(Event::GraceOver { process: 2 }), [""; 0]);
}

#[test]
fn one_without_a_grace_period_or_without_a_first_word_is_killed() {
    let mut s = System::with([2]);
    assert_eq!(terminate(&mut s, 1, 2), ["kill 2", "1 #1 done"]);
    s.ask(HOST, patient(2));
    assert_eq!(terminate(&mut s, 3, 3), ["1 #3 done"]);
    assert_eq!(s.begins(3), ["1 #2 spawned 3", "kill 3"]);
    assert_eq!(terminate(&mut s, 4, 1), ["1 #4 is host"]);
    assert_eq!(terminate(&mut s, 5, 9), ["1 #5 no process"]);
}

#[test]
fn a_stop_asks_those_with_a_grace_period() {
    let mut s = System::with([2]);
    s.ask(HOST, patient(1));
    s.begins(3);
    let asked = ["kill 2", "signal 15 to 3", "wait 5s for 3"];
    assert_eq!(s.handle(Event::Stop), asked);
    assert_eq!(s.ends(2, signal(SIGKILL)), ["close 2"]);
    assert_eq!(s.ends(3, signal(15)), ["close 3", "finish"]);
}

// ---- programs ----

#[test]
fn that_an_executable_is_another_program_is_no_evidence_and_it_has_no_handlers() {
    let down = |executes: bool| {
        let mut s = System::new();
        let care = Care {
            executes,
            ..Care::default()
        };
        s.ask(HOST, with_care(1, care));
        s.begins(2);
        s.monitor(HOST, 1, 2);
        let mut end = end(signal(11));
        if executes {
            let exe = "true".to_owned();
            end.evidence.push(Evidence::Executed { exe });
        }
        let mut effects = Vec::new();
        s.0.handle(Event::Ended { process: 2, end }, &mut effects);
        let facts = effects.into_iter().find_map(|effect| match effect {
            Effect::Down { ended, .. } => ended.facts,
            _ => None,
        });
        facts.unwrap().end.evidence
    };
    assert_eq!(down(true), []);
    assert_eq!(down(false), [Evidence::HandlerSilent]);
}

// ---- monitors ----

#[test]
fn a_monitor_from_before_and_one_from_during_the_end_get_one_down_each() {
    let mut s = System::with([2]);
    assert_eq!(s.monitor(HOST, 1, 2), [""; 0]);
    s.hangs_up(2);
    assert_eq!(s.monitor(HOST, 2, 2), [""; 0]);
    let told = ["close 2", "1: down 1, 2 code 3", "1: down 2, 2 code 3"];
    assert_eq!(s.ends(2, code(3)), told);
    assert_eq!(s.monitor(HOST, 3, 2), ["1: down 3, 2 no process"]);
}

#[test]
fn each_watcher_is_told() {
    let mut s = System::with([2, 3, 4]);
    s.monitor(3, 7, 2);
    s.monitor(4, 7, 2);
    let told = ["close 2", "3: down 7, 2 signal 9", "4: down 7, 2 signal 9"];
    assert_eq!(s.ends(2, signal(SIGKILL)), told);
}

#[test]
fn a_monitor_taken_back_is_not_answered() {
    let mut s = System::with([2]);
    s.monitor(HOST, 1, 2);
    s.monitor(HOST, 2, 2);
    assert_eq!(s.ask(HOST, demonitor(5, 1)), ["1 #5 done"]);
    assert_eq!(s.ends(2, code(0)), ["close 2", "1: down 2, 2 code 0"]);
    // Too late, twice, and never there: done all the same.
    for number in [2, 2, 99] {
        assert_eq!(s.ask(HOST, demonitor(6, number)), ["1 #6 done"]);
    }
}

#[test]
fn a_number_can_be_used_again_after_demonitor_and_after_its_down() {
    let mut s = System::with([2, 3]);
    s.monitor(HOST, 1, 2);
    s.ask(HOST, demonitor(5, 1));
    s.monitor(HOST, 1, 2);
    assert_eq!(s.ends(2, code(0)), ["close 2", "1: down 1, 2 code 0"]);
    s.monitor(HOST, 1, 3);
    assert_eq!(s.ends(3, code(0)), ["close 3", "1: down 1, 3 code 0"]);
}

#[test]
fn of_a_number_in_use_the_first_meaning_stands() {
    let mut s = System::with([2, 3]);
    s.monitor(HOST, 1, 2);
    assert_eq!(s.monitor(HOST, 1, 3), [""; 0]);
    assert_eq!(s.monitor(HOST, 1, 99), [""; 0]);
    assert_eq!(s.ask(HOST, spawn(5, Some(1))), ["launch 4"]);
    s.begins(4);
    assert_eq!(s.ends(3, code(0)), ["close 3"]);
    assert_eq!(s.ends(4, code(0)), ["close 4"]);
    assert_eq!(s.ends(2, code(0)), ["close 2", "1: down 1, 2 code 0"]);
}

#[test]
fn a_watcher_that_ends_first_is_told_nothing_and_counts_no_more() {
    let mut s = System::with([2, 3]);
    s.monitor(2, 1, 3);
    assert_eq!(s.ends(2, code(0)), ["close 2"]);
    assert_eq!(s.ends(3, code(1)), ["close 3", "abnormal: 3 code 1"]);
}

#[test]
fn a_monitor_of_oneself_is_never_answered_and_watches_nobody() {
    let mut s = System::with([2]);
    assert_eq!(s.monitor(2, 1, 2), [""; 0]);
    assert_eq!(s.ends(2, code(1)), ["close 2", "abnormal: 2 code 1"]);
}

#[test]
fn a_guessed_pid_is_answered_and_the_asker_of_the_spawn_not_twice() {
    let mut s = System::with([2]);
    s.ask(HOST, spawn(5, Some(1)));
    s.monitor(2, 8, 3);
    // The asker itself has guessed as well.
    s.monitor(HOST, 9, 3);
    s.connect(2, 3, Standing::New);
    let told = [
        "close 3",
        "1: down 9, 3 no process",
        "2: down 8, 3 no process",
        "2: 3 refused, NoProcess",
        "1 #5 not spawned, ZygoteDied",
    ];
    assert_eq!(s.is_not_made(3), told);
}

#[test]
fn a_pid_of_another_system_or_machine_names_nobody_here() {
    let mut s = System::with([2]);
    let ours = s.0.pid(2);
    for pid in [
        Pid {
            incarnation: 8,
            ..ours
        },
        Pid { node: 1, ..ours },
        Pid { serial: 0, ..ours },
        Pid { serial: 3, ..ours },
        Pid {
            serial: u64::MAX,
            ..ours
        },
    ] {
        let n = pid.serial;
        let refused = format!("1: {n} refused, NoProcess");
        let down = format!("1: down 4, {n} no process");
        let standing = Standing::Missed;
        for (request, answer) in [
            (
                Request::Monitor {
                    number: 4,
                    target: pid,
                },
                down.as_str(),
            ),
            (
                Request::Connect {
                    id: 0,
                    to: pid,
                    standing,
                },
                refused.as_str(),
            ),
            (Request::Kill { id: 5, pid }, "1 #5 no process"),
            (Request::OsPid { id: 6, pid }, "1 #6 no process"),
        ] {
            assert_eq!(s.ask(HOST, request), [answer]);
        }
    }
    assert_eq!(
        s.ask(HOST, Request::OsPid { id: 7, pid: ours }),
        ["1 #7 os pid 1002"]
    );
}

#[test]
fn a_host_that_only_waits_is_nobody() {
    let mut s = System(State::new(7, os_pid(0), false, 100));
    assert_eq!(s.ask(0, spawn(5, Some(1))), ["launch 1"]);
    s.begins(1);
    assert_eq!(
        s.ask(1, Request::Processes { id: 2 }),
        ["1 #2 processes [1]"]
    );
    assert_eq!(s.monitor(1, 3, 0), ["1: down 3, 0 no process"]);
    assert_eq!(s.connect(1, 0, Standing::New), ["1: 0 refused, NoProcess"]);
    assert_eq!(s.kill(1, 4, 0), ["1 #4 no process"]);
    assert_eq!(
        s.ends(1, code(0)),
        ["close 1", "0: down 1, 1 code 0", "finish"]
    );
}

/// OC-24
#[test]
fn with_process_zero_of_a_run_all_end_before_they_hear_of_it() {
    let mut s = System(State::new(7, os_pid(0), false, 100));
    s.ask(0, spawn(5, Some(1)));
    s.begins(1);
    s.ask(1, spawn(6, None));
    s.begins(2);
    s.connect(1, 2, Standing::New);
    let ended = ["close 1", "kill 2", "0: down 1, 1 code 0", "2: 1 gone"];
    assert_eq!(s.ends(1, code(0)), ended);
    // It failed in the same moment, and that is not reported: it was about to be killed.
    assert_eq!(s.ends(2, code(1)), ["close 2", "finish"]);
}

// ---- connections ----

#[test]
fn a_wish_for_a_connection_is_granted() {
    let mut s = System::with([2, 3]);
    assert_eq!(s.connect(2, 3, Standing::New), ["connect 2 3"]);
    assert_eq!(s.connect(2, HOST, Standing::New), ["connect 2 1"]);
    assert_eq!(s.connect(2, 2, Standing::New), ["2: 2 refused, NoInbox"]);
    assert_eq!(
        s.connect(2, 99, Standing::New),
        ["2: 99 refused, NoProcess"]
    );
}

#[test]
fn wishes_that_cross_get_one_pair() {
    let mut s = System::with([2, 3]);
    assert_eq!(s.connect(2, 3, Standing::New), ["connect 2 3"]);
    assert_eq!(s.connect(3, 2, Standing::New), ["remind 3 of 2"]);
}

#[test]
fn a_connection_that_was_missed_is_made_again() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    assert_eq!(s.connect(3, 2, Standing::Missed), ["connect 3 2"]);
    assert_eq!(s.connect(2, 3, Standing::Missed), ["connect 2 3"]);
}

#[test]
fn a_connection_that_broke_is_not_made_again_but_explained() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    assert_eq!(s.connect(2, 3, Standing::Broken), ["examine 3"]);
    let lives = Event::Examined {
        process: 3,
        exiting: false,
    };
    assert_eq!(s.handle(lives), ["2: 3 refused, NoInbox"]);

    assert_eq!(s.connect(2, 3, Standing::Broken), ["examine 3"]);
    assert_eq!(
        s.handle(Event::Examined {
            process: 3,
            exiting: true
        }),
        [""; 0]
    );
    let told = ["close 3", "2: 3 gone", "2: 3 refused, NoProcess"];
    assert_eq!(s.ends(3, code(0)), told);
}

#[test]
fn one_that_was_never_connected_can_be_had_by_whoever_thinks_it_broke() {
    let mut s = System::with([2, 3]);
    assert_eq!(s.connect(2, 3, Standing::Broken), ["connect 2 3"]);
}

#[test]
fn who_has_closed_its_socket_and_lives_does_not_listen() {
    let mut s = System::with([2, 3]);
    assert_eq!(s.hangs_up(3), ["close 3", "await 3"]);
    assert_eq!(s.connect(2, 3, Standing::New), ["examine 3"]);
    let lives = Event::Examined {
        process: 3,
        exiting: false,
    };
    assert_eq!(s.handle(lives), ["2: 3 refused, NoInbox"]);
    assert_eq!(s.ends(3, code(7)), ["close 3", "abnormal: 3 code 7"]);
}

#[test]
fn who_asks_often_is_answered_once() {
    let mut s = System::with([2, 3]);
    s.hangs_up(3);
    for _ in 0..3 {
        assert_eq!(s.connect(2, 3, Standing::New), ["examine 3"]);
    }
    assert_eq!(s.ends(3, code(0)), ["close 3", "2: 3 refused, NoProcess"]);
}

#[test]
fn who_asked_and_ended_is_not_answered() {
    let mut s = System::with([2, 3, 4]);
    s.hangs_up(4);
    s.connect(2, 4, Standing::New);
    s.connect(3, 4, Standing::New);
    s.ends(2, code(0));
    let lives = Event::Examined {
        process: 4,
        exiting: false,
    };
    assert_eq!(s.handle(lives), ["3: 4 refused, NoInbox"]);
}

#[test]
fn of_two_that_are_connected_the_survivor_is_told_once() {
    let mut s = System::with([2, 3, 4]);
    s.connect(2, 4, Standing::New);
    s.connect(3, 4, Standing::New);
    s.monitor(3, 9, 4);
    // A Down says as much.
    let told = ["close 4", "3: down 9, 4 code 0", "2: 4 gone"];
    assert_eq!(s.ends(4, code(0)), told);
    assert_eq!(s.ends(2, code(0)), ["close 2"]);
    assert_eq!(s.ends(3, code(0)), ["close 3"]);
}

#[test]
fn who_waits_for_a_pair_with_one_that_ended_meanwhile_is_told() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    // The pair was to be made once 3 has room for the news.
    assert_eq!(
        s.ends(3, signal(SIGKILL)),
        ["close 3", "abnormal: 3 signal 9", "2: 3 gone"]
    );
    let no_pair = Event::NoPair {
        closed: 3,
        other: 2,
    };
    assert_eq!(s.handle(no_pair), ["2: 3 refused, NoProcess"]);
}

#[test]
fn who_waits_for_a_pair_with_one_that_closed_its_socket_is_told_and_may_ask_again() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    s.hangs_up(3);
    assert_eq!(
        s.handle(Event::NoPair {
            closed: 3,
            other: 2
        }),
        ["examine 3"]
    );
    let lives = || Event::Examined {
        process: 3,
        exiting: false,
    };
    assert_eq!(s.handle(lives()), ["2: 3 refused, NoInbox"]);
    assert_eq!(s.connect(2, 3, Standing::New), ["examine 3"]);
    assert_eq!(s.handle(lives()), ["2: 3 refused, NoInbox"]);
}

#[test]
fn a_pair_that_failed_before_the_hang_up_was_seen_does_not_pass_for_one_that_is_coming() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    assert_eq!(
        s.handle(Event::NoPair {
            closed: 3,
            other: 2
        }),
        ["examine 3"]
    );
    assert_eq!(s.connect(2, 3, Standing::New), ["connect 2 3"]);
}

#[test]
fn when_both_of_a_pair_have_ended_nobody_is_told() {
    let mut s = System::with([2, 3]);
    s.connect(2, 3, Standing::New);
    s.ends(3, code(0));
    s.ends(2, code(0));
    for (closed, other) in [(2, 3), (3, 2)] {
        assert_eq!(s.handle(Event::NoPair { closed, other }), [""; 0]);
    }
}

#[test]
fn a_question_about_one_that_never_began_is_answered() {
    let mut s = System::with([2]);
    s.ask(HOST, spawn(5, None));
    s.hangs_up(3);
    assert_eq!(s.connect(2, 3, Standing::New), [""; 0]);
    let told = [
        "close 3",
        "2: 3 refused, NoProcess",
        "1 #5 not spawned, ZygoteDied",
    ];
    assert_eq!(s.is_not_made(3), told);
}

#[test]
fn a_host_that_hung_up_listens_to_nobody() {
    let mut s = System::with([2]);
    assert_eq!(s.hangs_up(HOST), ["close 1", "kill 2"]);
    assert_eq!(s.connect(2, HOST, Standing::New), ["2: 1 refused, NoInbox"]);
}

// ---- kill ----

#[test]
fn kill_is_done_now_or_as_soon_as_there_is_something_to_kill() {
    let mut s = System::with([2]);
    assert_eq!(s.kill(HOST, 5, 2), ["kill 2", "1 #5 done"]);
    assert_eq!(s.kill(2, 6, 2), ["kill 2", "2 #6 done"]);

    s.ask(HOST, spawn(7, Some(1)));
    assert_eq!(s.kill(2, 8, 3), ["2 #8 done"]);
    assert_eq!(s.begins(3), ["1 #7 spawned 3", "kill 3"]);
}

#[test]
fn the_host_is_not_the_systems_to_kill() {
    let mut s = System::with([2]);
    assert_eq!(s.kill(2, 5, HOST), ["2 #5 is host"]);
}

#[test]
fn who_is_gone_is_not_killed() {
    let mut s = System::with([2]);
    s.ends(2, code(0));
    assert_eq!(s.kill(HOST, 5, 2), ["1 #5 no process"]);
}

#[test]
fn what_is_about_to_be_a_program_is_killed_by_its_number_and_once_it_has_ended_not_any_more() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    let (process, os_pid) = (2, os_pid(2));
    assert!(s.handle(Event::Known { process, os_pid }).is_empty());
    assert_eq!(s.kill(HOST, 6, 2), ["kill 2", "1 #6 done"]);
    // Its socket has not told: somebody else holds it. The kernel has, and it is not killed once more.
    assert_eq!(s.begins(2), ["1 #5 spawned 2"]);
    let told = ["close 2", "1: down 1, 2 signal 9"];
    assert_eq!(s.ends(2, signal(SIGKILL)), told);
    assert_eq!(s.kill(HOST, 7, 2), ["1 #7 no process"]);
}

// ---- what the dead said ----

#[test]
fn a_report_is_told_if_the_kernel_confirms_it() {
    for (kind, status, told) in [
        (kind::VALUE, code(0), "code 0 with a report of kind 21"),
        (kind::ERROR, code(1), "code 1 with a report of kind 22"),
        (kind::FAILURE, code(1), "code 1 with a report of kind 23"),
        (kind::PANIC, code(101), "code 101 with a report of kind 24"),
        (
            kind::PANIC,
            signal(libc::SIGABRT),
            "signal 6 with a report of kind 24",
        ),
        (kind::VALUE, signal(SIGKILL), "signal 9"),
        (kind::VALUE, code(1), "code 1"),
        (kind::ERROR, code(0), "code 0"),
        (kind::PANIC, code(3), "code 3"),
    ] {
        let mut s = System::with([2]);
        s.monitor(HOST, 1, 2);
        s.says(2, kind, &"words".to_owned());
        assert_eq!(
            s.ends(2, status),
            ["close 2".to_owned(), format!("1: down 1, 2 {told}")]
        );
    }
}

#[test]
fn a_report_that_could_not_be_heard_is_told_as_lost_unless_a_signal_says_it_all() {
    for (status, told) in [
        (code(0), "code 0 with a report that is lost"),
        (code(1), "code 1 with a report that is lost"),
        (signal(SIGKILL), "signal 9"),
    ] {
        let mut s = System::with([2]);
        s.monitor(HOST, 1, 2);
        assert_eq!(s.handle(Event::SaidUnheard { process: 2 }), [""; 0]);
        assert_eq!(
            s.ends(2, status),
            ["close 2".to_owned(), format!("1: down 1, 2 {told}")]
        );
    }
}

#[test]
fn only_an_abnormal_end_that_nobody_watches_is_told_to_the_host() {
    for (watched, status, told) in [
        (false, code(0), None),
        (false, code(1), Some("abnormal: 2 code 1")),
        (false, signal(SIGKILL), Some("abnormal: 2 signal 9")),
        (true, code(1), Some("1: down 1, 2 code 1")),
    ] {
        let mut s = System::with([2]);
        if watched {
            s.monitor(HOST, 1, 2);
        }
        let expected: Vec<&str> = ["close 2"].into_iter().chain(told).collect();
        assert_eq!(s.ends(2, status), expected);
    }
}

// ---- the end ----

#[test]
fn stop_kills_those_that_run_and_those_that_are_about_to() {
    let mut s = System::with([2]);
    s.ask(HOST, spawn(5, None));
    s.ask(HOST, spawn(6, None));
    assert_eq!(s.handle(Event::Stop), ["kill 2"]);
    assert_eq!(s.ask(2, spawn(7, Some(1))), ["2 #7 not spawned, Stopping"]);
    assert_eq!(s.begins(3), ["1 #5 spawned 3", "kill 3"]);
    // A kill at shutdown is not abnormal.
    assert_eq!(s.ends(2, signal(SIGKILL)), ["close 2"]);
    assert_eq!(s.ends(3, signal(SIGKILL)), ["close 3"]);
    assert_eq!(
        s.is_not_made(4),
        ["close 4", "1 #6 not spawned, ZygoteDied", "finish"]
    );
}

#[test]
fn the_hosts_hang_up_is_a_stop_and_there_is_one() {
    for (first, second) in [
        (Event::HungUp { process: HOST }, Event::Stop),
        (Event::Stop, Event::HungUp { process: HOST }),
        (Event::Stop, Event::Stop),
    ] {
        let mut s = System::with([2]);
        let mut effects = s.handle(first);
        effects.extend(s.handle(second));
        effects.retain(|effect| effect != "close 1");
        assert_eq!(effects, ["kill 2"]);
        assert_eq!(s.ends(2, signal(SIGKILL)), ["close 2", "finish"]);
        assert_eq!(s.handle(Event::Stop), [""; 0]);
    }
}

#[test]
fn a_stop_of_nobody_is_the_end() {
    assert_eq!(System::new().handle(Event::Stop), ["finish"]);
}

#[test]
fn nobody_is_nobody() {
    let mut s = System::with([2]);
    s.ends(2, code(0));
    for process in [2, 77] {
        for event in [
            Event::Asked {
                by: process,
                request: spawn(1, None),
                blob: None,
                given: Vec::new(),
            },
            Event::Began {
                process,
                os_pid: os_pid(process),
                at: Moment::ZERO,
            },
            Event::NotMade {
                process,
                why: NotSpawned::Stopping,
            },
            Event::SaidUnheard { process },
            Event::HungUp { process },
            Event::Ended {
                process,
                end: end(code(0)),
            },
            Event::Examined {
                process,
                exiting: false,
            },
            Event::NoPair {
                closed: process,
                other: 78,
            },
        ] {
            assert_eq!(s.handle(event), [""; 0]);
        }
    }
}

#[test]
fn a_wish_for_one_that_is_being_made_waits_until_it_has_begun() {
    let mut s = System::with([2]);
    s.ask(HOST, spawn(5, None));
    assert!(s.connect(2, 3, Standing::New).is_empty());
    assert_eq!(s.begins(3), ["1 #5 spawned 3", "connect 2 3"]);
    // Also if it is made once more, whether it wished before that was known or after.
    s.ask(HOST, spawn(6, None));
    assert!(s.connect(2, 4, Standing::New).is_empty());
    s.hangs_up(4);
    assert!(s.connect(HOST, 4, Standing::New).is_empty());
    assert!(s.handle(Event::Relaunched { process: 4 }).is_empty());
    let begun = ["1 #6 spawned 4", "connect 1 4", "connect 2 4"];
    assert_eq!(s.begins(4), begun);
    // And who has ended meanwhile wishes for nothing.
    s.ask(HOST, spawn(7, None));
    assert!(s.connect(2, 5, Standing::New).is_empty());
    s.hangs_up(2);
    s.ends(2, code(0));
    assert_eq!(s.begins(5), ["1 #7 spawned 5"]);
}

// ---- the ledger ----

/// What is told of how a process came to its end, in words.
fn evidence_of(effects: &[Effect]) -> Vec<String> {
    let told = effects.iter().find_map(|effect| match effect {
        Effect::Down { ended, .. } | Effect::Abnormal { ended, .. } => ended.facts.as_ref(),
        _ => None,
    });
    let told = &told.expect("an end that is told").end.evidence;
    told.iter().map(ToString::to_string).collect()
}

fn end_of_2(system: &mut System, status: OsStatus) -> Vec<String> {
    let mut effects = Vec::new();
    let end = end(status);
    system
        .0
        .handle(Event::Ended { process: 2, end }, &mut effects);
    evidence_of(&effects)
}

#[test]
fn who_killed_is_written_down_before_the_signal_and_told() {
    let mut s = System::with([2, 3]);
    s.monitor(HOST, 1, 2);
    assert_eq!(s.kill(3, 5, 2), ["kill 2", "3 #5 done"]);
    // The first that was sent has ended it.
    assert_eq!(s.kill(HOST, 6, 2), ["kill 2", "1 #6 done"]);
    let told = end_of_2(&mut s, signal(SIGKILL));
    assert_eq!(told, ["SIGKILL sent by <0.3>: kill was called"]);
}

#[test]
fn a_signal_that_the_kernel_did_not_let_through_is_no_evidence() {
    let mut s = System::with([2]);
    s.monitor(HOST, 1, 2);
    s.kill(HOST, 5, 2);
    assert!(
        s.handle(Event::NotSent {
            process: 2,
            signal: SIGKILL,
        })
        .is_empty()
    );
    assert_eq!(end_of_2(&mut s, signal(SIGKILL)), [""; 0]);
}

#[test]
fn one_that_was_killed_before_it_began_is_told_so() {
    let mut s = System::new();
    s.ask(HOST, spawn(5, Some(1)));
    s.kill(HOST, 6, 2);
    s.begins(2);
    let told = end_of_2(&mut s, signal(SIGKILL));
    assert_eq!(told, ["SIGKILL sent by <0.1>: kill was called"]);
}

/// The control: what nobody asked for, nobody is said to have.
#[test]
fn nobody_is_said_to_have_killed_whom_nobody_killed() {
    let mut s = System::with([2, 3]);
    s.monitor(HOST, 1, 2);
    s.kill(HOST, 6, 3);
    assert_eq!(end_of_2(&mut s, signal(SIGKILL)), [""; 0]);
}
