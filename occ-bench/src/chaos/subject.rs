//! A process that dies as planned.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};
use occasional::{Pid, receive, send};
use rustix::event::pause;
use rustix::process::{Signal, getpid, kill_process, setsid};
use serde::{Deserialize, Serialize};

use super::plan::{Act, Way, When};
use crate::sys;

/// To a process: one of the messages that it waits for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Go;

/// From a process, to each that it is to tell: its messages, counted from 1.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) index: u64,
    pub(crate) number: u8,
}

/// A value of some length, in which each byte counts.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Long {
    pub(crate) index: u64,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

impl Long {
    fn new(index: u64, length: i32) -> Long {
        let bytes = (0..length).map(|at| index as u8 ^ at as u8);
        Long {
            index,
            bytes: bytes.collect(),
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        i32::try_from(self.bytes.len()).is_ok_and(|length| *self == Long::new(self.index, length))
    }

    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }
}

pub(crate) fn subject(act: Act, tell: Vec<Pid>) -> anyhow::Result<u64> {
    match act.when {
        When::AtOnce => {}
        When::After(messages) => {
            for _ in 0..messages {
                receive::<Go>()?;
            }
        }
        When::Sending(messages) => {
            for number in 1..=messages {
                let index = act.index;
                for to in &tell {
                    // A watcher may be dead. What else did not arrive, whoever was to hear it says.
                    let _ = send(*to, Said { index, number });
                }
            }
        }
    }
    die(act)
}

/// Ends the calling process.
pub(crate) fn die(act: Act) -> anyhow::Result<u64> {
    match act.way {
        Way::Value => Ok(act.index),
        Way::Exit => occasional::exit(act.index),
        Way::LongValue => occasional::exit(Long::new(act.index, act.number)),
        Way::Error => bail_with_cause(act.index),
        Way::Fail => occasional::fail(act.index),
        Way::Panic => panic!("process {}", act.index),
        Way::Code => exit(act.number),
        Way::RawCode => sys::exit_now(act.number),
        Way::OwnSignal => {
            let signal = Signal::from_named_raw(act.number).context("no signal")?;
            kill_process(getpid(), signal)?;
            bail!("lived on after {signal:?}")
        }
        Way::Abort => std::process::abort(),
        Way::StackOverflow => {
            // What the process says of it in words would be seen a thousand times.
            rustix::stdio::dup2_stderr(File::options().write(true).open("/dev/null")?)?;
            Ok(overflow(act.index))
        }
        Way::CloseAll => {
            sys::close_all();
            sys::exit_now(act.number)
        }
        Way::LeaveFork => leave_fork(act.index),
        Way::Exec => Err(Command::new("/bin/true").exec().into()),
        // It waits until somebody does it.
        _ => loop {
            receive::<Go>()?;
        },
    }
}

fn bail_with_cause(index: u64) -> anyhow::Result<u64> {
    Err(anyhow::anyhow!("inner").context(format!("process {index}")))
}

#[expect(clippy::exit, reason = "a way to die")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

#[expect(unconditional_recursion, reason = "a way to die")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    overflow(frame[0] + 1) + frame[63]
}

/// Leaves a process that would live for ever: a fork, one in a session of its own, or one whose parent has ended.
fn leave_fork(index: u64) -> anyhow::Result<u64> {
    let stay = || {
        loop {
            pause();
        }
    };
    sys::fork(|| match index % 3 {
        0 => stay(),
        1 => {
            let _ = setsid();
            stay();
        }
        _ => {
            let _ = setsid();
            let _ = sys::fork(stay);
        }
    })?;
    Ok(index)
}
