//! An inbox with a peer that sends what no inbox sends, and another that sends as it should.
//!
//! What the inbox gives is compared with what comes out of the decoders alone. The other peer's messages all arrive, in order.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use occ_inbox::{Inbox, ReceiveError, Wired};
use occ_sck::{
    Assembler, Deadline, Envelope, Header, Limits, MAX_DATAGRAM, Packet, SendError, Socket, kind,
};
use occasional::Pid;
use rustix::net::SendFlags;

use super::traffic::{Datagram, Traffic};
use super::types;
use crate::machine::open_fds;

const ME: Pid = pid(1);
const STRANGE: Pid = pid(2);
const ORDINARY: Pid = pid(3);

/// The kind of the frame with which a peer says that it has no room.
const NO_ROOM: u8 = kind::USER + 1;

/// The kind of the frame with which a peer says that descriptors may come. Those that come before it are closed.
const FDS: u8 = kind::USER + 4;

const fn pid(serial: u64) -> Pid {
    Pid {
        node: 0,
        incarnation: 1,
        serial,
    }
}

/// What the inbox is to give of the strange peer's: messages of these types, and then perhaps the end.
struct Expected {
    names: Vec<String>,
    is_broken: bool,
}

pub(crate) fn examine(traffic: &Traffic) -> Result<String, String> {
    let own = occasional::OsPid::own();
    let fds = || open_fds(own).map_err(|error| format!("{error:#}"));
    let before = fds()?;
    let way = exchange(traffic)?;
    let left = fds()?.saturating_sub(before);
    if left > 0 {
        return Err(format!("{left} descriptors are left"));
    }
    Ok(way)
}

fn exchange(traffic: &Traffic) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("no sockets: {error}");
    let (strange, theirs) = Socket::pair().map_err(failed)?;
    let (ordinary, others) = Socket::pair().map_err(failed)?;
    let wired = Wired::new([(STRANGE, theirs), (ORDINARY, others)]).map_err(failed)?;
    let mut inbox = Inbox::new(ME, wired).map_err(failed)?;

    let announced = traffic.len().is_multiple_of(2);
    if announced {
        announce_fds(&strange)?;
    }
    let mut sent = Traffic::new();
    let mut numbers = 0_u64;
    for datagram in traffic {
        if !send(&strange, datagram)? {
            break;
        }
        sent.push(datagram.clone());
        say(&ordinary, numbers)?;
        numbers += 1;
        // Some of it is looked at before there is more: what is asked for by its type, too.
        if datagram.bytes.len() % 3 == 1 {
            let early = inbox.receive_timeout::<u64>(Duration::ZERO);
            check_early(early)?;
            // What was taken is not compared any more.
            return drain(&mut inbox, None, Some(numbers)).map(|way| format!("early {way}"));
        }
    }
    // A datagram without a byte ends the connection of one who lives, and is passed over where its sender has hung up.
    let has_empty = sent.iter().any(|datagram| datagram.bytes.is_empty());
    if sent.len().is_multiple_of(2) && !has_empty {
        drop(strange);
    }
    let expected = expected(&sent, announced)?;
    drain(&mut inbox, Some(&expected), Some(numbers))
}

fn check_early(early: Result<Option<u64>, ReceiveError>) -> Result<(), String> {
    match early {
        Ok(_) | Err(ReceiveError::Undecodable { .. } | ReceiveError::Broken { .. }) => Ok(()),
        Err(error) => Err(format!("receive: {error:?}")),
    }
}

/// Sends also what no [`Socket`] would. False if there is no room.
fn send(socket: &Socket, Datagram { bytes, gifts }: &Datagram) -> Result<bool, String> {
    if bytes.is_empty() {
        return Ok(
            rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok(),
        );
    }
    let fds: Result<Vec<OwnedFd>, _> = gifts.iter().map(|gift| gift.open()).collect();
    let fds = fds.map_err(|error| format!("no descriptor to send: {error}"))?;
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    match socket.send(&[std::io::IoSlice::new(bytes)], &fds, Deadline::Now) {
        Ok(()) => Ok(true),
        Err(SendError::Full | SendError::Closed | SendError::TooManyInFlight { .. }) => Ok(false),
        Err(error) => Err(format!("it cannot be sent: {error}")),
    }
}

fn say(socket: &Socket, number: u64) -> Result<(), String> {
    let packet = Packet::of(kind::USER, &number).map_err(|error| error.to_string())?;
    packet
        .send_part(0, socket, &[], Deadline::Now)
        .map_err(|error| error.to_string())
}

fn announce_fds(socket: &Socket) -> Result<(), String> {
    let packet = Packet::of(FDS, &()).map_err(|error| error.to_string())?;
    packet
        .send_part(0, socket, &[], Deadline::Now)
        .map_err(|error| error.to_string())
}

/// What comes out of the decoders. `announced`: it was said at first that descriptors may come.
fn expected(sent: &Traffic, mut announced: bool) -> Result<Expected, String> {
    let mut assembler = Assembler::new(Limits::default());
    let mut expected = Expected {
        names: Vec::new(),
        is_broken: false,
    };
    for datagram in sent {
        let gifts = datagram.gifts.iter().filter(|_| announced);
        let fds: Result<Vec<OwnedFd>, _> = gifts.map(|gift| gift.open()).collect();
        let fds = fds.map_err(|error| format!("no descriptor: {error}"))?;
        // Longer than any, or empty: the socket's own affair.
        let is_datagram = (1..=MAX_DATAGRAM).contains(&datagram.bytes.len());
        // Another of its threads may be amid a message.
        if is_datagram && assembler.is_partial() && says_no_room(&datagram.bytes) {
            break;
        }
        let pushed = if is_datagram {
            assembler.push(&datagram.bytes, fds).ok()
        } else {
            None
        };
        match pushed {
            Some(None) => continue,
            Some(Some(envelope)) if envelope.kind == FDS => {
                announced = true;
                continue;
            }
            Some(Some(envelope)) if envelope.kind == kind::USER => {
                expected.names.push(name_of(&envelope));
                continue;
            }
            Some(Some(envelope)) if envelope.kind == NO_ROOM => {}
            _ => expected.is_broken = true,
        }
        break;
    }
    Ok(expected)
}

fn says_no_room(datagram: &[u8]) -> bool {
    Header::parse(datagram).is_ok_and(|(header, _, _)| header.kind == NO_ROOM)
}

fn name_of(envelope: &Envelope) -> String {
    envelope.type_name().to_owned()
}

/// Takes everything out, and looks at it.
fn drain(
    inbox: &mut Inbox<Wired>,
    expected: Option<&Expected>,
    ordinary: Option<u64>,
) -> Result<String, String> {
    let (mut names, mut numbers, mut broken) = (Vec::new(), Vec::new(), 0);
    loop {
        match inbox.receive_any_timeout(Duration::ZERO) {
            Ok(Some(message)) if message.from == STRANGE => {
                // Of one type at the most.
                let as_text = message.decode::<String>().is_ok();
                let as_number = message.decode::<u64>().is_ok();
                let as_bytes = message.decode::<occ_sck::Bytes>().is_ok();
                if u8::from(as_text) + u8::from(as_number) + u8::from(as_bytes) > 1 {
                    return Err("one message is of two types".to_owned());
                }
                names.push(message.type_name().to_owned());
            }
            Ok(Some(message)) => {
                let number = message.decode::<u64>().map_err(|error| error.to_string())?;
                numbers.push(number);
            }
            Ok(None) => break,
            Err(ReceiveError::Broken { from: STRANGE, .. }) => broken += 1,
            Err(error) => return Err(format!("receive: {error:?}")),
        }
    }
    if let Some(expected) = expected {
        if names != expected.names {
            return Err(format!(
                "messages of {names:?} were received, and not of {:?}",
                expected.names
            ));
        }
        if broken != usize::from(expected.is_broken) {
            return Err(format!(
                "that it is broken was told {broken} times, and it is: {}",
                expected.is_broken
            ));
        }
        let all: Vec<u64> = (0..ordinary.unwrap_or_default()).collect();
        if numbers != all {
            return Err(format!("of the other peer {numbers:?} came"));
        }
    }
    if !numbers.is_sorted() {
        return Err(format!("of the other peer {numbers:?} came"));
    }
    let known = |name: &String| types::ALL.iter().any(|of| of.type_name == name);
    let named = names.iter().filter(|name| known(name)).count();
    Ok(format!("{named} of {} known, {broken} broken", names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::traffic::{Symbols, parse};

    /// What it is compared with is not what it gives: an end of it that is told otherwise would be seen.
    #[test]
    fn what_comes_of_it_is_known_beforehand() {
        for (text, names, is_broken) in [
            ("frame 0 @u64 : 05\nframe 0 @string : 0161", 2, false),
            ("frame 0 @u64 : 05\n00\nframe 0 @u64 : 05", 1, true),
            ("frame 64 @u64 : 05", 0, true),
            ("frame 1 @unit :\nframe 0 @u64 : 05", 0, false),
            (
                "part 0 7 0 2 65700 @bytes : a18104 aa*65597\nframe 1 @unit :\nframe 0 @u64 : 05",
                0,
                false,
            ),
            (
                "part 0 7 0 2 65700 @bytes : a18104 aa*65597\nframe 0 @u64 : 05",
                0,
                true,
            ),
            ("00*0", 0, true),
            ("00*70000", 0, true),
            ("frame 0 @u64 : 05 +null", 1, false),
            ("frame 4 @unit :\nframe 0 @u64 : 05 +null", 1, false),
        ] {
            let traffic = parse(text, &Symbols::new()).unwrap();
            let expected = expected(&traffic, false).unwrap();
            assert_eq!(
                (expected.names.len(), expected.is_broken),
                (names, is_broken),
                "{text}"
            );
            exchange(&traffic).unwrap();
        }
    }

    #[test]
    fn a_message_that_does_not_come_or_was_not_sent_is_seen() {
        for name in ["u64", "u32"] {
            let (strange, theirs) = Socket::pair().unwrap();
            let mut inbox = Inbox::new(ME, Wired::new([(STRANGE, theirs)]).unwrap()).unwrap();
            say(&strange, 1).unwrap();
            let expected = Expected {
                names: vec![name.to_owned()],
                is_broken: false,
            };
            let drained = drain(&mut inbox, Some(&expected), None);
            assert_eq!(drained.is_ok(), name == "u64", "{drained:?}");
        }
    }
}
