//! Processes that say what they receive.

use occ_core::{Addr, AfterInbox, Builder, Function, MonitorRef, Outcome, SpawnError};

/// Runs `function` in a new process, with an [`Inbox`](crate::Inbox) of its messages before `args`, and gives an address to
/// which just those messages can be sent.
///
/// ```
/// use std::path::PathBuf;
///
/// use occasional::{Addr, Inbox, receive, self_pid, spawn_addr};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Job {
///     Count { file: String, to: Addr<usize> },
///     Stop,
/// }
///
/// fn worker(inbox: Inbox<Job>, dir: PathBuf) -> anyhow::Result<()> {
///     while let Job::Count { file, to } = inbox.receive()? {
///         to.send(std::fs::read_to_string(dir.join(file))?.lines().count())?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// let inbox = Inbox::<usize>::current()?;
/// let worker: Addr<Job> = spawn_addr(worker, (PathBuf::from("/proc/self"),))?;
/// worker.send(Job::Count { file: "status".to_string(), to: inbox.addr()? })?;
/// assert!(inbox.receive()? > 10);
/// worker.send(Job::Stop)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// No process was made: see [`SpawnError`].
pub fn spawn_addr<F, A, M, AnyhowResultOrValue>(function: F, args: A) -> Result<Addr<M>, SpawnError>
where
    A: AfterInbox<M>,
    F: Function<A::WithInbox>,
    F::Output: Outcome<AnyhowResultOrValue>,
{
    Builder::new().spawn_addr(function, args)
}

/// As [`spawn_addr`], with a monitor from before the first line of the function.
///
/// # Errors
///
/// No process was made, and there will be no [`Down`](crate::Down): see [`SpawnError`].
pub fn spawn_addr_monitor<F, A, M, AnyhowResultOrValue>(
    function: F,
    args: A,
) -> Result<(Addr<M>, MonitorRef), SpawnError>
where
    A: AfterInbox<M>,
    F: Function<A::WithInbox>,
    F::Output: Outcome<AnyhowResultOrValue>,
{
    Builder::new().spawn_addr_monitor(function, args)
}
