//! Questions to the kernel about sockets, by netlink(7): one request, and an answer in many messages.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use crate::missing::{Field, Missing};

/// The type of every request and answer about sockets.
const SOCK_DIAG_BY_FAMILY: u16 = 20;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// The list changed while it was read, and may not be whole.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// How often a list that changed meanwhile is read again, before it is taken for as good as it gets.
const AGAIN: usize = 5;

/// The size of a message's header: length, type, flags, sequence number, port.
const HEADER: usize = 16;

/// Asks, and gives what `read` makes of each answer.
pub(crate) fn dump<T>(request: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Field<Vec<T>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )
    .map_err(Missing::of)?;
    let mut found = Vec::new();
    for sequence in 1..=AGAIN {
        found.clear();
        let whole = ask(&socket, sequence as u32, request, |answer| {
            found.extend(read(answer));
        })?;
        if whole {
            break;
        }
    }
    Ok(found)
}

/// False if the list is not whole.
fn ask(
    socket: &OwnedFd,
    sequence: u32,
    request: &[u8],
    mut take: impl FnMut(&[u8]),
) -> Field<bool> {
    let mut message = Vec::with_capacity(HEADER + request.len());
    let length = (HEADER + request.len()) as u32;
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(request);
    sendto(
        socket,
        &message,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )
    .map_err(Missing::of)?;

    let mut space = vec![MaybeUninit::<u8>::uninit(); 1 << 16];
    let mut whole = true;
    loop {
        let received = match recv(socket, &mut space[..], RecvFlags::empty()) {
            Ok(((bytes, _), _)) => bytes,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Missing::of(errno)),
        };
        for message in messages(received) {
            if message.sequence != sequence {
                continue;
            }
            whole &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_DONE => return Ok(whole),
                NLMSG_ERROR => return Err(refused(message.body)),
                SOCK_DIAG_BY_FAMILY => take(message.body),
                _ => {}
            }
        }
    }
}

/// What the kernel calls a family or protocol that it has no module for.
fn refused(body: &[u8]) -> Missing {
    let errno = body.get(..4).and_then(|bytes| bytes.try_into().ok());
    match Errno::from_raw_os_error(-errno.map_or(0, i32::from_ne_bytes)) {
        Errno::NOENT => Missing::Unsupported,
        other => Missing::of(other),
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let body = bytes.get(HEADER..length)?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes that follow the fixed part of an answer: each a length, a type, and bytes.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let attribute = (u16_at(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(attribute)
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(bytes))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_the_end() {
        for bytes in [
            &[][..],
            &[1, 2, 3],
            &[0; 16],
            &[200, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
        for bytes in [
            &[][..],
            &[4, 0],
            &[0, 0, 1, 0],
            &[3, 0, 1, 0],
            &[9, 0, 1, 0, 7],
        ] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn attributes_are_padded_to_four_bytes() {
        let bytes = [5, 0, 1, 0, 7, 0, 0, 0, 6, 0, 2, 0, 8, 9];
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(1, &[7][..]), (2, &[8, 9])]);
    }

    #[test]
    fn a_family_without_a_module_is_not_supported() {
        let body = |errno: Errno| (-errno.raw_os_error()).to_ne_bytes();
        assert_eq!(refused(&body(Errno::NOENT)), Missing::Unsupported);
        assert_eq!(refused(&body(Errno::PERM)), Missing::Denied);
        let other = Missing::Failed {
            errno: Errno::NOMEM.raw_os_error(),
        };
        assert_eq!(refused(&body(Errno::NOMEM)), other);
    }
}
