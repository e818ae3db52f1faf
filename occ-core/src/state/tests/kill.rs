//! Kills, and who they come to.

use super::*;

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
