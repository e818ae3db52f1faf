//! What the commands check holds, in a few processes; and they leave nothing.

use std::collections::BTreeSet;
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
fn in_chaos_everybody_is_told_rightly_and_once_and_nothing_is_left() {
    isolated!(|| {
        let output = run("chaos 500 1");
        let lines = lines(&output);
        let all = lines.iter().find(|line| line.starts_with("all "));
        let all: Vec<u64> = all
            .unwrap()
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [deaths, reports, faults @ ..] = &all[..] else {
            panic!("{lines:?}")
        };
        // The watchers die as well; and each of the 500 is told to the one who made it, if to nobody else.
        assert!(*deaths > 500 && reports >= deaths, "{lines:?}");
        assert_eq!(faults, [0; 4], "{lines:?}");
        let left = "left: 0 processes, 0 descriptors of the host, 0 of the coordinator; ";
        assert!(lines.last().unwrap().starts_with(left), "{lines:?}");
    });
}

#[test]
fn a_seed_is_a_plan_and_another_seed_is_another() {
    isolated!(|| {
        let plan = |seed| {
            let output = run(&format!("chaos 20 {seed} --under-way 5"));
            lines(&output)[0].replace(&format!("seed {seed}"), "")
        };
        let plans: BTreeSet<String> = [7, 7, 8].map(plan).into();
        assert_eq!(plans.len(), 2, "{plans:?}");
    });
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
fn what_a_backtrace_costs_is_told_and_nothing_is_left() {
    isolated!(|| {
        let output = run("backtrace 2 --quick");
        let lines = lines(&output);
        let kinds = ["panics", "fails", "fails, and has a thread"];
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (kind, line) in kinds.iter().zip(&lines) {
            let begin = format!("backtrace: one that {kind}: ");
            assert!(line.starts_with(&begin), "{lines:?}");
        }
        assert!(lines[3].ends_with("; nothing is left"), "{lines:?}");
    });
}

#[test]
fn where_all_send_to_all_before_they_receive_everything_comes_once_and_in_order() {
    isolated!(|| {
        let output = run("mesh 5");
        let lines = lines(&output);
        // Eight to each of four others, and to either neighbour more than the kernel holds.
        let messages = |line: &str, who: &str| -> u64 {
            let rest = line.strip_prefix(who).unwrap_or_else(|| panic!("{line}"));
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        assert!(messages(lines[0], "mesh: 5 processes, each to each: ") > 5 * 4 * 8 + 5 * 2);
        assert_eq!(messages(lines[1], "mesh: 50 processes to one: "), 50 * 20);
        let none =
            "mesh: 0 torn, 0 lost, 0 doubled, 0 out of order, 0 that nobody sent; nothing is left";
        assert_eq!(lines[2..], [none], "{lines:?}");
    });
}

#[test]
fn what_a_sender_was_told_is_sent_is_received_whoever_is_killed_meanwhile() {
    isolated!(|| {
        let output = run("torture 1 --messages 20000");
        let lines = lines(&output);
        let numbers = |line: &str| -> Vec<u64> {
            line.split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let [messages, _, senders, interrupted, by_handle, ..] = numbers(lines[1])[..] else {
            panic!("{lines:?}")
        };
        // Eight at a time, all of which are killed at last; and each waits for room most of its time.
        assert!(
            messages >= 20_000 && senders >= 8 && interrupted > 0,
            "{lines:?}"
        );
        assert!((1..messages).contains(&by_handle), "{lines:?}");
        let [descriptors, parcels, thrown_away, unread] = numbers(lines[2])[..] else {
            panic!("{lines:?}")
        };
        // A fortieth of the messages has some at the least, and each of those has two.
        assert!(
            parcels >= messages / 40 && descriptors >= 2 * parcels,
            "{lines:?}"
        );
        // Eight senders leave something to each of two receivers.
        assert!(thrown_away > 0 && unread >= 16, "{lines:?}");
        let nothing = [
            "torture: messages: 0 torn, 0 lost, 0 doubled, 0 out of order, 0 that nobody sent",
            "torture: ends: 0 told wrongly, 0 twice, 0 not at all",
            "torture: descriptors: 0 wrong; left: 0 of the receivers, 0 of the host, 0 of the coordinator, of 0 dead senders somewhere",
        ];
        assert_eq!(lines[3..], nothing, "{lines:?}");
    });
}

#[test]
fn mutated_traffic_is_taken_or_refused_and_nothing_is_found() {
    isolated!(|| {
        let output = run("fuzz 1 1");
        let lines = lines(&output);
        let targets = ["decoders", "peer", "streams", "control"];
        assert_eq!(lines.len(), targets.len(), "{lines:?}");
        for (line, target) in lines.iter().zip(targets) {
            let inputs = line.strip_prefix(&format!("fuzz: {target}: ")).unwrap();
            assert!(inputs.split(' ').next().unwrap().parse::<u64>().unwrap() > 0);
            assert!(line.ends_with("; nothing found"), "{lines:?}");
        }
    });
}

/// A backtrace weighs, and takes its time: the commands begin anew without.
#[test]
fn backtraces_are_off_whatever_the_environment_says() {
    isolated!(|| {
        let mut with = command("chaos 20 1");
        with.env("RUST_BACKTRACE", "1");
        let output = within(LIMIT, move || with.output().unwrap());
        assert!(lines(&output)[0].starts_with("chaos: 20 processes, seed 1, plan "));
    });
}

#[test]
fn what_has_no_room_is_told_before_anything_is_made() {
    for line in [
        "hold 1000000000000",
        "teardown 1000000000000",
        "mesh 100000000000",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("1000000000000 processes need"), "{told}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_command_without_its_numbers_is_an_error_that_says_how_it_is_used() {
    for line in [
        "hold",
        "hold many",
        "teardown 1 2",
        "chaos 5",
        "backtrace",
        "backtrace 0",
        "mesh",
        "mesh 0",
        "fuzz 1",
        "fuzz 0 1",
        "torture",
        "torture 1 --messages 0",
        "chaos 5 1 --under-way 0",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.contains("chaos N SEED [--under-way W]"), "{told}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}
