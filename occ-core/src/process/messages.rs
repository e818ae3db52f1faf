//! Messages of a process: what it sends, and what it takes out of its inbox.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use occ_inbox::{
    Inbox, InboxInfo, InboxLimits, Mark, Message, Pid, Receive, ReceiveError, Ref, SendError, Since,
};
use occ_sck::Term;
use rustix::io::Errno;

use super::Process;
use crate::control::Control;
use crate::handle::Handle;

impl Process {
    /// Sends `value` to `to`; waits while that one has no room.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send<T: Term>(&mut self, to: Pid, value: &T) -> Result<(), SendError> {
        self.sender(to)?.send(to, value)
    }

    /// Sends `value` to `to` if there is room for it now.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn try_send<T: Term>(&mut self, to: Pid, value: &T) -> Result<(), SendError> {
        self.sender(to)?.try_send(to, value)
    }

    /// Sends `value` to `to` if there is room for it within `limit`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_timeout<T: Term>(
        &mut self,
        to: Pid,
        value: &T,
        limit: Duration,
    ) -> Result<(), SendError> {
        self.sender(to)?.send_timeout(to, value, limit)
    }

    fn sender(&mut self, to: Pid) -> Result<&mut Inbox<Control>, SendError> {
        if self.is_fork() {
            return Err(SendError::Forked);
        }
        self.open()
            .map_err(|source| match Errno::from_io_error(&source) {
                // There would be none for a connection either.
                Some(Errno::MFILE | Errno::NFILE) => SendError::TooManyPeers { to },
                _ => SendError::Io {
                    op: "epoll_create",
                    source,
                },
            })
    }

    /// The inbox, to receive from.
    ///
    /// # Errors
    ///
    /// [`ReceiveError::Forked`] in a plain fork of the process.
    pub fn inbox(&mut self) -> Result<&mut Inbox<Control>, ReceiveError> {
        if self.is_fork() {
            return Err(ReceiveError::Forked);
        }
        let op = "epoll_create";
        self.open()
            .map_err(|source| ReceiveError::Io { op, source })
    }

    /// Receives the oldest `T`; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive<T: Receive>(&mut self) -> Result<T, ReceiveError> {
        self.inbox()?.receive()
    }

    /// Receives the oldest `T`, if there is one within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_timeout<T: Receive>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<T>, ReceiveError> {
        self.inbox()?.receive_timeout(limit)
    }

    /// Receives the oldest message of any type; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_any(&mut self) -> Result<Message, ReceiveError> {
        self.inbox()?.receive_any()
    }

    /// As [`Process::receive_any`], within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_any_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Message>, ReceiveError> {
        self.inbox()?.receive_any_timeout(limit)
    }

    /// Receives the oldest `T` that `accept` says yes to; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_where<T: Receive>(
        &mut self,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<T, ReceiveError> {
        self.inbox()?.receive_where(accept)
    }

    /// As [`Process::receive_where`], within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_where_timeout<T: Receive>(
        &mut self,
        limit: Duration,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ReceiveError> {
        self.inbox()?.receive_where_timeout(limit, accept)
    }

    /// Receives the oldest message that `pick` makes something of; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_map<R>(
        &mut self,
        pick: impl FnMut(&Message) -> Option<R>,
    ) -> Result<R, ReceiveError> {
        self.inbox()?.receive_map(pick)
    }

    /// As [`Process::receive_map`], within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_map_timeout<R>(
        &mut self,
        limit: Duration,
        pick: impl FnMut(&Message) -> Option<R>,
    ) -> Result<Option<R>, ReceiveError> {
        self.inbox()?.receive_map_timeout(limit, pick)
    }

    /// A handle, for other threads of this process to send by.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn handle(&mut self) -> Result<Handle, SendError> {
        if self.is_fork() {
            return Err(SendError::Forked);
        }
        let handle = self.open().and_then(Inbox::handle);
        handle.map(Handle::new).map_err(|source| SendError::Io {
            op: "fcntl(F_DUPFD_CLOEXEC)",
            source,
        })
    }

    /// Limits what waits in the inbox, from now on: see [`Inbox::set_limits`]. With [`Policy::End`](occ_inbox::Policy) the process ends, with an
    /// error that says how much there was; the host, which cannot be ended, gets that error from a receive.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn limit_inbox(&mut self, limits: InboxLimits) -> Result<(), ReceiveError> {
        self.inbox()?.set_limits(limits);
        Ok(())
    }

    /// Looks for up to `limit` whether something has come before a receive sleeps: see [`Inbox::set_spin`].
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn spin(&mut self, limit: Duration) -> Result<(), ReceiveError> {
        self.inbox()?.set_spin(limit);
        Ok(())
    }

    /// A duplicate of the inbox's descriptor, for an event loop: see [`Inbox::tick`].
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`]; and no room for a descriptor.
    pub fn inbox_fd(&mut self) -> Result<OwnedFd, ReceiveError> {
        let duplicate = self.inbox()?.as_fd().try_clone_to_owned();
        duplicate.map_err(|source| ReceiveError::Io {
            op: "fcntl(F_DUPFD_CLOEXEC)",
            source,
        })
    }

    /// Brings what has arrived into memory: see [`Inbox::tick`].
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn tick(&mut self) -> Result<usize, ReceiveError> {
        self.inbox()?.tick()
    }

    /// What waits in the inbox.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn inbox_info(&mut self) -> Result<InboxInfo, ReceiveError> {
        self.inbox()?.info()
    }

    /// A new reference, and a mark at this moment.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn make_ref(&mut self) -> Result<Ref, ReceiveError> {
        Ok(self.inbox()?.make_ref())
    }

    /// To receive from what has arrived since `mark` alone: a [`Ref`], or a [`MonitorRef`](crate::MonitorRef).
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn since(&mut self, mark: impl Into<Mark>) -> Result<Since<'_, Control>, ReceiveError> {
        Ok(self.inbox()?.since(mark))
    }

    /// Throws away everything that has arrived, and says how many messages that was.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn flush(&mut self) -> Result<usize, ReceiveError> {
        self.inbox()?.flush()
    }
}
