//! The first word on a connection: the address of the inbox that connects.

use std::os::fd::OwnedFd;

use occ_sck::{
    Address, Assembler, Deadline, Header, Packet, Received, SendError, Socket, TypeKey, decode,
    encode_into, kind,
};

use super::named::absolute;

/// The kind of the frame: of those between inboxes, `peer.rs` has two others.
const HELLO: u8 = kind::USER + 3;

/// What it says is told by this and by no type, because the programs need not be built by one compiler.
const KEY: [u8; 16] = *b"occ-inbox hello\0";
const NAME: &str = "occ_inbox::Hello";

/// The first thing in it. Who finds another one does not talk to that peer.
const VERSION: u8 = 1;

/// No first word is longer.
const LONGEST: usize = 4096;

/// Says the first word. There is room for it on a new connection.
pub(super) fn say(address: &Address, socket: &Socket) -> Result<(), SendError> {
    let mut payload = Vec::new();
    encode_into(&(VERSION, address), &mut payload).map_err(SendError::Encode)?;
    let packet = Packet::raw(HELLO, TypeKey::from_bytes(KEY), NAME, &payload);
    packet.send_part(0, socket, &[], Deadline::Now)
}

/// What is to be heard on a connection that has just been accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The inbox at this address has connected.
    Of(Address),
    /// Nothing yet.
    None,
    /// No inbox has.
    Nonsense,
}

/// Hears the first word, without waiting, and no other.
pub(super) fn hear(socket: &Socket) -> Word {
    let mut buffer = [0; LONGEST];
    let mut fds: Vec<OwnedFd> = Vec::new();
    match socket.receive(&mut buffer, &mut fds, Deadline::Now) {
        Ok(Received::Datagram { len, .. }) if fds.is_empty() => parse(&buffer[..len]),
        Ok(Received::Nothing) => Word::None,
        Ok(Received::Datagram { .. } | Received::Closed) | Err(_) => Word::Nonsense,
    }
}

fn parse(datagram: &[u8]) -> Word {
    let single = Header::parse(datagram).is_ok_and(|(header, _, _)| header.parts == 1);
    if !single {
        return Word::Nonsense;
    }
    let Ok(Some(envelope)) = Assembler::default().push(datagram, Vec::new()) else {
        return Word::Nonsense;
    };
    if envelope.kind != HELLO || envelope.key != TypeKey::from_bytes(KEY) {
        return Word::Nonsense;
    }
    let said = envelope
        .bytes()
        .ok()
        .and_then(|bytes| decode::<(u8, Address)>(&bytes).ok());
    match said {
        // Written otherwise, it would be another name.
        Some((VERSION, address)) if absolute(&address).is_ok_and(|same| same == address) => {
            Word::Of(address)
        }
        _ => Word::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_what_follows_is_left() {
        let (one, two) = Socket::pair().unwrap();
        assert_eq!(hear(&two), Word::None);
        let address: Address = "seqpacket:@one".parse().unwrap();
        say(&address, &one).unwrap();
        say(&address, &one).unwrap();
        assert_eq!(hear(&two), Word::Of(address.clone()));
        assert_eq!(hear(&two), Word::Of(address));
        assert_eq!(hear(&two), Word::None);
        one.close();
        assert_eq!(hear(&two), Word::Nonsense);
    }

    #[test]
    fn whatever_else_is_said_is_nonsense() {
        let packet = |kind, key, payload: &[u8]| {
            let (one, two) = Socket::pair().unwrap();
            let packet = Packet::raw(kind, TypeKey::from_bytes(key), NAME, payload);
            packet.send_part(0, &one, &[], Deadline::Now).unwrap();
            hear(&two)
        };
        let said = |version: u8, address: &str| {
            let mut payload = Vec::new();
            encode_into(&(version, address), &mut payload).unwrap();
            payload
        };
        let right = said(VERSION, "seqpacket:@one");
        assert!(matches!(packet(HELLO, KEY, &right), Word::Of(_)));
        let wrong = [
            packet(kind::USER, KEY, &right),
            packet(HELLO, [0; 16], &right),
            packet(HELLO, KEY, &said(VERSION + 1, "seqpacket:@one")),
            packet(HELLO, KEY, &said(VERSION, "unix:@one")),
            packet(HELLO, KEY, &said(VERSION, "seqpacket:relative")),
            packet(HELLO, KEY, &said(VERSION, "nowhere")),
            packet(HELLO, KEY, &right[..5]),
            packet(HELLO, KEY, &[]),
            packet(HELLO, KEY, &[0xff; LONGEST]),
        ];
        for (at, word) in wrong.into_iter().enumerate() {
            assert_eq!(word, Word::Nonsense, "{at}");
        }
        let (one, two) = Socket::pair().unwrap();
        one.send(
            &[std::io::IoSlice::new(b"GET / HTTP/1.1")],
            &[],
            Deadline::Now,
        )
        .unwrap();
        assert_eq!(hear(&two), Word::Nonsense);
    }
}
