//! Interrupts that somebody sends, and no terminal.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;

use occ_test_support::no_cores;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, dead, role, test_path};
use occasional::{Down, ExitReason, os_pid, receive, run, spawn, spawn_monitor};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::sys;

fn wait() {
    let _ = receive::<()>();
}

fn interrupts() -> anyhow::Result<()> {
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::QUIT, "SIGQUIT")] {
        let (child, _) = spawn_monitor(wait, ())?;
        let child = i32::try_from(os_pid(child)?.get())?;
        kill_process(Pid::from_raw(child).unwrap(), signal)?;
        let down: Down = receive()?;
        let ExitReason::Signal(told) = down.reason else {
            anyhow::bail!("{}", down.reason)
        };
        assert_eq!(told.name(), Some(name));
    }
    Ok(())
}

#[test]
fn a_process_that_is_sent_an_interrupt_ends_by_it() {
    bounded!(|| {
        no_cores();
        sys::take_every_signal();
        run(interrupts, ()).unwrap();
    });
}

fn say_and_wait(say: String) {
    Say::open(&say).ready();
    wait();
}

fn spawn_some(say: String) -> anyhow::Result<()> {
    for _ in 0..3 {
        spawn(say_and_wait, (say.clone(),))?;
    }
    wait();
    Ok(())
}

const SAY: &str = "OCC_SAY";

#[test]
fn role_spawns_some() {
    if role::is(test_path!()) {
        let _ = run(spawn_some, (std::env::var(SAY).unwrap(),));
    }
}

#[test]
fn an_interrupt_to_the_whole_group_ends_everything() {
    bounded!(|| {
        sys::take_every_signal();
        let (ready, say) = Ready::new();
        let token = Token::new();
        let mut host = role::command("signals::role_spawns_some");
        token.mark(&mut host);
        host.env(SAY, say.address())
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut host = host.spawn().unwrap();
        for _ in 0..3 {
            ready.wait(LIMIT);
        }
        kill_process_group(Pid::from_child(&host), Signal::INT).unwrap();
        assert_eq!(
            dead::how(&mut host, LIMIT).signal(),
            Some(Signal::INT.as_raw())
        );
        token.wait_none_left(LIMIT);
    });
}
