//! The calling process as a value that is passed on, in place of free functions that find it by themselves.
//!
//! `System` is the program's side of a running system, `Process` is whoever calls: here the program itself, and in
//! each worker the worker.
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;

use occ_core::{Down, ExitReason, Pid, Process, System, current};

/// What a worker does: answers questions, and ends on one that it does not like.
fn square(me: &mut Process) -> anyhow::Result<()> {
    loop {
        let (from, number): (Pid, i64) = me.receive()?;
        anyhow::ensure!(number >= 0, "{number} is negative");
        me.send(from, &(number * number))?;
    }
}

/// The first line of a worker: a process gets hold of itself once.
fn worker() -> anyhow::Result<()> {
    current::with(square)?
}

/// Asks a worker, and finds out why if there is no answer.
fn ask(
    me: &mut Process,
    worker: Pid,
    number: i64,
) -> Result<Result<i64, ExitReason>, Box<dyn Error>> {
    let monitor = me.monitor(worker)?;
    me.send(worker, &(me.self_pid(), number))?;
    let answer = me.inbox()?.receive_map(|message| {
        if let Some(down) = message.system::<Down>() {
            return (down.monitor == monitor).then(|| Err(down.reason.clone()));
        }
        message.decode::<i64>().ok().map(Ok)
    })?;
    me.demonitor(monitor)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut system = System::start()?;
    let me = system.process();
    let pid = me.spawn(worker, ())?;
    for number in [3, 12, -1] {
        match ask(me, pid, number)? {
            Ok(square) => println!("{number} * {number} = {square}"),
            Err(reason) => println!("{number} * {number}: {pid} {reason}"),
        }
    }
    assert!(me.send(pid, &1_i64).is_err(), "it has ended");
    system.stop();
    Ok(())
}
