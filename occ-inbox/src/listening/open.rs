//! Opening an inbox at an address, and sending to one.

use std::io;
use std::time::Duration;

use occ_sck::{Address, Listener, PeerCredentials, Term};
use rustix::rand::{GetRandomFlags, getrandom};
use thiserror::Error;

use super::Listening;
use super::named::{self, Unusable};
use crate::error::SendError;
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::pid::Pid;

/// An inbox that was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// An address of another kind. Connections of inboxes are `SOCK_SEQPACKET`.
    #[error("expected an address as `seqpacket:/path` or `seqpacket:@name`, and this is {address}")]
    Carrier {
        /// What was given.
        address: Address,
    },
    /// Written from the root on, as others have to write it, the address is none: the path is too long.
    #[error("the working directory cannot go before {address}")]
    Relative {
        /// What was given.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// The address cannot be had.
    #[error(transparent)]
    Listen(#[from] occ_sck::ListenError),
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Inbox<Listening> {
    /// An inbox that anybody can send to who knows its address, a `seqpacket:` one: other threads, other processes, other programs.
    ///
    /// ```
    /// use occ_inbox::Inbox;
    ///
    /// let mut alices = Inbox::listen_anywhere()?;
    /// let mut bobs = Inbox::listen_anywhere()?;
    ///
    /// alices.send_to(&bobs.address(), &(alices.address(), 20))?;
    /// let (back, number): (occ_inbox::Address, i32) = bobs.receive()?;
    /// bobs.send_to(&back, &(number + 1))?;
    /// assert_eq!(alices.receive::<i32>()?, 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ListenError`]: another kind of address, one that somebody has, no room for seven descriptors.
    pub fn listen(address: &Address) -> Result<Inbox<Listening>, ListenError> {
        let address = named::absolute(address).map_err(|error| unusable(error, address))?;
        let failed = |source| ListenError::Io {
            op: "epoll_create",
            source,
        };
        let connector = Listening::new(Listener::bind(&address)?).map_err(failed)?;
        Inbox::new(connector.me, connector).map_err(failed)
    }

    /// As [`Inbox::listen`], at an abstract address that nobody else has: for one who is written to by those whom it has written to,
    /// or whom it gives the address.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn listen_anywhere() -> Result<Inbox<Listening>, ListenError> {
        let mut random = [0_u8; 16];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(|source| ListenError::Io {
            op: "getrandom",
            source: source.into(),
        })?;
        let name = format!("occ-inbox-{:032x}", u128::from_be_bytes(random));
        match Address::abstract_name(name).and_then(Address::seqpacket) {
            Ok(address) => Inbox::listen(&address),
            Err(error) => unreachable!("a name of 42 bytes: {error}"),
        }
    }

    /// Where it listens, as others have to write it: with a path from the root on.
    pub fn address(&self) -> Address {
        self.hold.with(|core| core.connector.address.clone())
    }

    /// The name of whoever listens at `address`, which can be sent to for as long as [the address is known](Inbox::address_of). It is the
    /// same in every process, now and later: whoever listens there next has it, too.
    ///
    /// # Errors
    ///
    /// No inbox can be there.
    pub fn pid_of(&mut self, address: &Address) -> Result<Pid, SendError> {
        know(&mut self.hold.core().connector, address)
    }

    /// Where `pid` listens, if there is a connection with it, or if it is one of the last 1,024 that were asked for by address, or that a
    /// connection has ended with.
    pub fn address_of(&self, pid: Pid) -> Option<Address> {
        self.hold.with(|core| {
            let connector = &core.connector;
            match connector.known.get(&pid) {
                Some(known) => Some(known.address.clone()),
                None => (pid == core.me).then(|| connector.address.clone()),
            }
        })
    }

    /// What the kernel says of the process at the other end of the connection with `pid`; `None` where there is none.
    ///
    /// The address that a peer says it has is its word alone. Its user and its process are the kernel's: of one who has
    /// connected with us as it was then, and of one we have connected with, as it was when it began to listen.
    #[doc(alias = "SO_PEERCRED")]
    pub fn credentials_of(&self, pid: Pid) -> Option<PeerCredentials> {
        self.hold
            .with(|core| core.connector.known.get(&pid)?.credentials)
    }

    /// Whether the ends of connections are told, by a [`Disconnected`](crate::Disconnected) each, from now on. At first they are not.
    pub fn notify_disconnects(&mut self, notify: bool) {
        self.hold.core().connector.notifies = notify;
    }

    /// As [`Inbox::send`], to whoever listens at `address` now.
    ///
    /// # Errors
    ///
    /// As there; [`SendError::NoProcess`] where nobody listens.
    pub fn send_to<T: Term>(&mut self, address: &Address, value: &T) -> Result<(), SendError> {
        let to = self.pid_of(address)?;
        self.send(to, value)
    }

    /// As [`Inbox::try_send`], to whoever listens at `address` now.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_to<T: Term>(&mut self, address: &Address, value: &T) -> Result<(), SendError> {
        let to = self.pid_of(address)?;
        self.try_send(to, value)
    }

    /// As [`Inbox::send_timeout`], to whoever listens at `address` now.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_to_timeout<T: Term>(
        &mut self,
        address: &Address,
        value: &T,
        limit: Duration,
    ) -> Result<(), SendError> {
        let to = self.pid_of(address)?;
        self.send_timeout(to, value, limit)
    }
}

impl Handle<Listening> {
    /// As [`Inbox::send_to`].
    ///
    /// # Errors
    ///
    /// As there; [`SendError::SystemDown`] also when the inbox is gone.
    pub fn send_to<T: Term>(&self, address: &Address, value: &T) -> Result<(), SendError> {
        let to = know(&mut self.shared.lock().connector, address)?;
        self.send(to, value)
    }
}

fn know(connector: &mut Listening, address: &Address) -> Result<Pid, SendError> {
    connector.know(address).map_err(|error| SendError::Address {
        source: Box::new(unusable(error, address)),
    })
}

fn unusable(error: Unusable, address: &Address) -> ListenError {
    let address = address.clone();
    match error {
        Unusable::Carrier => ListenError::Carrier { address },
        Unusable::Folder(source) => ListenError::Relative { address, source },
        Unusable::Address(error) => ListenError::Relative {
            address,
            source: io::Error::new(io::ErrorKind::InvalidInput, error),
        },
    }
}
