//! Processes: making them, watching them, ending them.

use occ_core::current::{self, Absent};
use occ_core::{
    Arguments, Function, MonitorRef, OsPid, Outcome, Pid, Process, ProcessInfo, SpawnError,
    SystemError,
};

/// Runs `function` with `args` in a new process. When this returns the process exists, and what is sent to
/// it arrives.
///
/// A function whose `Result` has an error that could itself be sent has to say that it is an error:
/// `spawn::<_, _, result_kind::Fallible>(f, ())`, or return an `anyhow::Result`.
///
/// # Errors
///
/// No process was made: see [`SpawnError`].
pub fn spawn<F, A, AnyhowResultOrValue>(function: F, args: A) -> Result<Pid, SpawnError>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<AnyhowResultOrValue>,
{
    current::with(|process| process.spawn(function, args)).map_err(not_spawned)?
}

/// As [`spawn`], with a monitor from before the first line of the function.
///
/// # Errors
///
/// No process was made, and there will be no Down: see [`SpawnError`].
pub fn spawn_monitor<F, A, AnyhowResultOrValue>(
    function: F,
    args: A,
) -> Result<(Pid, MonitorRef), SpawnError>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<AnyhowResultOrValue>,
{
    current::with(|process| process.spawn_monitor(function, args)).map_err(not_spawned)?
}

fn not_spawned(absent: Absent) -> SpawnError {
    match absent {
        Absent::NotStarted => SpawnError::NotStarted,
        Absent::Reentrant => SpawnError::Reentrant,
    }
}

/// Asks to be told when `target` ends: exactly one [`Down`](crate::Down) will be received, at once if there is no such
/// process.
///
/// # Errors
///
/// There is no system to tell.
pub fn monitor(target: Pid) -> Result<MonitorRef, SystemError> {
    with(|process| process.monitor(target))
}

/// Takes a monitor back. Its [`Down`](crate::Down) will not be received any more, not even if it is in the inbox already.
///
/// # Errors
///
/// There is no system to tell.
pub fn demonitor(monitor: MonitorRef) -> Result<(), SystemError> {
    with(|process| process.demonitor(monitor))
}

/// The name of the calling process.
///
/// # Panics
///
/// If the calling thread belongs to no system: see [`try_self_pid`].
pub fn self_pid() -> Pid {
    match try_self_pid() {
        Ok(pid) => pid,
        Err(error) => panic!("self_pid: {error}"),
    }
}

/// The name of the calling process.
///
/// # Errors
///
/// The calling thread belongs to no system, or this process is a plain fork of one that does.
pub fn try_self_pid() -> Result<Pid, SystemError> {
    current::self_pid()
}

/// The processes of the system at this moment, in the order in which they were spawned.
///
/// # Errors
///
/// There is no system to ask.
pub fn processes() -> Result<Vec<ProcessInfo>, SystemError> {
    with(Process::processes)
}

/// What the kernel calls a process.
///
/// # Errors
///
/// There is no such process, or no system to ask.
pub fn os_pid(pid: Pid) -> Result<OsPid, SystemError> {
    with(|process| process.os_pid(pid))
}

/// Ends a process with SIGKILL, which it cannot catch.
///
/// # Errors
///
/// There is no such process, or no system to tell.
pub fn kill(pid: Pid) -> Result<(), SystemError> {
    with(|process| process.kill(pid))
}

fn with<R>(act: impl FnOnce(&mut Process) -> Result<R, SystemError>) -> Result<R, SystemError> {
    current::with(act).map_err(|absent| match absent {
        Absent::NotStarted => SystemError::NotStarted,
        Absent::Reentrant => SystemError::Reentrant,
    })?
}
