//! Signals that are sent to the front come to the program.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use occ_test_support::dead::{Watch, how};
use occ_test_support::{LIMIT, Signal, isolated, within};
use occ_yeshup::CommandExt;

use super::strays::{By, GUARDS, yeshup};

/// Says what comes, until it is killed.
const TELLS: &str = "for one in HUP INT QUIT USR1 USR2 ALRM WINCH TERM CONT; do trap \"echo $one\" $one; done; \
                     sleep 1000 & echo ready; while :; do wait; done";

fn start(by: By, script: &str) -> (Child, BufReader<ChildStdout>) {
    // More than any of these tests takes.
    let grace = Duration::from_secs(600);
    let mut command = match by {
        By::Yeshup => {
            let mut yeshup = yeshup();
            yeshup.args(["--grace", "10m", "sh", "-c", script]);
            yeshup
        }
        _ => {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).guard_tree_with_grace(grace);
            shell
        }
    };
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    (child, stdout)
}

fn line(from: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    within(LIMIT, || from.read_line(&mut line)).unwrap();
    line.trim_end().to_owned()
}

fn send(child: &Child, signal: Signal) {
    Watch::of(child.id()).signal(signal);
}

#[test]
fn whatever_signal_comes_to_the_front_is_passed_on_once() {
    isolated!(|| {
        for by in GUARDS {
            let (mut child, mut stdout) = start(by, TELLS);
            assert_eq!(line(&mut stdout), "ready");
            for (signal, name) in [
                (Signal::HUP, "HUP"),
                (Signal::INT, "INT"),
                (Signal::QUIT, "QUIT"),
                (Signal::USR1, "USR1"),
                (Signal::USR2, "USR2"),
                (Signal::ALARM, "ALRM"),
                (Signal::WINCH, "WINCH"),
                (Signal::CONT, "CONT"),
                // Twice: it begins the grace period, and in that it is passed on as well.
                (Signal::TERM, "TERM"),
                (Signal::TERM, "TERM"),
                (Signal::INT, "INT"),
            ] {
                send(&child, signal);
                assert_eq!(line(&mut stdout), name, "{by:?}");
            }
            child.kill().unwrap();
            how(&mut child, LIMIT);
            let mut rest = Vec::new();
            within(LIMIT, || std::io::Read::read_to_end(&mut stdout, &mut rest)).unwrap();
            assert_eq!(rest, b"", "{by:?}");
        }
    });
}

#[test]
fn a_program_without_a_handler_ends_by_the_signal() {
    isolated!(|| {
        for (by, code) in [(By::Command, None), (By::Yeshup, Some(128 + 1))] {
            let (mut child, mut stdout) = start(by, "echo ready; exec sleep 1000");
            assert_eq!(line(&mut stdout), "ready");
            send(&child, Signal::HUP);
            assert_eq!(how(&mut child, LIMIT).code(), code);
        }
    });
}

/// As under nohup(1).
#[test]
fn a_signal_that_was_ignored_stays_so() {
    isolated!(|| {
        let script = "trap '' HUP; exec \"$0\" sh -c 'trap \"echo USR1\" USR1; sleep 1000 & \
                      echo ready; while :; do wait; done'";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(env!("CARGO_BIN_EXE_yeshup"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(line(&mut stdout), "ready");
        send(&child, Signal::HUP);
        send(&child, Signal::USR1);
        // The one that came later is heard, so the other was not its end.
        assert_eq!(line(&mut stdout), "USR1");
        child.kill().unwrap();
        how(&mut child, LIMIT);
    });
}
