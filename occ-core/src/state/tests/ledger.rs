//! Who is known to have sent a signal.

use super::*;

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
