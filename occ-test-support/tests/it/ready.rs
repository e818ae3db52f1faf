use std::process::Command;

use occ_test_support::dead::how;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated, role, test_path};

#[test]
fn role_says_it_is_ready_and_its_pid() {
    if role::is(test_path!()) {
        let say = match std::env::var("ADDRESS") {
            Ok(address) => Say::open(&address),
            Err(_) => Say::inherited("READY"),
        };
        say.ready();
        say.line(std::process::id());
    }
}

#[test]
fn a_process_that_inherited_the_end_says_lines() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let mut command = role::command("ready::role_says_it_is_ready_and_its_pid");
        say.pass("READY", &mut command);
        let mut child = command.spawn().unwrap();
        drop(say);
        ready.wait(LIMIT);
        assert_eq!(ready.pid(LIMIT), child.id());
        assert!(how(&mut child, LIMIT).success());
    });
}

#[test]
fn a_process_that_inherited_nothing_opens_the_end_by_its_address() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let mut command = role::command("ready::role_says_it_is_ready_and_its_pid");
        let mut child = command.env("ADDRESS", say.address()).spawn().unwrap();
        ready.wait(LIMIT);
        assert_eq!(ready.pid(LIMIT), child.id());
        assert!(how(&mut child, LIMIT).success());
    });
}

#[test]
fn a_process_that_ends_without_a_line_is_not_ready() {
    let (ready, say) = Ready::new();
    let mut command = Command::new("true");
    say.pass("READY", &mut command);
    let mut child = command.spawn().unwrap();
    drop(say);
    let failure = super::panic_of(|| ready.wait(LIMIT));
    assert!(
        failure.contains("everybody who could say a line is gone"),
        "{failure}"
    );
    child.wait().unwrap();
}

#[test]
fn a_process_that_says_nothing_is_not_ready() {
    let (ready, _say) = Ready::new();
    let failure = super::panic_of(|| ready.wait(super::SHORT));
    assert!(failure.contains("no line within"), "{failure}");
}

#[test]
fn a_line_that_is_no_pid_is_refused() {
    let (ready, say) = Ready::new();
    say.line("nobody");
    let failure = super::panic_of(|| _ = ready.pid(LIMIT));
    assert!(failure.contains("expected a pid"), "{failure}");
}
