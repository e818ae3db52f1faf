//! Processes: making them, watching them, ending them.

use std::ffi::OsStr;

use occ_core::current::{self, Absent};
use occ_core::{
    Arguments, Builder, Function, MonitorRef, OsPid, Outcome, Pid, Process, ProcessInfo,
    SpawnError, SystemError,
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

/// Runs an executable with `args` as a process: it is monitored, killed and reported as any. When this returns, it runs.
///
/// It is searched for in the path if its name has no slash, and no shell comes between. Its standard input is /dev/null, and it has
/// a process group of its own; for this and all else there is [`Builder`].
///
/// ```
/// use occasional::{Down, ExitReason, monitor, receive, spawn_exe};
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// let pid = spawn_exe("sleep", ["60"])?;
/// let monitor = monitor(pid)?;
/// occasional::kill(pid)?;
/// let down: Down = receive()?;
/// assert_eq!(down.monitor, monitor);
/// assert!(matches!(down.reason, ExitReason::Signal(signal) if signal.number() == 9));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// No process was made: see [`SpawnError`]. [`SpawnError::NotBegun`] with [`Step::Execute`](crate::Step::Execute) says why it
/// cannot be executed.
#[doc(alias = "execve")]
pub fn spawn_exe(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<Pid, SpawnError> {
    Builder::new().args(args).spawn_exe(program)
}

/// As [`spawn_exe`], with a monitor from before it runs.
///
/// # Errors
///
/// As [`spawn_exe`], and there will be no Down.
pub fn spawn_exe_monitor(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(Pid, MonitorRef), SpawnError> {
    Builder::new().args(args).spawn_exe_monitor(program)
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
#[track_caller]
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

/// Asks a process to end, with SIGTERM, and ends it with SIGKILL if it has not done so in the grace period that its
/// [`Builder`] gave it. Without one it is [`kill`].
///
/// # Errors
///
/// There is no such process, or no system to tell.
pub fn terminate(pid: Pid) -> Result<(), SystemError> {
    with(|process| process.terminate(pid))
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
