//! Waiting for connections at an address, until somebody says that it is enough.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags};

use crate::address::Address;
use crate::bound_path::BoundPath;
use crate::channel::Channel;
use crate::connection_error::{AcceptError, ListenError};
use crate::deadline::Deadline;

/// Connections that the kernel keeps for a process that does not accept them yet, where `net.core.somaxconn` allows it.
const BACKLOG: i32 = 4096;

/// A socket that others connect to.
///
/// Any number of threads may accept at once, and any may close it. A listener that is dropped is closed, in the process that
/// made it: a fork of that process has a copy, and leaves the path alone.
///
/// ```
/// use occ_sck::{Address, Channel, Listener};
///
/// let listener = Listener::bind(&"tcp:127.0.0.1:0".parse()?)?;
/// std::thread::scope(|scope| -> anyhow::Result<()> {
///     let server = scope.spawn(|| -> anyhow::Result<u32> {
///         let mut served = 0;
///         while let Some(mut channel) = listener.accept()? {
///             let question: Option<String> = channel.receive()?;
///             channel.send(&question.map(|question| question.to_uppercase()))?;
///             served += 1;
///         }
///         Ok(served)
///     });
///
///     let mut channel = Channel::connect(listener.address())?;
///     channel.send(&"hello".to_string())?;
///     assert_eq!(channel.receive()?, Some(Some("HELLO".to_string())));
///
///     listener.close();
///     assert_eq!(server.join().expect("no panic")?, 1);
///     assert!(Channel::connect(listener.address()).is_err());
///     Ok(())
/// })?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    /// Nothing once it is closed. Those who accept share it; who closes waits for them, which are woken first.
    socket: RwLock<Option<OwnedFd>>,
    closed: AtomicBool,
    /// Readable from the moment of closing on, for good.
    closing: OwnedFd,
    address: Address,
    path: Option<BoundPath>,
    /// The process that made it.
    os_pid: u32,
}

impl Listener {
    /// Listens at `address`, with the carrier that it names.
    ///
    /// A path that a dead process has left behind is taken over; one that somebody has is not disturbed. A TCP port is
    /// had again right after another process has listened there, whatever connections are left of it.
    ///
    /// # Errors
    ///
    /// [`ListenError::AddrInUse`]; [`ListenError::NoSocket`] for a path where there is something else;
    /// [`ListenError::Locked`]; else what the kernel says.
    #[doc(alias = "listen")]
    pub fn bind(address: &Address) -> Result<Listener, ListenError> {
        let failed = |op| {
            move |source: Errno| match source {
                Errno::ADDRINUSE => ListenError::AddrInUse {
                    address: address.clone(),
                },
                _ => ListenError::Io {
                    op,
                    address: address.clone(),
                    source: source.into(),
                },
            }
        };
        let closing =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC).map_err(failed("eventfd"))?;
        // Without blocking from birth: of two who are woken by one connection, one would wait for the next, and would not hear
        // that the listener is closed. It is the listener's mode alone, and no connection has it.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (address.family(), address.socket_type());
        let fd = rustix::net::socket_with(family, kind, flags, None).map_err(failed("socket"))?;

        let mut path = None;
        if let Some(bound) = address.as_path() {
            path = Some(BoundPath::bind(&fd, address, bound)?);
        } else {
            if family != AddressFamily::UNIX {
                // Connections that have ended keep the port for a minute otherwise (TIME_WAIT). Two that listen it
                // does not allow.
                rustix::net::sockopt::set_socket_reuseaddr(&fd, true)
                    .map_err(failed("setsockopt"))?;
            }
            let place = address.to_rustix().map_err(failed("bind"))?;
            rustix::net::bind(&fd, &place).map_err(failed("bind"))?;
        }
        // Made whole before what can fail, so that it removes the path when it does.
        let mut listener = Listener {
            socket: RwLock::new(None),
            closed: AtomicBool::new(false),
            closing,
            address: address.clone(),
            path,
            os_pid: std::process::id(),
        };
        let listening = rustix::net::listen(&fd, BACKLOG).map_err(failed("listen"));
        let own = rustix::net::getsockname(&fd).map_err(failed("getsockname"));
        *listener.own() = Some(fd);
        listening?;
        if address.as_tcp().is_some()
            && let Some(own) = Address::of_kernel(own?)
        {
            listener.address = own;
        }
        Ok(listener)
    }

    /// Where it listens. For a TCP address with port 0, the port that it was given.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection; `None` once the listener is closed, also for those who wait.
    ///
    /// # Errors
    ///
    /// No room for a descriptor, here or in the system: the connection still waits.
    #[doc(alias = "accept4")]
    pub fn accept(&self) -> Result<Option<Channel>, AcceptError> {
        self.accept_by(Deadline::Never)
    }

    /// The next connection, if there is one within `limit`; zero takes one that waits already.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`], and [`AcceptError::TimedOut`].
    pub fn accept_timeout(&self, limit: Duration) -> Result<Option<Channel>, AcceptError> {
        self.accept_by(Deadline::after(limit))
    }

    fn accept_by(&self, deadline: Deadline) -> Result<Option<Channel>, AcceptError> {
        let failed = |op| {
            move |source: Errno| AcceptError::Io {
                op,
                source: source.into(),
            }
        };
        let socket = self.socket.read().unwrap_or_else(PoisonError::into_inner);
        let Some(fd) = socket.as_ref() else {
            return Ok(None);
        };
        while !self.closed.load(Ordering::SeqCst) {
            match rustix::net::accept_with(fd, SocketFlags::CLOEXEC) {
                Ok(fd) => {
                    let accepted = Channel::connected(fd, &self.address);
                    return accepted.map(Some).map_err(failed("setsockopt"));
                }
                Err(Errno::AGAIN) if deadline.passed() => return Err(AcceptError::TimedOut),
                Err(Errno::AGAIN) => {
                    if self.wait(fd, deadline).map_err(failed("poll"))? {
                        break;
                    }
                }
                // It does not listen any more: another process that has it has closed it.
                Err(Errno::INVAL) => break,
                Err(error) if of_the_connection(error) => {}
                Err(error) => return Err(failed("accept4")(error)),
            }
        }
        Ok(None)
    }

    /// Waits for a connection, for the deadline, or for the end: true for that.
    fn wait(&self, fd: &OwnedFd, deadline: Deadline) -> rustix::io::Result<bool> {
        let mut fds = [
            PollFd::new(fd, PollFlags::IN),
            PollFd::new(&self.closing, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, deadline.timespec().as_ref()) {
            Ok(_) => Ok(fds[1].revents().contains(PollFlags::IN)),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops listening, for everybody who has this socket, and removes its path. Whoever waits in
    /// [`Listener::accept`] is told; whoever connects from now on is refused. Connections that nobody has accepted end,
    /// and those that were accepted go on.
    ///
    /// A listener that is closed already stays so.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // One that is full is readable, too.
        let _ = rustix::io::write(&self.closing, &1_u64.to_ne_bytes());
        let fd = self
            .socket
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(fd) = fd else { return };
        self.remove_path();
        // A fork may have it as well.
        let _ = rustix::net::shutdown(&fd, Shutdown::Both);
    }

    /// Closes it here, and leaves it and its path to whoever else holds the socket, a fork for one.
    pub fn detach(mut self) {
        self.path = None;
    }

    /// The socket, which others may be given: what they accept becomes a channel by
    /// [`Channel::from_fd`](crate::Channel::from_fd). It is in non-blocking mode, and the path is left to them.
    pub fn into_fd(mut self) -> Option<OwnedFd> {
        self.path = None;
        self.own().take()
    }

    /// What `look` makes of the socket, for one who waits for connections together with other things: it is readable when
    /// there is one to [accept](Listener::accept_timeout). `None` once the listener is closed. Who closes it waits for `look`.
    pub fn with_fd<R>(&self, look: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
        let socket = self.socket.read().unwrap_or_else(PoisonError::into_inner);
        socket.as_ref().map(|fd| look(fd.as_fd()))
    }

    fn remove_path(&self) {
        if let Some(path) = &self.path {
            path.remove();
        }
    }

    fn own(&mut self) -> &mut Option<OwnedFd> {
        self.socket
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with a connection that ended before it was accepted, and not with the listener (accept(2)).
fn of_the_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NONET
    )
}

impl Drop for Listener {
    fn drop(&mut self) {
        if std::process::id() == self.os_pid && self.own().is_some() {
            // While the socket is still there: see `bound_path.rs`.
            self.remove_path();
        }
    }
}
