//! Sending from any thread of a process.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use occ_sck::{Deadline, Packet, Term};

use crate::connector::Connector;
use crate::error::SendError;
use crate::hold::{Hold, Shared};
use crate::inbox::Inbox;
use crate::pid::Pid;
use crate::send::Way;
use crate::site::Site;
use crate::wait::Seat;

/// Sends as the process whose inbox it is a handle of, from any thread.
///
/// What one thread sends keeps its order; what several send to one process arrives in some order of them. A thread that
/// waits for room takes in what the process is sent meanwhile, as the inbox itself does, so it need not wait for the
/// thread that receives.
///
/// It is of use in the process that it was made in alone: in a plain fork of that each send is [`SendError::Forked`], as it is with the
/// inbox itself.
///
/// ```
/// use occ_inbox::{Inbox, Pid, Socket, Wired};
///
/// let [alice, bob] = [1, 2].map(|serial| Pid { node: 0, incarnation: 0, serial });
/// let (to_bob, to_alice) = Socket::pair()?;
/// let mut alices = Inbox::new(alice, Wired::new([(bob, to_bob)])?)?;
/// let mut bobs = Inbox::new(bob, Wired::new([(alice, to_alice)])?)?;
///
/// let handle = alices.handle()?;
/// std::thread::scope(|scope| {
///     for number in 1..=10_u32 {
///         let handle = &handle;
///         scope.spawn(move || handle.send(bob, &number).expect("bob is there"));
///     }
/// });
/// let sum: u32 = (1..=10).map(|_| bobs.receive::<u32>()).sum::<Result<_, _>>()?;
/// assert_eq!(sum, 55);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handle<C> {
    me: Pid,
    pub(crate) shared: Shared<C>,
    /// What threads that have sent have left for those that will.
    desks: Mutex<Vec<Desk>>,
}

/// What one needs to send.
#[derive(Debug, Default)]
struct Desk {
    packet: Packet,
    seat: Seat,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Handle<C> {
        Handle {
            me: self.me,
            shared: self.shared.clone(),
            desks: Mutex::default(),
        }
    }
}

/// Without the connections, which another thread may be using.
impl<C> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("pid", &self.me)
            .finish_non_exhaustive()
    }
}

impl<C: Connector> Inbox<C> {
    /// A handle, for other threads to send by.
    ///
    /// From now on a lock is taken for each use of the connections, by this inbox as well.
    ///
    /// # Errors
    ///
    /// No room for a file descriptor, or for a page of memory.
    pub fn handle(&mut self) -> io::Result<Handle<C>> {
        Ok(Handle {
            me: self.me,
            shared: self.hold.share()?,
            desks: Mutex::default(),
        })
    }
}

impl<C> Handle<C> {
    /// As whom it sends.
    pub fn pid(&self) -> Pid {
        self.me
    }
}

impl<C: Connector> Handle<C> {
    /// As [`Inbox::send`].
    ///
    /// # Errors
    ///
    /// As there; [`SendError::SystemDown`] also when the inbox is gone.
    pub fn send<T: Term>(&self, to: Pid, value: &T) -> Result<(), SendError> {
        self.send_by(to, value, Way::Parts)
    }

    /// As [`Inbox::try_send`].
    ///
    /// # Errors
    ///
    /// As there; [`SendError::SystemDown`] also when the inbox is gone.
    pub fn try_send<T: Term>(&self, to: Pid, value: &T) -> Result<(), SendError> {
        self.send_by(to, value, Way::Whole(Deadline::Now))
    }

    /// As [`Inbox::send_timeout`].
    ///
    /// # Errors
    ///
    /// As there; [`SendError::SystemDown`] also when the inbox is gone.
    pub fn send_timeout<T: Term>(
        &self,
        to: Pid,
        value: &T,
        limit: Duration,
    ) -> Result<(), SendError> {
        self.send_by(to, value, Way::Whole(Deadline::after(limit)))
    }

    fn send_by<T: Term>(&self, to: Pid, value: &T, way: Way) -> Result<(), SendError> {
        if !self.shared.is_of_this_process() {
            return Err(SendError::Forked);
        }
        let mut desk = self.desks().pop().unwrap_or_default();
        let site = &mut Site {
            hold: &mut Hold::Shared(self.shared.clone()),
            seat: &mut desk.seat,
            owner: false,
        };
        let result = site.send(to, value, way, &mut desk.packet);
        desk.packet.close_fds();
        self.desks().push(desk);
        result
    }

    fn desks(&self) -> std::sync::MutexGuard<'_, Vec<Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
