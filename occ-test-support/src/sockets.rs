//! How many sockets of which kind a process has: its own, or another's.

use occ_proc::{OsPid, Peer, Snapshot};

/// The sockets of a process that listen, and those that are connected by an address. Pairs do not count: other things are
/// made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Those that listen.
    pub listening: usize,
    /// Those that are connected, and of which one end has an address.
    pub connected: usize,
}

impl Sockets {
    /// Those of this process.
    ///
    /// # Panics
    ///
    /// As [`Sockets::of`].
    #[must_use]
    pub fn own() -> Sockets {
        Sockets::of(std::process::id())
    }

    /// Those of the process with this number.
    ///
    /// # Panics
    ///
    /// If it is not there, or may not be looked into.
    #[must_use]
    pub fn of(pid: u32) -> Sockets {
        let snapshot = Snapshot::of(OsPid::new(pid)).expect("looking at a process");
        let has_address = |peer: &Peer| peer.address.is_some();
        let mut sockets = Sockets::default();
        for process in snapshot.processes() {
            for fd in process.fds.as_ref().expect("its descriptors") {
                let Some(Ok(socket)) = fd.socket() else {
                    continue;
                };
                let addressed =
                    socket.local.is_some() || socket.peer.as_ref().is_some_and(has_address);
                sockets.listening += usize::from(socket.is_listening());
                sockets.connected += usize::from(socket.is_connected() && addressed);
            }
        }
        sockets
    }
}
