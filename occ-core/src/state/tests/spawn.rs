//! Spawns: one answer each, whatever becomes of them.

use super::*;

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
