//! Who is at the other end of a connection.

use std::io;

use rustix::io::Errno;

use crate::address::Address;
use crate::channel::Channel;
use crate::sys;

/// Who is at the other end of a Unix connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Its process id, in this process's PID namespace, if it can be seen from there.
    pub os_pid: Option<u32>,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

impl Channel {
    /// Which process made the other end of a Unix connection, as the kernel says: of one that was accepted, the one that
    /// connected; of one that was connected, the one that listens; of a pair, the one that made it. `None` for TCP.
    ///
    /// # Errors
    ///
    /// What getsockopt(2) says.
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_credentials(&self) -> io::Result<Option<PeerCredentials>> {
        if !self.carrier.is_unix() {
            return Ok(None);
        }
        let credentials = sys::peer_credentials(&self.carrier)?;
        Ok(Some(PeerCredentials {
            os_pid: u32::try_from(credentials.pid).ok().filter(|pid| *pid != 0),
            user: credentials.uid,
            group: credentials.gid,
        }))
    }

    /// The address of the other end; `None` if it has none, as one that connected over a Unix socket, or has gone.
    ///
    /// # Errors
    ///
    /// What getpeername(2) says.
    #[doc(alias = "getpeername")]
    pub fn peer_address(&self) -> io::Result<Option<Address>> {
        match rustix::net::getpeername(&self.carrier) {
            Ok(address) => Ok(address
                .and_then(Address::of_kernel)
                .and_then(|address| match self.carrier.is_seqpacket() {
                    true => address.seqpacket().ok(),
                    false => Some(address),
                })),
            Err(Errno::NOTCONN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
