//! Arming against a parent that cannot be the one who dies.

use std::process::Command;

use occ_test_support::dead::how;
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::{LIMIT, Signal, isolated, role, stress, test_path};
use occ_yeshup::{Parent, arm, disarm, is_armed};
use rustix::io::Errno;

use crate::family::{Arming, start};

#[test]
fn arming_after_the_parent_died_is_esrch() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::Late]);
        members[0].signal(Signal::KILL);
        how(&mut parent, LIMIT);
        assert_eq!(
            members[1].arm_now(),
            format!("Err(Some({}))", Errno::SRCH.raw_os_error())
        );
        members[1].assert_survived();
    });
}

#[test]
fn arming_late_but_while_the_parent_lives_is_in_time() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::Late]);
        assert_eq!(members[1].arm_now(), "Ok(())");
        members[0].signal(Signal::KILL);
        how(&mut parent, LIMIT);
        members[1].assert_dies();
    });
}

#[test]
fn role_arms_or_ends() {
    if role::is(test_path!()) {
        let parent = std::env::var("OCC_PARENT").unwrap().parse().unwrap();
        // It holds the lifeline without further doing, and is ready to be killed or has to go.
        if arm(Parent::from_os_pid(parent).unwrap()).is_ok() {
            loop {
                std::thread::park();
            }
        }
    }
}

#[test]
#[expect(
    clippy::zombie_processes,
    reason = "the parent ends at a moment of its own"
)]
fn role_starts_a_child_and_ends() {
    if role::is(test_path!()) {
        let lifeline = Hold::inherited("OCC_HOLD");
        let mut child = role::command("parent_is_gone::role_arms_or_ends");
        lifeline.pass("OCC_HOLD", &mut child);
        child.env("OCC_PARENT", std::process::id().to_string());
        child.spawn().unwrap();
        let spins: usize = std::env::var("OCC_SPINS").unwrap().parse().unwrap();
        for _ in 0..spins {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn whatever_the_moment_the_parent_ends_no_child_is_left() {
    isolated!(|| {
        for round in 0..stress::times(60) {
            let (lifeline, hold) = Lifeline::new();
            let mut parent = role::command("parent_is_gone::role_starts_a_child_and_ends");
            hold.pass("OCC_HOLD", &mut parent);
            // From an end before the child's program runs to one long after it is armed.
            parent.env("OCC_SPINS", (round % 20 * 2000).to_string());
            let mut parent = parent.spawn().unwrap();
            drop(hold);
            assert!(how(&mut parent, LIMIT).success());
            lifeline.wait_dead(LIMIT);
        }
    });
}

#[test]
fn a_process_that_is_not_the_parent_is_esrch_and_the_caller_armed_nevertheless() {
    isolated!(|| {
        let error = arm(Parent::current()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
        assert!(is_armed().unwrap());
        disarm().unwrap();
    });
}

#[test]
fn role_first_in_a_pid_namespace() {
    if !role::is(test_path!()) {
        return;
    }
    assert_eq!(std::process::id(), 1);
    let error = arm(Parent::from_os_pid(1).unwrap()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::OPNOTSUPP.raw_os_error()));
    assert!(is_armed().unwrap());
    println!("seen from inside");
}

#[test]
fn a_parent_outside_of_the_pid_namespace_is_named_as_that() {
    isolated!(|| {
        // Without privileges a user namespace would be needed, and the kernel may refuse either.
        let unshare = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", program]);
            command
        };
        if !unshare("true")
            .status()
            .is_ok_and(|status| status.success())
        {
            occ_test_support::skipped("this user may not make a PID namespace");
            return;
        }
        let role = role::command("parent_is_gone::role_first_in_a_pid_namespace");
        // In the child /proc/self/exe is unshare, so the path it is.
        let mut command = unshare(std::env::current_exe().unwrap().to_str().unwrap());
        command.args(role.get_args());
        command.envs(
            role.get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        command.env_remove("OCC_ISOLATED");
        let output = command.output().unwrap();
        let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(
            output.status.success() && shown.contains("seen from inside"),
            "{shown}"
        );
    });
}
