//! Wishes for a connection: one answer each.

use super::*;

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
