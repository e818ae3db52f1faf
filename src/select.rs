//! Receiving whichever comes first of several types.

use occ_core::ReceiveError;
use occ_core::select::{Answer, Offer, Range, Taken};

use crate::messages::receiving;

/// Receives the oldest message that any of its arms takes; the others stay, in order.
///
/// ```text
/// receive! {
///     PATTERN: TYPE => EXPRESSION,
///     PATTERN: TYPE if GUARD => EXPRESSION,
///     after LIMIT => EXPRESSION,
/// }
/// ```
///
/// Each message is offered to the arms in their order, and to each arm once. An arm takes it if it is of the type, the pattern
/// matches and the guard is true. The arm `after`, which comes last if there is one, is for when none was taken
/// within the limit, a [`Duration`](std::time::Duration): zero looks at what is here already. Without it there is no limit.
///
/// The value is that of the expression, in a `Result`: what else can happen is a [`ReceiveError`]. Expressions may `return`,
/// `break`, and receive again. Guards may not; one that panics loses nothing. With `since MARK;` before the arms,
/// only what has arrived [`since`](crate::since) that mark is looked at.
///
/// A pattern of several alternatives with a guard, `A(x) | B(x) if GUARD`, must not match one value in two ways of which the
/// guard refuses the first.
///
/// ```
/// use std::time::Duration;
///
/// use occasional::{Down, Pid, receive, self_pid, send, spawn_monitor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet { from: Pid, name: String }
///
/// fn greet_us(us: Pid, names: Vec<String>) -> anyhow::Result<()> {
///     for name in names {
///         send(us, Greet { from: self_pid(), name })?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// let names = ["Ada", "Grace"].map(String::from).to_vec();
/// let (worker, _) = spawn_monitor(greet_us, (self_pid(), names))?;
/// let mut greeted = Vec::new();
/// loop {
///     receive! {
///         Greet { from, name }: Greet if from == worker => greeted.push(name),
///         down: Down if down.pid == worker => break,
///         after Duration::from_secs(60) => anyhow::bail!("nobody says a word"),
///     }?
/// }
/// assert_eq!(greeted, ["Ada", "Grace"]);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! receive {
    (since $mark:expr; $($arms:tt)+) => {
        $crate::__receive!(@arm [
            { ::core::option::Option::Some(::core::convert::Into::<$crate::Mark>::into($mark)) } ($crate::__select)
        ] {} [] $($arms)+)
    };
    ($($arms:tt)+) => {
        $crate::__receive!(@arm [{ ::core::option::Option::None } ($crate::__select)] {} [] $($arms)+)
    };
}

/// What `receive!` does with the process that the calling thread is.
///
/// # Errors
///
/// As [`receive`](fn@crate::receive).
#[doc(hidden)]
pub fn __select(
    range: Range,
    keys: &[occ_core::select::Key],
    look: impl FnMut(&mut Offer<'_>) -> Answer,
) -> Result<Option<(Taken, usize)>, ReceiveError> {
    receiving(|process| process.inbox()?.select(range, keys, look))
}
