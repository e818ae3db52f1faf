//! A system for the time that one function takes.

use occ_sck::Term;
use occ_spawn::entry::result_kind::{Fallible, Never, Plain, Returns};
use occ_spawn::{Arguments, ExitReason, Function, Outcome};

use crate::down::Down;
use crate::error::{RunError, SpawnError};
use crate::start::Entry;
use crate::system::SystemBuilder;

/// A result of a function whose process ends with a `T`, if all goes well.
#[diagnostic::on_unimplemented(
    message = "a function that returns `{Self}` does not end with a `{T}`",
    note = "`run` gives the value that the function returns, or the one in its `Ok`"
)]
pub trait Yields<K, T> {}

impl<T: Term> Yields<Plain, T> for T {}
impl<T: Term, E> Yields<Fallible, T> for Result<T, E> {}
impl<T: Term> Yields<Never, T> for <fn() -> ! as Returns>::Type {}

/// Runs `function` with `args` as process zero of a new system, waits until it has ended, and ends the system.
///
/// # Errors
///
/// See [`RunError`]: everything but a value.
pub fn run<F, A, AnyhowResultOrValue, T>(function: F, args: A) -> Result<T, RunError>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<AnyhowResultOrValue> + Yields<AnyhowResultOrValue, T>,
    T: Term,
{
    run_with(SystemBuilder::new(), function, args)
}

/// As [`run`], in a system of this making.
///
/// # Errors
///
/// See [`RunError`].
pub fn run_with<F, A, AnyhowResultOrValue, T>(
    builder: SystemBuilder,
    function: F,
    args: A,
) -> Result<T, RunError>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<AnyhowResultOrValue> + Yields<AnyhowResultOrValue, T>,
    T: Term,
{
    let mut system = builder.unlisted().start()?;
    let process = system.process();
    let launched = process.launch_first(Entry::of(&function), &args);
    let (_, monitor) = launched.map_err(|error| match error {
        SpawnError::SystemDown => RunError::SystemDown,
        error => error.into(),
    })?;
    let down = loop {
        let down: Down = process.receive().map_err(|_| RunError::SystemDown)?;
        if down.monitor == monitor {
            break down;
        }
    };
    system.stop();
    match down.reason {
        ExitReason::Value(value) => value.get().map_err(RunError::WrongType),
        reason => Err(RunError::Ended {
            reason,
            report: Box::new(down.report),
        }),
    }
}
