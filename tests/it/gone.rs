//! One rule for a message to somebody who is not there, whatever the sender knows of him.

use std::fs;
use std::time::Duration;

use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, stress};
use occasional::{
    Down, ExitReason, Pid, SendError, kill, monitor, receive, receive_timeout, self_pid, send,
    spawn, spawn_monitor,
};

use crate::gate::{Gate, Place};
use crate::sys;

fn is_told_that_there_is_none(to: Pid) {
    for _ in 0..stress::times(100) {
        match send(to, "hello".to_owned()) {
            Err(SendError::NoProcess { to: named }) => assert_eq!(named, to),
            other => panic!("{to}: {other:?}"),
        }
    }
    for result in [
        occasional::try_send(to, ()),
        occasional::send_timeout(to, (), LIMIT),
    ] {
        assert!(
            matches!(result, Err(SendError::NoProcess { .. })),
            "{result:?}"
        );
    }
}

fn nothing() {}

fn waits_for_ever() {
    let _ = receive::<()>();
}

fn to_the_dead() -> anyhow::Result<()> {
    let (dead, _) = spawn_monitor(nothing, ())?;
    receive::<Down>()?;
    is_told_that_there_is_none(dead);
    // And a second look says the same.
    monitor(dead)?;
    receive::<Down>()?;
    is_told_that_there_is_none(dead);
    Ok(())
}

/// OC-14
#[test]
fn a_process_reported_down_is_no_process() {
    in_a_system!(to_the_dead);
}

fn fails_with_it() -> anyhow::Result<()> {
    let (dead, _) = spawn_monitor(nothing, ())?;
    receive::<Down>()?;
    send(dead, ())?;
    Ok(())
}

/// OC-14
#[test]
fn a_function_that_gives_up_over_it_says_so_in_the_error_of_run() {
    bounded!(|| {
        let error = occasional::run(fails_with_it, ()).unwrap_err();
        assert!(
            error.to_string().contains("there is no process <0.2>"),
            "{error}"
        );
    });
}

fn to_names_of_nobody() -> anyhow::Result<()> {
    let me = self_pid();
    for nobody in [
        Pid {
            serial: 4_242,
            ..me
        },
        Pid {
            serial: u64::MAX,
            ..me
        },
        // The program that waits for `run` is no process.
        Pid { serial: 0, ..me },
        // Of a system that is not this one: of another machine, or of another time.
        Pid { node: 7, ..me },
        Pid {
            incarnation: me.incarnation.wrapping_add(1),
            ..me
        },
    ] {
        is_told_that_there_is_none(nobody);
    }
    send(me, "myself".to_owned())?;
    assert_eq!(receive::<String>()?, "myself");
    Ok(())
}

/// OC-15
#[test]
fn a_name_that_nobody_ever_had_is_no_process() {
    in_a_system!(to_names_of_nobody);
}

fn own_name() -> Pid {
    self_pid()
}

fn to_another_system() -> anyhow::Result<()> {
    let of_another: Pid = occasional::run(own_name, ())?;
    let system = occasional::start()?;
    let alive = self_pid();
    system.stop();
    is_told_that_there_is_none(of_another);
    is_told_that_there_is_none(alive);
    Ok(())
}

#[test]
fn a_process_of_another_system_is_no_process() {
    in_a_system!(to_another_system);
}

fn answer_once() -> anyhow::Result<()> {
    let from: Pid = receive()?;
    send(from, ())?;
    receive::<()>()?;
    Ok(())
}

fn with_a_connection() -> anyhow::Result<()> {
    // Known dead by a Down.
    let (dead, _) = spawn_monitor(answer_once, ())?;
    send(dead, self_pid())?;
    receive::<()>()?;
    kill(dead)?;
    receive::<Down>()?;
    is_told_that_there_is_none(dead);

    // Found dead on the way: what is sent while it dies is accepted, and then there is no process.
    for _ in 0..stress::times(100) {
        let dead = spawn(answer_once, ())?;
        send(dead, self_pid())?;
        receive::<()>()?;
        kill(dead)?;
        let error = loop {
            if let Err(error) = send(dead, 1_u8) {
                break error;
            }
        };
        assert!(
            matches!(error, SendError::NoProcess { to } if to == dead),
            "{error}"
        );
    }
    Ok(())
}

#[test]
fn a_dead_process_with_which_there_was_a_connection_is_no_process() {
    in_a_system!(with_a_connection);
}

fn without_a_connection() -> anyhow::Result<()> {
    for _ in 0..stress::times(100) {
        let (dying, _) = spawn_monitor(waits_for_ever, ())?;
        // Killed, and perhaps not dead yet: the answer is the truth at some moment in between.
        kill(dying)?;
        let result = send(dying, 1_u8);
        let told = matches!(&result, Ok(()) | Err(SendError::NoProcess { .. }));
        assert!(told, "{result:?}");
        receive::<Down>()?;
        let result = send(dying, 1_u8);
        assert!(
            matches!(result, Err(SendError::NoProcess { .. })),
            "{result:?}"
        );
    }
    Ok(())
}

#[test]
fn a_process_that_is_dying_is_there_or_is_not() {
    in_a_system!(without_a_connection);
}

/// Closes its inbox when the first gate opens, and lives until the second does.
fn close_inbox(gates: [String; 2], say: String, greet: Option<Pid>) -> anyhow::Result<()> {
    if let Some(whom) = greet {
        send(whom, "connected".to_owned())?;
    }
    let of_the_system: Vec<u32> = fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?))
        .collect::<anyhow::Result<_>>()?;
    let [first, second] = gates.map(|gate| Place::before(&gate));
    let say = Say::open(&say);
    say.line("ready");
    first.wait();
    for fd in of_the_system.into_iter().filter(|fd| *fd > 2) {
        // The directory, which was open while it was read, is closed, and has left its number to another.
        let target = fs::read_link(format!("/proc/self/fd/{fd}"));
        if target.is_ok_and(|target| !target.to_string_lossy().starts_with("pipe:")) {
            sys::close_range(fd, fd);
        }
    }
    say.line("closed");
    second.wait();
    sys::exit(7)
}

fn to_one_that_does_not_listen() -> anyhow::Result<()> {
    for connected in [true, false] {
        let (first, second) = (Gate::new(), Gate::new());
        let (ready, say) = Ready::new();
        let gates = [first.address(), second.address()];
        let greet = connected.then_some(self_pid());
        let (deaf, _) = spawn_monitor(close_inbox, (gates, say.address(), greet))?;
        assert_eq!(ready.line(LIMIT), "ready");
        if connected {
            assert_eq!(receive::<String>()?, "connected");
        }
        // The zygote, from which it was forked, has its descriptors too until it goes on to the next.
        spawn(nothing, ())?;
        drop(first);
        assert_eq!(ready.line(LIMIT), "closed");
        for _ in 0..stress::times(100) {
            match send(deaf, ()) {
                Err(SendError::NoInbox { to }) => assert_eq!(to, deaf),
                other => panic!("connected {connected}: {other:?}"),
            }
        }
        assert_eq!(
            receive_timeout::<Down>(Duration::ZERO)?.map(|down| down.pid),
            None,
            "it lives"
        );

        drop(second);
        let down: Down = receive()?;
        assert!(
            matches!(down.reason, ExitReason::Code(7)),
            "{:?}",
            down.reason
        );
        is_told_that_there_is_none(deaf);
    }
    Ok(())
}

#[test]
fn a_process_that_lives_and_has_closed_its_inbox_has_none() {
    in_a_system!(to_one_that_does_not_listen);
}
