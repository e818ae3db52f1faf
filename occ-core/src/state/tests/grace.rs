//! Processes that are asked to end.

use super::*;

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
