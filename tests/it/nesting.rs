//! A system inside a process of another.

use occasional::{Pid, processes, receive, run, self_pid, send, spawn, start};

use crate::run::ask_echo;

fn run_inside() -> anyhow::Result<()> {
    let outer = self_pid();
    run(ask_echo, ())?;
    assert_eq!(self_pid(), outer);
    ask_echo()
}

/// OC-6
#[test]
fn a_process_runs_a_system_of_its_own() {
    in_a_system!(run_inside);
}

fn depth(left: u8) -> anyhow::Result<u8> {
    if left == 0 {
        Ok(1)
    } else {
        Ok(run(depth, (left - 1,))? + 1)
    }
}

#[test]
fn systems_nest_as_deep_as_one_likes() {
    bounded!(|| assert_eq!(run::<_, _, _, u8>(depth, (3,)).unwrap(), 4));
}

fn say(to: Pid, text: String) -> anyhow::Result<()> {
    send(to, text)?;
    Ok(())
}

fn start_inside() -> anyhow::Result<()> {
    let outer = self_pid();
    send(outer, "kept for later".to_owned())?;

    let system = start()?;
    let inner = self_pid();
    assert_ne!(inner, outer);
    assert_eq!(system.pid(), Some(inner));
    assert_eq!(processes()?.len(), 1, "of the inner system");
    // What is in the outer inbox is not in this one, and the outer system's names mean nothing here.
    assert!(occasional::receive_any_timeout(std::time::Duration::ZERO)?.is_none());
    assert!(matches!(
        send(outer, ()),
        Err(occasional::SendError::NoProcess { .. })
    ));
    spawn(say, (inner, "inner".to_owned()))?;
    assert_eq!(receive::<String>()?, "inner");
    system.stop();

    assert_eq!(self_pid(), outer);
    assert_eq!(receive::<String>()?, "kept for later");
    spawn(say, (outer, "outer".to_owned()))?;
    assert_eq!(receive::<String>()?, "outer");
    Ok(())
}

#[test]
fn a_system_started_in_a_process_shadows_the_outer_one_until_it_is_stopped() {
    in_a_system!(start_inside);
}

fn run_while_started() -> anyhow::Result<()> {
    let system = start()?;
    let me = self_pid();
    run(ask_echo, ())?;
    assert_eq!(self_pid(), me);
    system.stop();
    Ok(())
}

#[test]
fn a_program_that_has_started_a_system_can_run_another() {
    bounded!(|| run_while_started().unwrap());
}

#[test]
fn a_process_that_has_started_a_system_can_run_another() {
    in_a_system!(run_while_started);
}
