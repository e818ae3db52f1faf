//! Connecting by address, within a limit.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{
    Timeout, set_socket_linger, set_socket_reuseaddr, set_socket_timeout, socket_error,
};
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags};

use crate::address::Address;
use crate::connection_error::ConnectError;
use crate::deadline::Deadline;
use crate::transmit;

/// Of less the kernel would make no limit at all.
const LEAST: Duration = Duration::from_micros(1);

/// A socket that is connected with a listener at `address`, in blocking mode.
pub(crate) fn connect(address: &Address, deadline: Deadline) -> Result<OwnedFd, ConnectError> {
    let failed = |op| {
        move |source: Errno| ConnectError::Io {
            op,
            address: address.clone(),
            source: source.into(),
        }
    };
    let to = address.to_rustix().map_err(failed("connect"))?;
    let family = address.family();
    let (kind, flags) = (address.socket_type(), SocketFlags::CLOEXEC);
    let fd = rustix::net::socket_with(family, kind, flags, None).map_err(failed("socket"))?;
    let connected = match family {
        AddressFamily::UNIX => connect_unix(&fd, &to, deadline),
        _ => connect_tcp(&fd, &to, deadline),
    };
    match connected {
        Ok(()) => Ok(fd),
        Err(source @ (Errno::CONNREFUSED | Errno::NOENT | Errno::NOTDIR | Errno::CONNRESET)) => {
            Err(ConnectError::Refused {
                address: address.clone(),
                source: source.into(),
            })
        }
        Err(Errno::PROTOTYPE) => Err(ConnectError::OtherCarrier {
            address: address.clone(),
        }),
        Err(Errno::AGAIN) => Err(ConnectError::TimedOut {
            address: address.clone(),
        }),
        Err(source) => Err(failed("connect")(source)),
    }
}

/// Nothing can be waited for when the listener's queue is full, but for the call itself: and that has a limit of its own.
fn connect_unix(fd: &OwnedFd, to: &SocketAddrAny, deadline: Deadline) -> rustix::io::Result<()> {
    let mut connected = Err(Errno::AGAIN);
    while let Err(Errno::AGAIN | Errno::INTR) = connected {
        let left = deadline.left();
        if left.is_some_and(|left| left.is_zero()) {
            // The last one comes after the wait. Signals may have ended each before.
            connected = without_blocking(fd, || rustix::net::connect(fd, to));
            break;
        }
        set_socket_timeout(fd, Timeout::Send, left.map(|left| left.max(LEAST)))?;
        connected = rustix::net::connect(fd, to);
    }
    connected?;
    set_socket_timeout(fd, Timeout::Send, None)
}

fn connect_tcp(fd: &OwnedFd, to: &SocketAddrAny, deadline: Deadline) -> rustix::io::Result<()> {
    // The port that it is given may be one that somebody will want to listen at: what is left of this connection is not to be in the way.
    set_socket_reuseaddr(fd, true)?;
    without_blocking(fd, || {
        match rustix::net::connect(fd, to) {
            Err(Errno::INPROGRESS) => {}
            done => return done,
        }
        let poll = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        loop {
            if transmit::is(fd, PollFlags::OUT).map_err(poll)? {
                break;
            }
            if deadline.passed() {
                return Err(Errno::AGAIN);
            }
            transmit::wait(fd, PollFlags::OUT, deadline).map_err(poll)?;
        }
        socket_error(fd)?
    })?;
    // Where nobody listens, and the kernel happens to choose for us the very port that we want to connect to, we are connected with
    // ourselves (two that open at the same instant, RFC 9293, 3.5).
    if rustix::net::getsockname(fd)? == *to {
        // Without a wait for late packets, which would keep a listener from that port.
        set_socket_linger(fd, Some(Duration::ZERO))?;
        return Err(Errno::CONNREFUSED);
    }
    Ok(())
}

/// Nobody else has the file yet, so its mode may be changed.
fn without_blocking<T>(
    fd: &OwnedFd,
    body: impl FnOnce() -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    rustix::io::ioctl_fionbio(fd, true)?;
    let done = body();
    rustix::io::ioctl_fionbio(fd, false)?;
    done
}
