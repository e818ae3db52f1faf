//! Monitors: one Down each, or none.

use super::*;

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
