//! Systems side by side in one program: eight tests that each start one, as the harness runs them, and all at the
//! same time.

use std::process::Command;
use std::sync::Barrier;

use occasional::{Down, ExitReason, Pid, receive, self_pid, send, spawn_monitor, start};

/// Set where all eight are to wait for each other.
const TOGETHER: &str = "OCC_TOGETHER";

static ALL: Barrier = Barrier::new(8);

fn double(to: Pid) -> anyhow::Result<u32> {
    let number: u32 = receive()?;
    send(to, number * 2)?;
    Ok(number)
}

fn one_of_eight(number: u32) {
    let together = || {
        if std::env::var_os(TOGETHER).is_some() {
            ALL.wait();
        }
    };
    together();
    let system = start().unwrap();
    together();
    for round in 0..20 {
        let (child, _) = spawn_monitor(double, (self_pid(),)).unwrap();
        send(child, number * 100 + round).unwrap();
        assert_eq!(receive::<u32>().unwrap(), (number * 100 + round) * 2);
        let ExitReason::Value(value) = receive::<Down>().unwrap().reason else {
            panic!()
        };
        assert_eq!(value.get::<u32>().unwrap(), number * 100 + round);
    }
    together();
    system.stop();
    assert!(occasional::processes().is_err());
}

mod eight {
    #[test]
    fn one() {
        super::one_of_eight(1);
    }

    #[test]
    fn two() {
        super::one_of_eight(2);
    }

    #[test]
    fn three() {
        super::one_of_eight(3);
    }

    #[test]
    fn four() {
        super::one_of_eight(4);
    }

    #[test]
    fn five() {
        super::one_of_eight(5);
    }

    #[test]
    fn six() {
        super::one_of_eight(6);
    }

    #[test]
    fn seven() {
        super::one_of_eight(7);
    }

    #[test]
    fn eight() {
        super::one_of_eight(8);
    }
}

#[test]
fn eight_tests_that_run_at_the_same_time_each_have_a_system() {
    bounded!(|| {
        let mut tests = Command::new("/proc/self/exe");
        tests.args(["parallel::eight::", "--test-threads=8", "--nocapture"]);
        let output = tests.env(TOGETHER, "yes").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains("8 passed"),
            "{output:?}"
        );
    });
}
