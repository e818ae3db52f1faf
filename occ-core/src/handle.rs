//! Sending as a process from any of its threads.

use std::time::Duration;

use occ_inbox::{Pid, SendError};
use occ_sck::Term;

use crate::control::Control;
use crate::sys::ForkGuard;

/// Sends as the process that it was made in, from any thread of it.
///
/// What one thread sends keeps its order; what several send to one process arrives in some order of them. It lasts as long as
/// the process, or the system: after that each send is [`SendError::SystemDown`].
#[derive(Clone, Debug)]
pub struct Handle(occ_inbox::Handle<Control>);

impl Handle {
    pub(crate) fn new(handle: occ_inbox::Handle<Control>) -> Handle {
        Handle(handle)
    }

    /// As whom it sends.
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Sends `value` to `to`; waits while that one has no room.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send<T: Term>(&self, to: Pid, value: T) -> Result<(), SendError> {
        self.sender()?.send(to, &value)
    }

    /// Sends `value` to `to` if there is room for it now.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn try_send<T: Term>(&self, to: Pid, value: T) -> Result<(), SendError> {
        self.sender()?.try_send(to, &value)
    }

    /// Sends `value` to `to` if there is room for it within `limit`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_timeout<T: Term>(
        &self,
        to: Pid,
        value: T,
        limit: Duration,
    ) -> Result<(), SendError> {
        self.sender()?.send_timeout(to, &value, limit)
    }

    fn sender(&self) -> Result<&occ_inbox::Handle<Control>, SendError> {
        // A fork of the process has a copy of the handle, and is no process of the system.
        if ForkGuard::is_fork_of_armed() {
            return Err(SendError::Forked);
        }
        Ok(&self.0)
    }
}
