//! Unix sockets, as sock_diag(7) tells of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::missing::Field;
use crate::netlink::{attributes, dump, u32_at};
use crate::sockets::{Address, Peer, Socket, SocketKind, SocketState};

const AF_UNIX: u8 = 1;
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UDIAG_SHOW_RQLEN: u32 = 0x10;

const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const UNIX_DIAG_RQLEN: u16 = 4;
const UNIX_DIAG_SHUTDOWN: u16 = 6;

/// Both directions, in `UNIX_DIAG_SHUTDOWN`.
const SHUTDOWN_BOTH: u8 = 3;

/// The states that Unix sockets have, by TCP's numbers.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;
const SEQPACKET: u8 = 5;

/// The size of `unix_diag_msg`.
const ANSWER: usize = 16;

pub(crate) fn all() -> Field<Vec<Socket>> {
    // struct unix_diag_req: family, protocol, padding, states, inode, what to show, cookie.
    let mut request = vec![AF_UNIX, 0, 0, 0];
    let show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
    for word in [u32::MAX, 0, show, u32::MAX, u32::MAX] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    dump(&request, read)
}

fn read(answer: &[u8]) -> Option<Socket> {
    let kind = match *answer.get(1)? {
        STREAM => SocketKind::UnixStream,
        DATAGRAM => SocketKind::UnixDatagram,
        SEQPACKET => SocketKind::UnixSeqpacket,
        _ => return None,
    };
    let listening = *answer.get(2)? == LISTEN;
    let established = *answer.get(2)? == ESTABLISHED;
    let mut socket = Socket {
        inode: u64::from(u32_at(answer, 4)?),
        kind,
        state: SocketState::Unconnected,
        local: None,
        peer: None,
        waiting: None,
    };
    let mut shut_down = 0;
    for (attribute, bytes) in attributes(answer.get(ANSWER..)?) {
        match attribute {
            UNIX_DIAG_NAME => socket.local = address(bytes),
            UNIX_DIAG_PEER => {
                socket.peer = u32_at(bytes, 0).map(|inode| Peer {
                    // 0 when the other end has been closed, and while nobody has accepted it.
                    inode: (inode != 0).then_some(u64::from(inode)),
                    address: None,
                });
            }
            UNIX_DIAG_RQLEN => socket.waiting = u32_at(bytes, 0),
            UNIX_DIAG_SHUTDOWN => shut_down = bytes.first().copied().unwrap_or(0),
            _ => {}
        }
    }
    socket.state = match &socket.peer {
        _ if listening => SocketState::Listening,
        Some(Peer { inode: Some(_), .. }) if shut_down == 0 => SocketState::Connected,
        // It was accepted by nobody yet, and nobody has closed it.
        Some(Peer { inode: None, .. })
            if established && shut_down == 0 && kind != SocketKind::UnixDatagram =>
        {
            SocketState::Connecting
        }
        Some(_) => SocketState::Closing,
        None if established || shut_down == SHUTDOWN_BOTH => SocketState::Closing,
        None => SocketState::Unconnected,
    };
    Some(socket)
}

/// A name as the kernel keeps it: with a zero byte before it in the abstract namespace, and one after a path.
fn address(name: &[u8]) -> Option<Address> {
    match name {
        [] => None,
        [0, name @ ..] => Some(Address::Abstract(name.to_vec())),
        path => {
            let end = path
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(path.len());
            Some(Address::Path(PathBuf::from(OsStr::from_bytes(
                &path[..end],
            ))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_or_abstract() {
        assert_eq!(address(b"/tmp/x\0"), Some(Address::Path("/tmp/x".into())));
        assert_eq!(address(b"relative"), Some(Address::Path("relative".into())));
        assert_eq!(
            address(b"\0a\0b"),
            Some(Address::Abstract(b"a\0b".to_vec()))
        );
        assert_eq!(address(b""), None);
    }
}
