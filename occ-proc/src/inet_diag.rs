//! TCP and UDP sockets, over IPv4 and IPv6, as sock_diag(7) tells of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::missing::Field;
use crate::netlink::{dump, u32_at};
use crate::sockets::{Peer, Socket, SocketKind, SocketState};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// The size of `inet_diag_sockid`.
const SOCKET_ID: usize = 48;

pub(crate) fn all(kind: SocketKind) -> Field<Vec<Socket>> {
    let mut found = asked(kind, AF_INET)?;
    // A machine without IPv6 has none of those.
    found.extend(asked(kind, AF_INET6).unwrap_or_default());
    Ok(found)
}

fn asked(kind: SocketKind, family: u8) -> Field<Vec<Socket>> {
    let protocol = match kind {
        SocketKind::Udp => IPPROTO_UDP,
        _ => IPPROTO_TCP,
    };
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states, socket.
    let mut request = vec![family, protocol, 0, 0];
    request.extend_from_slice(&u32::MAX.to_ne_bytes());
    request.extend_from_slice(&[0; SOCKET_ID]);
    dump(&request, |answer| read(kind, answer))
}

/// Reads a struct inet_diag_msg: family, state, timer, retransmissions, ports, addresses, interface, cookie, expiry,
/// queues, user, inode.
fn read(kind: SocketKind, answer: &[u8]) -> Option<Socket> {
    let (family, state) = (*answer.first()?, *answer.get(1)?);
    let inode = u64::from(u32_at(answer, 4 + SOCKET_ID + 16)?);
    if inode == 0 {
        // Nobody has it: not accepted yet, or closed and lingering.
        return None;
    }
    let local = end(family, answer.get(4..6)?, answer.get(8..24)?)?;
    let remote = end(family, answer.get(6..8)?, answer.get(24..40)?)?;
    let state = state_of(state);
    let connected = !remote.ip().is_unspecified() || remote.port() != 0;
    let peer = connected.then(|| Peer {
        inode: None,
        address: Some(remote.into()),
    });
    let bound = local.port() != 0 || !local.ip().is_unspecified();
    Some(Socket {
        inode,
        kind,
        state,
        local: bound.then(|| local.into()),
        peer,
        waiting: u32_at(answer, 4 + SOCKET_ID + 4),
    })
}

fn end(family: u8, port: &[u8], address: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(port.try_into().ok()?);
    let ip = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?)),
        // A socket of both families has IPv4 addresses in the clothes of IPv6 (ipv6(7)).
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, port))
}

/// The states of tcp(7), by the kernel's numbers. UDP has two of them.
fn state_of(number: u8) -> SocketState {
    match number {
        1 => SocketState::Connected,
        2 | 3 | 12 => SocketState::Connecting,
        4..=6 | 8 | 9 | 11 => SocketState::Closing,
        10 => SocketState::Listening,
        _ => SocketState::Unconnected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(family: u8, state: u8, ends: [(&[u8], u16); 2], inode: u32) -> Vec<u8> {
        let mut answer = vec![family, state, 0, 0];
        for (_, port) in ends {
            answer.extend_from_slice(&port.to_be_bytes());
        }
        for (address, _) in ends {
            answer.extend_from_slice(address);
            answer.resize(answer.len().next_multiple_of(8), 0);
            let wanted = if answer.len() <= 24 { 24 } else { 40 };
            answer.resize(wanted, 0);
        }
        answer.extend_from_slice(&[0; 12]);
        for word in [0, 5, 0, 0, inode] {
            answer.extend_from_slice(&u32::to_ne_bytes(word));
        }
        answer
    }

    #[test]
    fn an_answer_is_read() {
        let bytes = answer(
            AF_INET,
            1,
            [(&[127, 0, 0, 1], 80), (&[10, 0, 0, 2], 999)],
            77,
        );
        let socket = read(SocketKind::Tcp, &bytes).expect("a socket");
        assert_eq!((socket.inode, socket.state), (77, SocketState::Connected));
        assert_eq!(
            socket.local,
            Some(SocketAddr::from(([127, 0, 0, 1], 80)).into())
        );
        let peer = socket.peer.expect("a peer");
        assert_eq!(
            peer.address,
            Some(SocketAddr::from(([10, 0, 0, 2], 999)).into())
        );
        assert_eq!(socket.waiting, Some(5));
    }

    #[test]
    fn an_address_of_both_families_is_the_one_that_it_stands_for() {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        let bytes = answer(AF_INET6, 10, [(&mapped, 80), (&[0; 16], 0)], 77);
        let socket = read(SocketKind::Tcp, &bytes).expect("a socket");
        assert_eq!(
            socket.local,
            Some(SocketAddr::from(([127, 0, 0, 1], 80)).into())
        );
        assert_eq!((socket.peer, socket.state), (None, SocketState::Listening));
    }

    #[test]
    fn what_nobody_has_or_is_cut_short_is_none() {
        let bytes = answer(
            AF_INET,
            6,
            [(&[127, 0, 0, 1], 80), (&[10, 0, 0, 2], 999)],
            0,
        );
        assert_eq!(read(SocketKind::Tcp, &bytes), None);
        let bytes = answer(
            AF_INET,
            1,
            [(&[127, 0, 0, 1], 80), (&[10, 0, 0, 2], 999)],
            1,
        );
        for cut in 0..bytes.len() {
            assert_eq!(read(SocketKind::Tcp, &bytes[..cut]), None, "{cut}");
        }
    }
}
