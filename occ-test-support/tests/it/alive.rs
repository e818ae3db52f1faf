use std::process::{Command, Stdio};

use occ_test_support::alive::{Heart, Pulse, alive};
use occ_test_support::dead::how;
use occ_test_support::{LIMIT, isolated, role, test_path};

#[test]
fn role_answers() {
    if role::is(test_path!()) {
        let heart = Heart::inherited("HEART");
        heart.beat_after(|| println!("once"));
        heart.beat();
    }
}

#[test]
fn a_process_that_lives_answers_and_a_dead_one_does_not() {
    isolated!(|| {
        let (pulse, heart) = Pulse::new();
        let mut command = role::command("alive::role_answers");
        heart.pass("HEART", &mut command);
        let mut child = command.spawn().unwrap();
        drop(heart);
        pulse.ping(LIMIT);
        pulse.ping(LIMIT);
        assert!(alive(child.id()));

        child.kill().unwrap();
        how(&mut child, LIMIT);
        assert!(!pulse.beats(LIMIT));
        let failure = super::panic_of(|| pulse.ping(LIMIT));
        assert!(failure.contains("does not live"), "{failure}");
    });
}

#[test]
fn role_ends_when_the_test_is_gone() {
    if role::is(test_path!()) {
        Heart::inherited("HEART").beat();
    }
}

#[test]
fn beating_ends_when_the_test_lets_go() {
    isolated!(|| {
        let (pulse, heart) = Pulse::new();
        let mut command = role::command("alive::role_ends_when_the_test_is_gone");
        heart.pass("HEART", &mut command);
        let mut child = command.spawn().unwrap();
        drop(heart);
        pulse.ping(LIMIT);
        drop(pulse);
        assert!(how(&mut child, LIMIT).success());
    });
}

#[test]
fn one_that_holds_the_end_and_does_not_answer_is_found_out() {
    let (pulse, _heart) = Pulse::new();
    let failure = super::panic_of(|| assert!(pulse.beats(super::SHORT)));
    assert!(failure.contains("was not answered"), "{failure}");
}

#[test]
fn a_zombie_is_not_alive() {
    isolated!(|| {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(alive(child.id()));
        drop(child.stdin.take());
        occ_test_support::dead::gone(child.id(), LIMIT);
        assert!(!alive(child.id()));
        child.wait().unwrap();
        assert!(!alive(child.id()));
    });
}
