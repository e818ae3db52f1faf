//! Other threads of a process send as it.

use std::sync::Barrier;
use std::thread;

use occasional::{
    Down, ExitReason, Handle, Pid, SendError, handle, receive, self_pid, send, spawn,
    spawn_monitor, start,
};

use crate::gate::{Gate, Place};
use crate::run::ask_echo;

/// Its first thread waits for something else than messages while another sends.
fn reports_from_a_thread(to: Pid, gate: String) -> anyhow::Result<()> {
    let (place, handle) = (Place::before(&gate), handle()?);
    thread::spawn(move || {
        for number in 0..100_u32 {
            handle.send(to, number).unwrap();
        }
    });
    place.wait();
    Ok(())
}

#[test]
fn a_thread_sends_while_its_process_does_something_else() {
    in_a_system!(|| -> anyhow::Result<()> {
        let gate = Gate::new();
        let (worker, _) = spawn_monitor(reports_from_a_thread, (self_pid(), gate.address()))?;
        for number in 0..100_u32 {
            assert_eq!(receive::<u32>()?, number);
        }
        // It has not ended: nobody has opened.
        drop(gate);
        let down: Down = receive()?;
        assert_eq!(down.pid, worker);
        assert!(!down.reason.is_abnormal(), "{}", down.reason);
        Ok(())
    });
}

fn echo_once() -> anyhow::Result<()> {
    let (from, number): (Pid, u32) = receive()?;
    Ok(send(from, number)?)
}

/// All threads make their first connections at the same time, while the process spawns and receives.
#[test]
fn threads_connect_while_their_process_asks_for_other_things() {
    const THREADS: u32 = 8;
    in_a_system!(|| -> anyhow::Result<()> {
        let me = self_pid();
        for _ in 0..10 {
            let handle = handle()?;
            let mut echoes = Vec::new();
            for _ in 0..THREADS {
                echoes.push(spawn(echo_once, ())?);
            }
            let start = Barrier::new(THREADS as usize + 1);
            thread::scope(|scope| -> anyhow::Result<()> {
                for (number, echo) in (0..THREADS).zip(&echoes) {
                    let (handle, start) = (&handle, &start);
                    scope.spawn(move || {
                        start.wait();
                        handle.send(*echo, (me, number)).unwrap();
                    });
                }
                start.wait();
                for _ in 0..5 {
                    ask_echo()?;
                }
                let mut numbers = Vec::new();
                for _ in 0..THREADS {
                    numbers.push(receive::<u32>()?);
                }
                numbers.sort_unstable();
                assert_eq!(numbers, (0..THREADS).collect::<Vec<_>>());
                Ok(())
            })?;
        }
        Ok(())
    });
}

fn floods_from_a_thread(to: Pid) -> anyhow::Result<()> {
    let handle = handle()?;
    let (begun, begin) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for number in 0_u64.. {
            handle.send(to, number).unwrap();
            let _ = begun.send(());
        }
    });
    begin.recv()?;
    Ok(())
}

#[test]
fn what_a_thread_sent_before_its_process_ended_comes_before_the_end() {
    in_a_system!(|| -> anyhow::Result<()> {
        let (flood, _) = spawn_monitor(floods_from_a_thread, (self_pid(),))?;
        let down: Down = receive()?;
        assert_eq!(down.pid, flood);
        assert!(
            matches!(down.reason, ExitReason::Value(_)),
            "{}",
            down.reason
        );
        let mut next = 0;
        while let Some(number) = occasional::receive_timeout::<u64>(std::time::Duration::ZERO)? {
            assert_eq!(number, next);
            next += 1;
        }
        assert!(next > 0);
        Ok(())
    });
}

#[test]
fn a_handle_outlives_its_system_as_an_error() {
    bounded!(|| {
        let outlived: Handle = {
            let _system = start().unwrap();
            let handle = handle().unwrap();
            assert_eq!(handle.pid(), self_pid());
            handle.send(self_pid(), 1_u8).unwrap();
            assert_eq!(receive::<u8>().unwrap(), 1);
            handle
        };
        let error = outlived.send(outlived.pid(), 1_u8).unwrap_err();
        assert!(matches!(error, SendError::SystemDown), "{error}");
        // The control: a new system has a handle that works.
        let _system = start().unwrap();
        let handle = handle().unwrap();
        handle.send(self_pid(), 2_u8).unwrap();
        assert_eq!(receive::<u8>().unwrap(), 2);
        let error = outlived.send(self_pid(), 3_u8).unwrap_err();
        assert!(matches!(error, SendError::SystemDown), "{error}");
    });
}

#[test]
fn a_thread_without_a_handle_belongs_to_no_system() {
    bounded!(|| {
        let _system = start().unwrap();
        let me = self_pid();
        thread::scope(|scope| {
            scope.spawn(|| {
                let error = send(me, 1_u8).unwrap_err();
                assert!(matches!(error, SendError::NotStarted), "{error}");
                let error = handle().unwrap_err();
                assert!(matches!(error, SendError::NotStarted), "{error}");
            });
        });
    });
}
