//! Addresses that say what can be sent there, and the inbox on their other side.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use occ_inbox::{Pid, Receive, ReceiveError, SendError};
use occ_sck::{Term, type_name_of};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::current::{self, Absent};
use crate::down::Down;
use crate::error::SystemError;
use crate::process::Process;

/// The address of a process that receives `M`s. Nothing else can be sent there by it.
///
/// It is a value, as a [`Pid`] is, and names a process in the same way; it adds what that process has said of itself. It acts on
/// the process that the calling thread is.
pub struct Addr<M> {
    pid: Pid,
    marker: PhantomData<fn(M)>,
}

impl<M> Addr<M> {
    /// The address of a process that is known to receive `M`s. If it does not, what is sent there waits there, unreceived.
    pub fn new(pid: Pid) -> Addr<M> {
        Addr {
            pid,
            marker: PhantomData,
        }
    }

    /// The process.
    pub fn pid(self) -> Pid {
        self.pid
    }
}

impl<M: Term> Addr<M> {
    /// Sends `message`; waits while there is no room for it.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send(self, message: M) -> Result<(), SendError> {
        sending(|process| process.send(self.pid, &message))
    }

    /// Sends `message` if there is room for it now.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn try_send(self, message: M) -> Result<(), SendError> {
        sending(|process| process.try_send(self.pid, &message))
    }

    /// Sends `message` if there is room for it within `limit`.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn send_timeout(self, message: M, limit: Duration) -> Result<(), SendError> {
        sending(|process| process.send_timeout(self.pid, &message, limit))
    }
}

fn sending(act: impl FnOnce(&mut Process) -> Result<(), SendError>) -> Result<(), SendError> {
    current::with(act).map_err(SendError::from)?
}

impl<M> Clone for Addr<M> {
    fn clone(&self) -> Addr<M> {
        *self
    }
}

impl<M> Copy for Addr<M> {}

impl<M> PartialEq for Addr<M> {
    fn eq(&self, other: &Addr<M>) -> bool {
        self.pid == other.pid
    }
}

impl<M> Eq for Addr<M> {}

impl<M> PartialOrd for Addr<M> {
    fn partial_cmp(&self, other: &Addr<M>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for Addr<M> {
    fn cmp(&self, other: &Addr<M>) -> Ordering {
        self.pid.cmp(&other.pid)
    }
}

impl<M> Hash for Addr<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pid.hash(state);
    }
}

impl<M> fmt::Display for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)
    }
}

impl<M> fmt::Debug for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr<{}>({})", type_name_of::<M>(), self.pid)
    }
}

impl<M> From<Addr<M>> for Pid {
    fn from(addr: Addr<M>) -> Pid {
        addr.pid
    }
}

impl<M> Serialize for Addr<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pid.serialize(serializer)
    }
}

impl<'de, M> Deserialize<'de> for Addr<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Addr<M>, D::Error> {
        Pid::deserialize(deserializer).map(Addr::new)
    }
}

/// The inbox of a process that receives `M`s, and the ends of those that it watches.
///
/// [`spawn_addr`](Process::spawn_addr) gives one to the function that it runs. What else is sent to the process stays in its
/// inbox, for whoever receives it otherwise. It acts on the process that the calling thread is, and stays with it.
pub struct Inbox<M> {
    /// Neither a value nor for another thread.
    marker: PhantomData<*const M>,
}

/// What an [`Inbox`] receives.
#[derive(Clone, Debug)]
pub enum Mail<M> {
    /// A message.
    Message(M),
    /// The end of a process that was watched.
    Down(Box<Down>),
}

impl<M> Inbox<M> {
    pub(crate) fn new() -> Inbox<M> {
        Inbox {
            marker: PhantomData,
        }
    }

    /// That of the process that the calling thread is, which receives `M`s by it from now on.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn current() -> Result<Inbox<M>, SystemError> {
        current::self_pid().map(|_| Inbox::new())
    }

    /// Its address.
    ///
    /// # Errors
    ///
    /// The calling thread is no process any more.
    pub fn addr(&self) -> Result<Addr<M>, SystemError> {
        current::self_pid().map(Addr::new)
    }
}

impl<M: Receive> Inbox<M> {
    /// Receives the oldest message; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive(&self) -> Result<M, ReceiveError> {
        receiving(Process::receive)
    }

    /// Receives the oldest message, if there is one within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_timeout(&self, limit: Duration) -> Result<Option<M>, ReceiveError> {
        receiving(|process| process.receive_timeout(limit))
    }

    /// Receives the oldest message that `accept` says yes to; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_where(&self, accept: impl FnMut(&M) -> bool) -> Result<M, ReceiveError> {
        receiving(|process| process.receive_where(accept))
    }

    /// Receives the oldest end of a process that was watched; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_down(&self) -> Result<Down, ReceiveError> {
        receiving(Process::receive)
    }

    /// Receives the oldest end of a process that was watched, if there is one within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn receive_down_timeout(&self, limit: Duration) -> Result<Option<Down>, ReceiveError> {
        receiving(|process| process.receive_timeout(limit))
    }

    /// Receives whichever is oldest; waits for one.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn next(&self) -> Result<Mail<M>, ReceiveError> {
        receiving(|process| {
            occ_inbox::receive! { process.inbox()?;
                message: M => Mail::Message(message),
                down: Down => Mail::Down(Box::new(down)),
            }
        })
    }

    /// Receives whichever is oldest, if there is one within `limit`.
    ///
    /// # Errors
    ///
    /// See [`ReceiveError`].
    pub fn next_timeout(&self, limit: Duration) -> Result<Option<Mail<M>>, ReceiveError> {
        receiving(|process| {
            occ_inbox::receive! { process.inbox()?;
                message: M => Some(Mail::Message(message)),
                down: Down => Some(Mail::Down(Box::new(down))),
                after limit => None,
            }
        })
    }
}

fn receiving<R>(
    act: impl FnOnce(&mut Process) -> Result<R, ReceiveError>,
) -> Result<R, ReceiveError> {
    current::with(act).map_err(ReceiveError::from)?
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox<{}>", type_name_of::<M>())
    }
}

impl From<Absent> for SendError {
    fn from(absent: Absent) -> SendError {
        match absent {
            Absent::NotStarted => SendError::NotStarted,
            Absent::Reentrant => SendError::Reentrant,
        }
    }
}

impl From<Absent> for ReceiveError {
    fn from(absent: Absent) -> ReceiveError {
        match absent {
            Absent::NotStarted => ReceiveError::NotStarted,
            Absent::Reentrant => ReceiveError::Reentrant,
        }
    }
}
