//! A plain fork, made behind the library's back, is no process of the system and does it no harm.

use std::time::Duration;

use occ_test_support::LIMIT;
use occ_test_support::lifeline::{Hold, Lifeline};
use occasional::{
    Down, ExitReason, Handle, Pid, ReceiveError, SendError, SpawnError, StartError, SystemError,
    receive, receive_any_timeout, self_pid, send, spawn, spawn_monitor, start,
};

use crate::gate::{Gate, Place};
use crate::run::ask_echo;
use crate::sys::Fork;

fn nothing() {}

/// Every free function, in a fork of a process. The status tells which was not refused.
fn everything_is_refused(pid: Pid, monitor: occasional::MonitorRef, handle: &Handle) -> i32 {
    let limit = Duration::ZERO;
    let spawns = [
        spawn(nothing, ()).map(drop),
        spawn_monitor(nothing, ()).map(drop),
    ];
    let asks = [
        occasional::monitor(pid).map(drop),
        occasional::demonitor(monitor),
        occasional::try_self_pid().map(drop),
        occasional::processes().map(drop),
        occasional::os_pid(pid).map(drop),
        occasional::kill(pid),
    ];
    let sends = [
        send(pid, 1_u8),
        occasional::try_send(pid, 1_u8),
        occasional::send_timeout(pid, 1_u8, limit),
        occasional::handle().map(drop),
        handle.send(pid, 1_u8),
        handle.try_send(pid, 1_u8),
        handle.send_timeout(pid, 1_u8, limit),
    ];
    let receives = [
        receive::<u8>().map(drop),
        occasional::receive_timeout::<u8>(limit).map(drop),
        occasional::receive_where::<u8>(|_| true).map(drop),
        occasional::receive_where_timeout::<u8>(limit, |_| true).map(drop),
        occasional::receive_any().map(drop),
        receive_any_timeout(limit).map(drop),
        occasional::receive_map(|_| Some(())),
        occasional::receive_map_timeout(limit, |_| Some(())).map(drop),
        occasional::flush().map(drop),
        occasional::make_ref().map(drop),
        occasional::since(monitor).receive::<u8>().map(drop),
        occasional::receive! { _: u8 => (), after limit => () },
    ];
    let forked = spawns
        .iter()
        .map(|refused| matches!(refused, Err(SpawnError::Forked)))
        .chain(
            asks.iter()
                .map(|refused| matches!(refused, Err(SystemError::Forked))),
        )
        .chain(
            sends
                .iter()
                .map(|refused| matches!(refused, Err(SendError::Forked))),
        )
        .chain(
            receives
                .iter()
                .map(|refused| matches!(refused, Err(ReceiveError::Forked))),
        )
        .collect::<Vec<_>>();
    forked
        .iter()
        .position(|refused| !refused)
        .map_or(0, |at| 10 + at as i32)
}

fn forks() -> anyhow::Result<()> {
    let me = self_pid();
    let monitor = occasional::monitor(spawn(nothing, ())?)?;
    send(me, "kept".to_owned())?;
    let handle = occasional::handle()?;
    let status = Fork::new(|| everything_is_refused(me, monitor, &handle)).wait();
    assert_eq!(status, 0, "call number {} was not refused", status - 10);
    // The fork has taken nothing, and its end was nobody's.
    assert_eq!(receive::<String>()?, "kept");
    receive::<Down>()?;
    ask_echo()?;
    assert!(receive_any_timeout(Duration::ZERO)?.is_none());
    Ok(())
}

#[test]
fn every_call_in_a_fork_of_a_process_is_refused() {
    in_a_system!(forks);
}

#[test]
fn every_call_in_a_fork_of_the_program_is_refused() {
    bounded!(|| {
        let system = start().unwrap();
        forks().unwrap();
        // It ends its copy of the system as it likes: that is not the system.
        let status = Fork::new(|| {
            let again = matches!(
                start(),
                Err(StartError::AlreadyStarted | StartError::Forked)
            );
            i32::from(!again)
        })
        .wait();
        assert_eq!(status, 0);
        ask_echo().unwrap();
        system.stop();
    });
}

#[test]
fn a_fork_that_drops_the_system_does_not_stop_it() {
    bounded!(|| {
        let mut system = Some(start().unwrap());
        let status = Fork::new(|| {
            drop(system.take());
            0
        })
        .wait();
        assert_eq!(status, 0);
        ask_echo().unwrap();
        drop(system);
    });
}

/// Ends a fork in each of the ways that end a process.
fn ends_a_fork(way: u32) -> Fork {
    Fork::new(|| match way {
        0 => occasional::exit("the fork's".to_owned()),
        1 => occasional::fail("the fork's".to_owned()),
        2 => std::process::exit(0),
        _ => panic!("the fork's"),
    })
}

fn forks_end() -> anyhow::Result<String> {
    for (way, expected) in [0, 1, 0, 101].into_iter().enumerate() {
        assert_eq!(
            ends_a_fork(u32::try_from(way)?).wait(),
            expected,
            "way {way}"
        );
    }
    ask_echo()?;
    Ok("its own".to_owned())
}

fn sees_forks_end() -> anyhow::Result<()> {
    spawn_monitor(forks_end, ())?;
    let down: Down = receive()?;
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert_eq!(value.get::<String>()?, "its own");
    Ok(())
}

#[test]
fn the_end_of_a_fork_is_not_the_end_of_its_process() {
    in_a_system!(sees_forks_end);
}

/// Its fork holds every descriptor of it.
fn leave_a_fork(gate: String, hold: String) -> String {
    let place = Place::before(&gate);
    let hold = Hold::open(&hold);
    let _orphan = Fork::new(|| {
        hold.for_life();
        place.wait();
        0
    });
    "its value".to_owned()
}

fn outlived_by_a_fork() -> anyhow::Result<()> {
    let gate = Gate::new();
    let (lifeline, hold) = Lifeline::new();
    let (child, _) = spawn_monitor(leave_a_fork, (gate.address(), hold.address()))?;
    let down: Down = receive()?;
    drop(hold);
    assert_eq!(down.pid, child);
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert_eq!(value.get::<String>()?, "its value");
    // What it left goes with it, and waits for nobody.
    lifeline.wait_dead(LIMIT);
    assert!(matches!(send(child, ()), Err(SendError::NoProcess { .. })));
    drop(gate);
    ask_echo()
}

#[test]
fn a_process_that_ends_while_its_fork_holds_every_descriptor_has_ended() {
    in_a_system!(outlived_by_a_fork);
}
