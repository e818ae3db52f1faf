//! Receiving what has arrived since a mark, and nothing that was there before.

use std::time::Duration;

use occ_core::{Mark, Receive, ReceiveError};

use crate::messages::receiving;

/// The messages that have arrived since a mark: see [`since`].
#[derive(Clone, Copy, Debug)]
pub struct Since(Mark);

/// Receives from what has arrived since `mark` alone: a reference ([`make_ref`](crate::make_ref)), whose reply is awaited, or a
/// monitor, whose [`Down`](crate::Down) is. However much waits in the inbox from before, it is not looked at.
///
/// ```
/// use occasional::{Down, Pid, Ref, make_ref, monitor, receive, self_pid, send, since, spawn};
///
/// fn double() -> anyhow::Result<()> {
///     let (from, question, number): (Pid, Ref, u32) = receive()?;
///     Ok(send(from, (question, 2 * number))?)
/// }
///
/// # fn main() -> anyhow::Result<()> {
/// let _system = occasional::start()?;
/// let server = spawn(double, ())?;
/// let watch = monitor(server)?;
/// let question = make_ref()?;
/// send(server, (self_pid(), question, 21_u32))?;
///
/// let (_, doubled) = since(question).receive_where(|(of, _): &(Ref, u32)| *of == question)?;
/// assert_eq!(doubled, 42);
/// let down = since(watch).receive_where(|down: &Down| down.monitor == watch)?;
/// assert_eq!(down.pid, server);
/// # Ok(())
/// # }
/// ```
pub fn since(mark: impl Into<Mark>) -> Since {
    Since(mark.into())
}

impl Since {
    /// As [`receive`](fn@crate::receive).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive<T: Receive>(self) -> Result<T, ReceiveError> {
        receiving(|process| process.since(self.0)?.receive())
    }

    /// As [`receive_timeout`](crate::receive_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_timeout<T: Receive>(self, limit: Duration) -> Result<Option<T>, ReceiveError> {
        receiving(|process| process.since(self.0)?.receive_timeout(limit))
    }

    /// As [`receive_where`](crate::receive_where).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_where<T: Receive>(
        self,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<T, ReceiveError> {
        receiving(|process| process.since(self.0)?.receive_where(accept))
    }

    /// As [`receive_where_timeout`](crate::receive_where_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_where_timeout<T: Receive>(
        self,
        limit: Duration,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ReceiveError> {
        receiving(|process| process.since(self.0)?.receive_where_timeout(limit, accept))
    }
}
