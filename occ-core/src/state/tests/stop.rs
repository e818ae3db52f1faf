//! The end of a system.

use super::*;

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
