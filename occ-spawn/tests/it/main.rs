//! Behaviour of occ-spawn, one module a subject.
#![cfg(test)]

mod arguments;
mod backtraces;
mod built;
mod compile_fail;
mod descriptors;
mod errors;
mod exes;
mod fds_in_values;
mod hosts;
mod in_flight;
mod initialisers;
mod inside;
mod limits;
mod options;
mod output;
mod panics;
mod parent_dies;
mod raw;
mod refusals;
mod signals;
mod values;
mod waiting;
mod zygote_dies;

use occ_sck::{Channel, Limits, Socket, Term};
use occ_spawn::{Arguments, Child, Exit, ExitReason, Function, OsPid, Outcome, Spawner};
use occ_test_support::within;
use rustix::process::{Pid, Signal, kill_process};

/// Runs a function as a process of a spawner of its own.
fn run<F, A, K>(function: F, args: A) -> Exit
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    let spawner = Spawner::new().unwrap();
    end_of(&mut spawner.spawn(function, args).unwrap())
}

/// Waits for the end of `child`, for a while that no healthy test comes near.
fn end_of(child: &mut Child) -> Exit {
    within(occ_test_support::LIMIT, || child.wait().unwrap())
}

/// The value that a process ended with.
#[track_caller]
fn value<T: Term>(exit: &Exit) -> T {
    let ExitReason::Value(value) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!(exit.report.status.unwrap().code(), Some(0));
    value.get().unwrap()
}

/// The code that a process ended with, without a word.
#[track_caller]
fn code(exit: &Exit) -> i32 {
    let ExitReason::Code(code) = exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!(exit.report.status.unwrap().code(), Some(code));
    code
}

/// The number of the signal that ended a process.
#[track_caller]
fn signal(exit: &Exit) -> i32 {
    let ExitReason::Signal(signal) = exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!(exit.report.status.unwrap().signal(), Some(signal));
    signal.number()
}

fn send(os_pid: OsPid, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(os_pid.get()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The function of a process that stays.
fn stay() {
    raw::stay()
}

/// The function of a process that answers: alive, for as long as the test is.
fn echo(socket: Socket) -> anyhow::Result<()> {
    let mut channel = Channel::new(socket, Limits::default());
    while let Some(number) = channel.receive::<u64>()? {
        channel.send(&number)?;
    }
    Ok(())
}

/// A process that answers.
struct Echo {
    child: Child,
    channel: Channel,
}

impl Echo {
    fn new(spawner: &Spawner) -> Echo {
        let (child, socket) = spawner.spawn_with_socket(echo, ()).unwrap();
        let mut echo = Echo {
            child,
            channel: Channel::new(socket, Limits::default()),
        };
        echo.ping();
        echo
    }

    /// Asks it something, and gets an answer that is newer than the question.
    fn ping(&mut self) {
        let limit = occ_test_support::LIMIT;
        self.channel.send(&7_u64).unwrap();
        assert_eq!(self.channel.receive_timeout::<u64>(limit).unwrap(), Some(7));
    }
}
