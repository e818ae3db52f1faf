//! The time between SIGTERM and SIGKILL.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use occ_test_support::dead::{self, Watch, how};
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, Signal, isolated, within};
use occ_yeshup::CommandExt;

use super::strays::{GUARDS, Stray, WAYS};

const GRACE: Duration = Duration::from_millis(300);

fn stubborn() -> Stray {
    let mut stray = Stray::new(WAYS[2]);
    stray.ignores_term = true;
    stray.grace = GRACE;
    stray
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_after_the_grace_period_and_not_before() {
    isolated!(|| {
        for by in GUARDS {
            let (mut child, tree) = stubborn().start(by);
            let began = Instant::now();
            Watch::of(child.id()).signal(Signal::TERM);
            dead::gone(tree.program, LIMIT);
            let took = began.elapsed();
            assert!(took >= GRACE, "{by:?}: {took:?}");
            assert!(took < GRACE * 10, "{by:?}: {took:?}");
            let status = how(&mut child, LIMIT);
            let told = status.signal().or(status.code().map(|code| code - 128));
            assert_eq!(told, Some(9), "{by:?}");
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// The signal that needs nothing of the program has ended it before; what it would have done itself it does not come to.
#[test]
fn without_a_grace_period_all_is_killed_right_after_sigterm() {
    isolated!(|| {
        for by in GUARDS {
            for (ignores_term, signal) in [(true, 9), (false, 15)] {
                let mut stray = Stray::new(WAYS[2]);
                (stray.ignores_term, stray.grace) = (ignores_term, Duration::ZERO);
                let (mut child, _) = stray.start(by);
                Watch::of(child.id()).signal(Signal::TERM);
                let status = how(&mut child, LIMIT);
                let told = status.signal().or(status.code().map(|code| code - 128));
                assert_eq!(told, Some(signal), "{by:?}, ignores it: {ignores_term}");
                Token::own().wait_none_left(LIMIT);
            }
        }
    });
}

#[test]
fn the_same_when_its_caller_has_ended() {
    isolated!(|| {
        for by in GUARDS {
            let (mut caller, tree) = stubborn().start_by_a_caller(by);
            let began = Instant::now();
            caller.kill().unwrap();
            dead::gone(tree.program, LIMIT);
            let took = began.elapsed();
            assert!(took >= GRACE, "{by:?}: {took:?}");
            assert!(took < GRACE * 10, "{by:?}: {took:?}");
            how(&mut caller, LIMIT);
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// Stopped or not: it is told to go on.
#[test]
fn a_program_that_ends_at_sigterm_is_not_waited_for_any_longer() {
    isolated!(|| {
        for by in GUARDS {
            for stopped in [false, true] {
                let mut stray = Stray::new(WAYS[2]);
                stray.grace = LIMIT * 10;
                let (mut caller, tree) = stray.start_by_a_caller(by);
                if stopped {
                    Watch::of(tree.program).signal(Signal::STOP);
                }
                caller.kill().unwrap();
                dead::gone(tree.program, LIMIT);
                how(&mut caller, LIMIT);
                Token::own().wait_none_left(LIMIT);
            }
        }
    });
}

#[test]
fn in_the_grace_period_a_program_cleans_up_and_has_its_own_status() {
    isolated!(|| {
        let script = "trap 'echo cleaning; exit 5' TERM; sleep 1000 & echo ready; wait";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut child = command.guard_tree_with_grace(LIMIT * 10).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        within(LIMIT, || stdout.read_line(&mut said)).unwrap();
        Watch::of(child.id()).signal(Signal::TERM);
        within(LIMIT, || stdout.read_line(&mut said)).unwrap();
        assert_eq!(said, "ready\ncleaning\n");
        assert_eq!(how(&mut child, LIMIT).code(), Some(5));
    });
}
