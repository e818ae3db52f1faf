//! Sockets: what kind, in which state, where, and connected with whom.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::missing::{Field, Missing};
use crate::{inet_diag, unix_diag};

/// A socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Socket {
    /// Its inode: what `/proc/PID/fd` calls it by.
    pub inode: u64,
    /// Of which kind.
    pub kind: SocketKind,
    /// In which state.
    pub state: SocketState,
    /// The address that it is bound to.
    pub local: Option<Address>,
    /// Who is at the other end.
    pub peer: Option<Peer>,
    /// Bytes that wait to be received; of a listening one, connections that wait to be accepted. `None` where the
    /// kernel does not say.
    pub waiting: Option<u32>,
}

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SocketKind {
    /// `AF_UNIX`, `SOCK_STREAM`.
    UnixStream,
    /// `AF_UNIX`, `SOCK_DGRAM`.
    UnixDatagram,
    /// `AF_UNIX`, `SOCK_SEQPACKET`.
    UnixSeqpacket,
    /// TCP, over IPv4 or IPv6.
    Tcp,
    /// UDP, over IPv4 or IPv6.
    Udp,
}

/// The state of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketState {
    /// Neither listening nor connected: not yet, or not any more.
    Unconnected,
    /// It waits for connections.
    Listening,
    /// On its way to be connected.
    Connecting,
    /// Connected.
    Connected,
    /// One of the two sides has closed.
    Closing,
}

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A path in the file system, as it was given to bind(2).
    Path(PathBuf),
    /// A name in the abstract namespace (unix(7)), without the zero byte before it.
    Abstract(Vec<u8>),
    /// An Internet address.
    Inet(SocketAddr),
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The inode of the other socket, where it is one of this machine and somebody has it: who,
    /// [`Holders`](crate::Holders) tells.
    pub inode: Option<u64>,
    /// Its address, if it has one.
    pub address: Option<Address>,
}

impl Socket {
    /// True while it waits for connections.
    pub fn is_listening(&self) -> bool {
        self.state == SocketState::Listening
    }

    /// True while both ends are there.
    pub fn is_connected(&self) -> bool {
        self.state == SocketState::Connected
    }
}

/// All sockets of the caller's network namespace, by their inodes.
#[derive(Clone, Debug)]
pub struct Sockets {
    all: HashMap<u64, Socket>,
    /// Kinds that could not be asked for.
    missing: BTreeMap<SocketKind, Missing>,
}

impl Sockets {
    /// Asks the kernel (sock_diag(7)).
    #[doc(alias = "NETLINK_SOCK_DIAG")]
    pub fn now() -> Sockets {
        let mut sockets = Sockets {
            all: HashMap::new(),
            missing: BTreeMap::new(),
        };
        match unix_diag::all() {
            Ok(found) => sockets.take(found),
            Err(missing) => {
                for kind in [
                    SocketKind::UnixStream,
                    SocketKind::UnixDatagram,
                    SocketKind::UnixSeqpacket,
                ] {
                    sockets.missing.insert(kind, missing);
                }
            }
        }
        for kind in [SocketKind::Tcp, SocketKind::Udp] {
            match inet_diag::all(kind) {
                Ok(found) => sockets.take(found),
                Err(missing) => {
                    sockets.missing.insert(kind, missing);
                }
            }
        }
        sockets.match_peers();
        sockets
    }

    fn take(&mut self, found: Vec<Socket>) {
        let found = found.into_iter().map(|socket| (socket.inode, socket));
        self.all.extend(found);
    }

    /// The other end of an Internet connection is the socket whose two addresses are the same, the other way round.
    fn match_peers(&mut self) {
        let ends: HashMap<_, _> = self
            .all
            .values()
            .filter_map(|socket| Some((socket.ends()?, socket.inode)))
            .collect();
        for socket in self.all.values_mut() {
            if let Some((kind, local, remote)) = socket.ends()
                && let Some(peer) = &mut socket.peer
            {
                peer.inode = ends.get(&(kind, remote, local)).copied();
            }
        }
        // What the kernel says of a Unix peer is its inode alone.
        let addresses: HashMap<u64, Address> = self
            .all
            .values()
            .filter_map(|socket| Some((socket.inode, socket.local.clone()?)))
            .collect();
        for socket in self.all.values_mut() {
            if let Some(peer) = &mut socket.peer
                && peer.address.is_none()
                && let Some(inode) = peer.inode
            {
                peer.address = addresses.get(&inode).cloned();
            }
        }
    }

    /// What is known of the socket with this inode.
    ///
    /// # Errors
    ///
    /// It has been closed since, or is of a kind that cannot be asked for.
    pub fn get(&self, inode: u64) -> Field<&Socket> {
        let why = self.missing.values().next().copied();
        self.all.get(&inode).ok_or(why.unwrap_or(Missing::Gone))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.all.values()
    }
}

impl Socket {
    fn ends(&self) -> Option<(SocketKind, SocketAddr, SocketAddr)> {
        let Some(Address::Inet(local)) = self.local else {
            return None;
        };
        match self.peer.as_ref()?.address {
            Some(Address::Inet(remote)) => Some((self.kind, local, remote)),
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Inet(address)
    }
}

impl fmt::Display for SocketKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SocketKind::UnixStream => "unix stream",
            SocketKind::UnixDatagram => "unix datagram",
            SocketKind::UnixSeqpacket => "unix seqpacket",
            SocketKind::Tcp => "tcp",
            SocketKind::Udp => "udp",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => String::from_utf8_lossy(path.as_os_str().as_bytes()).fmt(f),
            Address::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Address::Inet(address) => address.fmt(f),
        }
    }
}

/// One line: `tcp 127.0.0.1:80, listening`, `unix seqpacket, connected with socket 1234`.
impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} socket {}", self.kind, self.inode)?;
        if let Some(local) = &self.local {
            write!(f, " at {local}")?;
        }
        f.write_str(match self.state {
            SocketState::Unconnected => ", unconnected",
            SocketState::Listening => ", listening",
            SocketState::Connecting => ", connecting",
            SocketState::Connected => ", connected",
            SocketState::Closing => ", closing",
        })?;
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        if let Some(address) = &peer.address {
            write!(f, " with {address}")?;
        }
        match peer.inode {
            Some(inode) => write!(f, " (socket {inode})"),
            None => Ok(()),
        }
    }
}
