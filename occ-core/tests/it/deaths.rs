//! Every way to die, a row each: the reason, the cause, how sure it is, and the line that people read.
//!
//! One way has no row: by the death of its parent, which is the coordinator, and nobody is left who could be told. That it is called
//! by its name, and not out of memory, is tested in `central/clues.rs`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use occ_core::{
    Arguments, Cause, Confidence, Down, Evidence, ExitReason, Function, OsPid, Outcome, Pid,
    Process, exit,
};
use occ_test_support::cgroup::Cgroup;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, isolated, raw, skipped, within, workshop};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};

use crate::{Gate, down, me, stay, system, wait};

mod aborting;
mod caught;
mod cores;
mod execs;
mod itself;
mod memory;
mod signals;

use Confidence::{Certain, Probable};

/// What is to be told of an end.
struct Told {
    reason: fn(&ExitReason) -> bool,
    cause: fn(&Cause) -> bool,
    confidence: Confidence,
    /// A part of the line. `{host}` is this program's OS pid, `{user}` its user.
    line: &'static str,
}

/// A way to die: its name, how it is done, and what is to be told.
type Row = (&'static str, fn(&mut Process) -> Down, Told);

#[track_caller]
fn check((name, die, told): Row) {
    isolated_row(|process| {
        let down = die(process);
        let line = down.to_string();
        assert!((told.reason)(&down.reason), "{name}: {:?}", down.reason);
        let verdict = down.report.verdict.as_ref().unwrap();
        assert!((told.cause)(&verdict.cause), "{name}: {verdict:?}");
        assert_eq!(verdict.confidence, told.confidence, "{name}: {verdict:?}");
        let expected = told
            .line
            .replace("{host}", &std::process::id().to_string())
            .replace("{user}", &rustix::process::getuid().as_raw().to_string());
        assert!(
            line.contains(&expected),
            "{name}: {line:?} and not {expected:?}"
        );
        let whole = line.contains(&format!(" {} (pid ", down.pid)) && line.ends_with(" MiB");
        assert!(whole && line.contains(" s, peak "), "{name}: {line}");
    });
}

fn isolated_row(body: impl FnOnce(&mut Process)) {
    let mut system = system();
    within(LIMIT, || body(system.process()));
    system.stop();
}

/// Runs a function, and waits for its end.
fn end_of<F, A, K>(process: &mut Process, function: F, args: A) -> Down
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    let (_, monitor) = process.spawn_monitor(function, args).unwrap();
    down(process, monitor)
}

/// Runs a function that says when it is ready, does something to it, and waits for its end.
fn end_after<F, K>(process: &mut Process, function: F, act: impl FnOnce(&mut Process, Pid)) -> Down
where
    F: Function<(String,)>,
    F::Output: Outcome<K>,
{
    let (ready, say) = Ready::new();
    let (pid, monitor) = process.spawn_monitor(function, (say.address(),)).unwrap();
    ready.wait(LIMIT);
    act(process, pid);
    down(process, monitor)
}

fn ready_and_stay(say: String) {
    Say::open(&say).ready();
    stay();
}

fn send(process: &mut Process, to: Pid, signal: Signal) {
    let pid = process.os_pid(to).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.get().cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn is_signal(reason: &ExitReason, number: i32) -> bool {
    matches!(reason, ExitReason::Signal(signal) if signal.number() == number)
}

fn is_code(reason: &ExitReason, code: i32) -> bool {
    matches!(reason, ExitReason::Code(found) if *found == code)
}

fn itself(cause: &Cause) -> bool {
    *cause == Cause::Itself
}

fn limit(resource: Resource, current: u64, maximum: u64) {
    let (current, maximum) = (Some(current), Some(maximum));
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

fn leave(code: i32) {
    #[expect(clippy::exit, reason = "what is tested")]
    std::process::exit(code)
}
