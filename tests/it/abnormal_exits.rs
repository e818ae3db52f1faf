//! Abnormal exits that nobody watches: one line each on the host's stderr, and nothing else.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

use occ_test_support::{LIMIT, dead, role, stress, test_path};
use occasional::{
    Down, ExitReason, Pid, SystemBuilder, kill, processes, receive, run, self_pid, send, spawn,
    spawn_monitor, start_with,
};

use crate::gate::{Gate, Place};

const GATE: &str = "OCC_GATE";

/// Starts the program `path` with its stderr on a pipe.
fn start(path: &str, gate: Option<&Gate>) -> Child {
    let mut role = role::command(path);
    if let Some(gate) = gate {
        role.env(GATE, gate.address());
    }
    role.env_remove("RUST_BACKTRACE")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn fail() -> anyhow::Result<()> {
    anyhow::bail!("on purpose")
}

fn leave() {
    std::process::exit(0)
}

fn outlives_a_failure(gate: String) -> anyhow::Result<String> {
    let place = Place::before(&gate);
    // A normal end is nobody's news, and what is watched is its watcher's.
    spawn(leave, ())?;
    spawn_monitor(fail, ())?;
    receive::<Down>()?;
    spawn(fail, ())?;
    place.wait();
    Ok("all is well".to_owned())
}

#[test]
fn role_outlives_a_failure() {
    if role::is(test_path!()) {
        let value: String = run(outlives_a_failure, (std::env::var(GATE).unwrap(),)).unwrap();
        assert_eq!(value, "all is well");
    }
}

/// OC-23
#[test]
fn an_error_that_nobody_watches_is_one_line_on_the_hosts_stderr() {
    bounded!(|| {
        let gate = Gate::new();
        let mut role = start("abnormal_exits::role_outlives_a_failure", Some(&gate));
        let mut stderr = BufReader::new(role.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        // The name of the function is a path, and its pid a number.
        let (before, after) = line
            .split_once("abnormal_exits::fail <0.4> (pid ")
            .expect(&line);
        assert!(before.starts_with("occasional: "), "{line}");
        let (pid, rest) = after.split_once(") ").expect(&line);
        assert!(pid.parse::<u32>().is_ok(), "{line}");
        assert!(rest.starts_with("failed: on purpose after 0."), "{line}");
        assert!(rest.ends_with(" MiB\n"), "{line}");

        drop(gate);
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "that is all");
        assert!(dead::how(&mut role, LIMIT).success());
    });
}

/// Fails as soon as anything that it uses is no more.
fn depend_on(peer: Pid) -> anyhow::Result<()> {
    loop {
        send(peer, self_pid())?;
        let answer: u8 = receive()?;
        anyhow::ensure!(answer == 1);
    }
}

fn end_amid_others() -> anyhow::Result<()> {
    for _ in 0..5 {
        spawn(depend_on, (self_pid(),))?;
    }
    for _ in 0..50 {
        let asker: Pid = receive()?;
        send(asker, 1_u8)?;
    }
    Ok(())
}

#[test]
fn role_ends_amid_others() {
    if role::is(test_path!()) {
        for _ in 0..stress::times(20) {
            run(end_amid_others, ()).unwrap();
        }
    }
}

/// OC-24
#[test]
fn processes_that_are_killed_at_the_end_make_no_noise() {
    bounded!(|| {
        let role = start("abnormal_exits::role_ends_amid_others", None);
        let output = role.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    });
}

fn fail_when_told() -> anyhow::Result<()> {
    receive::<()>()?;
    fail()
}

fn end_with_a_failing_child() -> anyhow::Result<()> {
    let child = spawn(fail_when_told, ())?;
    send(child, ())?;
    Ok(())
}

#[test]
fn role_ends_with_a_failing_child() {
    if role::is(test_path!()) {
        for _ in 0..stress::times(50) {
            run(end_with_a_failing_child, ()).unwrap();
        }
    }
}

/// OC-24
#[test]
fn a_process_that_fails_while_all_ends_is_told_as_what_it_is_or_not_at_all() {
    bounded!(|| {
        let role = start("abnormal_exits::role_ends_with_a_failing_child", None);
        let output = role.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            let whole = line.starts_with("occasional: ")
                && line.contains(" <0.2> (pid ")
                && line.contains(": on purpose after 0.");
            assert!(whole, "{line}");
        }
    });
}

fn wait() {
    let _ = receive::<()>();
}

#[test]
fn what_is_done_with_an_unwatched_end_can_be_replaced() {
    bounded!(|| {
        let (tell, told) = channel();
        let builder = SystemBuilder::new().on_abnormal_exit(move |exit| {
            let error = matches!(exit.reason, ExitReason::Error(_));
            let report = (
                exit.report.os_pid,
                exit.report.status.and_then(|status| status.code()),
            );
            tell.send((
                exit.pid,
                exit.function.clone(),
                error,
                report,
                exit.to_string(),
            ))
            .unwrap();
        });
        let system = start_with(builder).unwrap();

        let child = spawn(fail_when_told, ()).unwrap();
        let os_pid = occasional::os_pid(child).unwrap();
        send(child, ()).unwrap();
        let (pid, function, error, report, text) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!((pid, error, report), (child, true, (Some(os_pid), Some(1))));
        assert!(
            function.ends_with("abnormal_exits::fail_when_told"),
            "{function}"
        );
        assert!(text.contains(") failed: on purpose after 0."), "{text}");

        // A signal is abnormal, also one that the user sent.
        let child = spawn(wait, ()).unwrap();
        kill(child).unwrap();
        let (pid, .., text) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!(pid, child);
        let by = ") killed by <0.1>: kill was called [certain: we sent it] after 0.";
        assert!(text.contains(by), "{text}");

        // The end of everything is not.
        spawn(wait, ()).unwrap();
        assert_eq!(processes().unwrap().len(), 2);
        system.stop();
        assert!(
            told.recv().is_err(),
            "and the reporter is gone with the system"
        );
    });
}
