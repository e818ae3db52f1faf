//! Faults that were found and fixed; each would come back here first.

use std::sync::mpsc;

use occ_sck::{Channel, Deadline, Limits, Packet, Received, Socket};
use occ_test_support::{LIMIT, stress, within};

/// The kernel looks for a datagram first and for the end second. A peer that sent and closed between the two
/// was told as closed, and its last message was lost.
#[test]
fn a_message_sent_just_before_the_end_is_not_lost() {
    within(LIMIT * stress::times(4) as u32, || {
        let (hand_over, ends) = mpsc::channel::<Socket>();
        let sender = std::thread::spawn(move || {
            for end in ends {
                crate::send_bytes(&end, b"last words");
            }
        });
        let mut buffer = [0; 100];
        for round in 0..stress::times(20_000) {
            let (ours, theirs) = Socket::pair().unwrap();
            hand_over.send(theirs).unwrap();
            let first = loop {
                match ours
                    .receive(&mut buffer, &mut Vec::new(), Deadline::Now)
                    .unwrap()
                {
                    Received::Nothing => {}
                    other => break other,
                }
            };
            assert!(
                matches!(first, Received::Datagram { len: 10, .. }),
                "round {round}: {first:?}"
            );
            let second = ours.receive(&mut buffer, &mut Vec::new(), Deadline::Never);
            assert_eq!(second.unwrap(), Received::Closed);
        }
        drop(hand_over);
        sender.join().unwrap();
    });
}

/// The kernel writes process id 0 there, which was taken for a number that is never 0.
#[test]
fn a_sender_from_before_credentials_were_asked_for_has_no_name() {
    let (a, b) = Socket::pair().unwrap();
    crate::send_bytes(&a, b"before");
    b.ask_credentials().unwrap();
    crate::send_bytes(&a, b"after");
    let mut buffer = [0; 100];
    let mut sender = || {
        let received = b.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
        let Ok(Received::Datagram { sender, .. }) = received else {
            panic!("{received:?}");
        };
        sender.map(|sender| sender.os_pid)
    };
    assert_eq!(sender(), None);
    assert_eq!(sender(), Some(std::process::id()));
}

#[test]
fn an_empty_datagram_cannot_be_sent() {
    let (a, b) = Socket::pair().unwrap();
    for parts in [&[][..], &[std::io::IoSlice::new(b"")]] {
        let error = a.send(parts, &[], Deadline::Never).unwrap_err();
        assert_eq!(error.to_string(), "sendmsg failed");
    }
    let received = b.receive(&mut [0; 1], &mut Vec::new(), Deadline::Now);
    assert_eq!(received.unwrap(), Received::Nothing);
}

/// Its parts were taken from a frame that was not there.
#[test]
fn a_packet_that_was_never_filled_is_a_frame_without_a_value() {
    let mut packet = Packet::new();
    packet.set_id(7);
    assert_eq!((packet.type_name(), packet.payload()), ("", &[][..]));
    assert_eq!(packet.parts(), 1);
    let (a, b) = Socket::pair().unwrap();
    packet.send_part(0, &a, &[], Deadline::Now).unwrap();
    let mut b = Channel::new(b, Limits::default());
    let envelope = b.receive_any().unwrap().unwrap();
    assert!(envelope.is_empty());
    assert!(envelope.decode::<()>().is_err(), "it is of no type");
    assert!(packet.into_envelope().is_empty());
}

/// An empty buffer cuts every datagram off, and none is the end.
#[test]
fn an_empty_buffer_is_not_the_end() {
    let (a, b) = Socket::pair().unwrap();
    crate::send_bytes(&a, b"x");
    let error = b.receive(&mut [], &mut Vec::new(), Deadline::Now);
    let words = crate::words(&error.unwrap_err());
    assert!(words.contains("a datagram was cut off"), "{words}");
}

/// A peer that is none of ours can send a datagram without a byte. Once it has gone that looks like its end, and what it sent behind
/// it is still there.
#[test]
fn what_a_dead_peer_sent_behind_empty_datagrams_arrives() {
    for (empty, rest) in [(1, false), (2, false), (1, true)] {
        let (a, b) = Socket::pair().unwrap();
        crate::send_bytes(&a, b"one");
        for _ in 0..empty {
            rustix::net::send(&a, b"", rustix::net::SendFlags::empty()).unwrap();
        }
        crate::send_bytes(&a, b"two");
        a.close();

        let (mut buffer, mut lengths) = ([0; 10], Vec::new());
        loop {
            let received = if rest {
                b.receive_rest(&mut buffer, &mut Vec::new())
            } else {
                b.receive(&mut buffer, &mut Vec::new(), Deadline::Now)
            };
            match received {
                Ok(Received::Datagram { len, .. }) => lengths.push(len),
                Ok(Received::Closed) => break,
                // The empty ones, told as what they are.
                Err(_) => {}
                Ok(Received::Nothing) => panic!("the end was not told"),
            }
        }
        assert_eq!(lengths, [3, 3], "{empty} empty, as the rest: {rest}");
    }
}
