//! Ends of which only the kernel tells: codes, signals, and no process at all.

use occ_test_support::no_cores;
use std::fs;

use occasional::{Down, ExitReason, Pid, monitor, receive, run, self_pid, spawn_monitor};
use rustix::process::{Resource, Signal, getpid, kill_process, setrlimit};

use crate::exit_reasons::reason;
use crate::sys;

fn end_with(code: i32, at_once: bool) {
    if at_once {
        sys::exit(code);
    }
    std::process::exit(code)
}

fn of_codes() -> anyhow::Result<()> {
    // Also those that an error and a panic leave: without a report, they are what they are.
    for code in [0, 1, 2, 101, 255] {
        for at_once in [false, true] {
            spawn_monitor(end_with, (code, at_once))?;
            let reason = reason()?;
            assert!(
                matches!(reason, ExitReason::Code(seen) if seen == code),
                "{reason:?}"
            );
            assert_eq!(reason.to_string(), format!("exited with code {code}"));
        }
    }
    Ok(())
}

#[test]
fn an_end_without_a_word_is_its_code() {
    in_a_system!(of_codes);
}

fn signal_itself(number: i32) {
    kill_process(getpid(), Signal::from_named_raw(number).unwrap()).unwrap();
    panic!("it survived signal {number}");
}

fn of_signals() -> anyhow::Result<()> {
    for (signal, name, description) in [
        (Signal::TERM, "SIGTERM", "Terminated"),
        (Signal::KILL, "SIGKILL", "Killed"),
        (Signal::HUP, "SIGHUP", "Hangup"),
        (Signal::INT, "SIGINT", "Interrupt"),
        (Signal::QUIT, "SIGQUIT", "Quit"),
        (Signal::SEGV, "SIGSEGV", "Segmentation fault"),
        (Signal::ABORT, "SIGABRT", "Aborted"),
        (Signal::BUS, "SIGBUS", "Bus error"),
        (Signal::USR1, "SIGUSR1", "User defined signal 1"),
        (Signal::ALARM, "SIGALRM", "Alarm clock"),
    ] {
        spawn_monitor(signal_itself, (signal.as_raw(),))?;
        let reason = reason()?;
        let ExitReason::Signal(told) = reason else {
            anyhow::bail!("{name}: {reason}")
        };
        assert_eq!(told.number(), signal.as_raw());
        assert_eq!(
            (told.name(), told.description()),
            (Some(name), Some(description))
        );
        assert!(!told.core_dumped(), "{name}: the limit is 0");
        assert_eq!(reason.to_string(), format!("was killed by {name}"));
    }
    Ok(())
}

#[test]
fn a_signal_is_told_by_number_and_name() {
    bounded!(|| {
        no_cores();
        sys::take_every_signal();
        run(of_signals, ()).unwrap();
    });
}

fn abort() {
    std::process::abort()
}

fn overflow(depth: u64) -> u64 {
    let mut on_the_stack = [depth; 1024];
    std::hint::black_box(&mut on_the_stack);
    if depth == u64::MAX {
        0
    } else {
        overflow(depth + 1) + on_the_stack[7]
    }
}

fn of_real_faults() -> anyhow::Result<()> {
    spawn_monitor(abort, ())?;
    let ExitReason::Signal(signal) = reason()? else {
        anyhow::bail!("no signal")
    };
    assert_eq!(signal.name(), Some("SIGABRT"));

    spawn_monitor(overflow, (0,))?;
    let ExitReason::Signal(signal) = reason()? else {
        anyhow::bail!("no signal")
    };
    assert_eq!(signal.name(), Some("SIGABRT"), "as std does");
    Ok(())
}

#[test]
fn an_abort_and_an_overflowing_stack_are_sigabrt() {
    bounded!(|| {
        no_cores();
        run(of_real_faults, ()).unwrap();
    });
}

fn dump_core(folder: String) -> anyhow::Result<()> {
    // The kernel writes the file into the working directory.
    std::env::set_current_dir(folder)?;
    kill_process(getpid(), Signal::QUIT)?;
    Ok(())
}

fn of_a_core(folder: String) -> anyhow::Result<()> {
    spawn_monitor(dump_core, (folder.clone(),))?;
    let reason = reason()?;
    let ExitReason::Signal(signal) = reason else {
        anyhow::bail!("{reason}")
    };
    let dumped = fs::read_dir(&folder)?.count() == 1;
    assert_eq!(
        (signal.name(), signal.core_dumped()),
        (Some("SIGQUIT"), dumped)
    );
    if dumped {
        assert_eq!(reason.to_string(), "was killed by SIGQUIT (core dumped)");
    }
    Ok(())
}

#[test]
fn a_core_that_was_dumped_is_told() {
    bounded!(|| {
        sys::take_every_signal();
        // Handed to a program, or written elsewhere: nobody here knows what became of it.
        if fs::read_to_string("/proc/sys/kernel/core_pattern")
            .unwrap()
            .contains(['|', '/'])
        {
            return;
        }
        let mut limit = rustix::process::getrlimit(Resource::Core);
        limit.current = limit.maximum;
        setrlimit(Resource::Core, limit).unwrap();
        let folder = format!(
            "{}/core-{}",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        fs::create_dir(&folder).unwrap();
        let result = run(of_a_core, (folder.clone(),));
        fs::remove_dir_all(&folder).unwrap();
        result.unwrap();
    });
}

fn of_nobody() -> anyhow::Result<()> {
    monitor(Pid {
        serial: 99,
        ..self_pid()
    })?;
    let down: Down = receive()?;
    assert!(
        matches!(down.reason, ExitReason::NoProcess),
        "{:?}",
        down.reason
    );
    assert!(down.report.status.is_none() && down.report.os_pid.is_none());
    Ok(())
}

#[test]
fn a_process_that_never_was_is_told_as_that() {
    in_a_system!(of_nobody);
}

fn report_and_then_die() -> anyhow::Result<()> {
    // A thread that kills while the value is handed over: the kernel has the last word.
    std::thread::spawn(|| kill_process(getpid(), Signal::KILL))
        .join()
        .unwrap()?;
    Ok(())
}

fn of_both() -> anyhow::Result<()> {
    spawn_monitor(report_and_then_die, ())?;
    let reason = reason()?;
    assert!(matches!(reason, ExitReason::Signal(_)), "{reason}");
    Ok(())
}

#[test]
fn a_signal_beats_a_value() {
    in_a_system!(of_both);
}
