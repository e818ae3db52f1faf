//! What the commands check holds, in a few processes; and they leave nothing.

use std::process::{Command, Output};
use std::time::Duration;

use occ_test_support::{isolated, within};

/// Half a thousand processes are made and end, by a program that was not optimised.
const LIMIT: Duration = Duration::from_secs(120);

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_occ-bench"));
    command.args(line.split(' '));
    command
}

fn run(line: &str) -> Output {
    let mut command = command(line);
    within(LIMIT, move || command.output().unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What one that succeeds printed.
fn lines(output: &Output) -> Vec<&str> {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().collect()
}

#[test]
fn those_who_are_held_live_and_one_too_many_is_told_of_open_files() {
    isolated!(|| {
        let output = run("hold 50 --quick");
        let lines = lines(&output);
        for expected in [
            "hold: 50 processes under a limit of 250 open files",
            "hold: all of the first live",
            "hold: one is ended, and one more can be spawned",
            "hold: nothing is left",
        ] {
            assert!(lines.contains(&expected), "{lines:?}");
        }
        let full = |line: &&&str| line.contains("more: the system has room for 188 processes");
        assert_eq!(lines.iter().filter(full).count(), 1, "{lines:?}");
    });
}

#[test]
fn when_the_coordinator_is_killed_nothing_is_left_of_its_processes() {
    isolated!(|| {
        let output = run("teardown 50 --quick");
        let lines = lines(&output);
        let last = lines.last().unwrap();
        assert!(last.starts_with("teardown: 50 processes: "), "{lines:?}");
        assert!(last.ends_with("; nothing is left"), "{lines:?}");
    });
}

#[test]
fn what_has_no_room_is_told_before_anything_is_made() {
    for line in ["hold 1000000000000", "teardown 1000000000000"] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("1000000000000 processes need"), "{told}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_command_without_its_numbers_is_an_error_that_says_how_it_is_used() {
    for line in ["hold", "hold many", "teardown 1 2"] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("teardown N"), "{told}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}
