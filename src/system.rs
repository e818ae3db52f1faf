//! Making and ending a system.

use std::marker::PhantomData;

use occ_core::current::{self, Pushed};
use occ_core::{
    Arguments, Fallback, Function, LifetimeGuarantee, Outcome, Pid, Process, RunError, StartError,
    SystemBuilder, Term, Yields,
};

/// Runs `function` with `args` as the first process of a new system, waits until it has ended, and ends the
/// system: all its other processes are killed and reaped before this returns.
///
/// # Errors
///
/// The system or the process could not be started; or the process ended, and not with a value. The
/// `Debug` of the error is made for `main` to return, and has the backtrace of the process where `RUST_BACKTRACE` asks for one:
/// let `main` return this error itself, because in an `anyhow::Error` there is one of `main` in its place.
pub fn run<F, A, AnyhowResultOrValue, T>(function: F, args: A) -> Result<T, RunError>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<AnyhowResultOrValue> + Yields<AnyhowResultOrValue, T>,
    T: Term,
{
    occ_core::run(function, args)
}

/// Starts a system whose process zero is the calling thread, until [`System::stop`] or its drop.
///
/// # Errors
///
/// See [`StartError`]; [`StartError::AlreadyStarted`] if this thread has started one and not stopped it.
pub fn start() -> Result<System, StartError> {
    start_with(SystemBuilder::new())
}

/// As [`start`], a system of this making.
///
/// # Errors
///
/// As [`start`].
pub fn start_with(builder: SystemBuilder) -> Result<System, StartError> {
    if STARTED.get() {
        return Err(StartError::AlreadyStarted);
    }
    let mut system = builder.start()?;
    let process = system.take_process();
    let pid = process.as_ref().map(Process::self_pid);
    STARTED.set(true);
    Ok(System {
        system: Some(system),
        pid,
        process: process.map(current::push),
        thread: PhantomData,
    })
}

/// What holds on this machine, for this user, of what processes start in turn: how it ends with them, and what does not.
///
/// ```
/// use occasional::Containment;
///
/// let guarantee = occasional::lifetime_guarantee();
/// assert!(guarantee.has(Containment::Sweep), "{guarantee}");
/// ```
pub fn lifetime_guarantee() -> LifetimeGuarantee {
    LifetimeGuarantee::here()
}

/// What this machine, or this user, does not have of what is used or can be asked for, and what is done instead: on an ordinary machine
/// nothing, or limits on memory and processors, which take control groups that most users may not make.
///
/// ```
/// use occasional::{Builder, fallbacks};
///
/// let has = |what: &str| !fallbacks().iter().any(|fallback| fallback.what == what);
/// let mut builder = Builder::new();
/// if has("a limit on memory") {
///     builder = builder.memory_max(1 << 30);
/// }
/// # let _ = builder;
/// ```
pub fn fallbacks() -> Vec<Fallback> {
    Fallback::here()
}

thread_local! {
    /// The calling thread has started a system, and not stopped it.
    static STARTED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A running system, and the calling thread's part in it. It belongs to the thread that started it.
#[derive(Debug)]
pub struct System {
    system: Option<occ_core::System>,
    pid: Option<Pid>,
    process: Option<Pushed>,
    thread: PhantomData<*const ()>,
}

impl System {
    /// The calling thread's name in the system.
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// The OS pid of the coordinator.
    pub fn coordinator(&self) -> Option<occ_core::OsPid> {
        self.system.as_ref().map(occ_core::System::coordinator)
    }

    /// Ends the system: every process is killed and reaped before this returns.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(mut system) = self.system.take() else {
            return;
        };
        let _ = STARTED.try_with(|started| started.set(false));
        if let Some(process) = self.process.take()
            && let Some(process) = current::remove(&process)
        {
            system.put_process(process);
        }
        system.stop();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.end();
    }
}
