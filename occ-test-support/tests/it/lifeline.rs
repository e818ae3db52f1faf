use std::process::{Command, Stdio};

use occ_test_support::dead::how;
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated, role, test_path};

#[test]
fn it_is_dead_when_the_last_holder_is_and_not_before() {
    isolated!(|| {
        let (lifeline, hold) = Lifeline::new();
        let spawn = || {
            let mut command = Command::new("cat");
            hold.pass("LIFELINE", &mut command);
            command.stdin(Stdio::piped()).spawn().unwrap()
        };
        let [mut first, mut second] = [spawn(), spawn()];
        drop(hold);
        assert!(lifeline.is_alive());

        first.kill().unwrap();
        how(&mut first, LIMIT);
        assert!(lifeline.is_alive(), "the second still holds it");
        let failure = super::panic_of(|| lifeline.wait_dead(super::SHORT));
        assert!(
            failure.contains("somebody still held the lifeline"),
            "{failure}"
        );

        second.kill().unwrap();
        lifeline.wait_dead(LIMIT);
        assert!(!lifeline.is_alive());
        how(&mut second, LIMIT);
    });
}

#[test]
fn role_holds_by_address_until_it_is_killed() {
    if role::is(test_path!()) {
        let say = Say::inherited("READY");
        Hold::open(&std::env::var("HOLD").unwrap()).for_life();
        say.ready();
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_process_that_inherited_nothing_holds_by_address() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let (lifeline, hold) = Lifeline::new();
        let mut command = role::command("lifeline::role_holds_by_address_until_it_is_killed");
        say.pass("READY", &mut command);
        let mut child = command.env("HOLD", hold.address()).spawn().unwrap();
        ready.wait(LIMIT);
        drop(hold);
        assert!(lifeline.is_alive());
        child.kill().unwrap();
        lifeline.wait_dead(LIMIT);
        how(&mut child, LIMIT);
    });
}
