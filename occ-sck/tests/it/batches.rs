//! Several datagrams at once: as they would have come one by one.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::mpsc;

use occ_sck::{Batch, Deadline, FrameError, MAX_DATAGRAM, Received, Socket};
use occ_test_support::fds::with_room_for;
use occ_test_support::{LIMIT, isolated, stress, within};
use rustix::net::SendFlags;

type Datagram = Result<(Vec<u8>, usize), FrameError>;

/// What one batch brings: the bytes of each, and the number of its descriptors.
fn next(socket: &Socket, batch: &mut Batch) -> Vec<Datagram> {
    socket.receive_batch(batch).unwrap();
    batch
        .drain()
        .map(|datagram| datagram.map(|(bytes, fds)| (bytes.to_vec(), fds.len())))
        .collect()
}

fn is(datagram: &Datagram, bytes: &[u8], fds: usize) -> bool {
    matches!(datagram, Ok((found, count)) if found == bytes && *count == fds)
}

fn ends(socket: &Socket) -> Received {
    let received = socket.receive(&mut [0; 10], &mut Vec::new(), Deadline::Now);
    received.unwrap()
}

#[test]
fn datagrams_come_in_the_order_in_which_they_were_sent() {
    let (a, b) = Socket::pair().unwrap();
    let count = 2 * Batch::CAPACITY + 3;
    for number in 0..count {
        crate::send_bytes(&a, &number.to_le_bytes());
    }
    let mut batch = Batch::new();
    let mut number = 0_usize;
    for expected in [Batch::CAPACITY, Batch::CAPACITY, 3, 0, 0] {
        let got = next(&b, &mut batch);
        assert_eq!(got.len(), expected);
        for datagram in got {
            assert!(is(&datagram, &number.to_le_bytes(), 0), "{datagram:?}");
            number += 1;
        }
    }
    assert_eq!(ends(&b), Received::Nothing);
}

#[test]
fn a_batch_is_full_only_if_there_may_be_more() {
    let (a, b) = Socket::pair().unwrap();
    let mut batch = Batch::new();
    let mut fill = |count: usize| {
        (0..count).for_each(|_| crate::send_bytes(&a, b"x"));
        b.receive_batch(&mut batch).unwrap();
        let full = batch.is_full();
        assert_eq!(batch.drain().count(), count.min(Batch::CAPACITY));
        full
    };
    assert!(!fill(0));
    assert!(!fill(Batch::CAPACITY - 1));
    assert!(fill(Batch::CAPACITY));
    assert!(!fill(0));
    // The end would fill one with nothing.
    drop(a);
    b.receive_batch(&mut batch).unwrap();
    assert!(!batch.is_full());
    assert_eq!(batch.drain().count(), 0);
    assert_eq!(ends(&b), Received::Closed);
}

#[test]
fn what_is_not_taken_out_of_a_batch_is_dropped_with_its_descriptors() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        let mut batch = Batch::new();
        a.send(&[IoSlice::new(b"one")], &[a.as_fd()], Deadline::Now)
            .unwrap();
        b.receive_batch(&mut batch).unwrap();
        crate::send_bytes(&a, b"two");
        let got = next(&b, &mut batch);
        assert!(got.len() == 1 && is(&got[0], b"two", 0), "{got:?}");
    });
}

#[test]
fn the_longest_datagrams_fit_into_a_batch_and_longer_ones_are_named() {
    let (a, b) = Socket::pair().unwrap();
    let longest = vec![7; MAX_DATAGRAM];
    let sizes = rustix::net::sockopt::socket_send_buffer_size(&a).unwrap();
    assert!(sizes > 3 * MAX_DATAGRAM, "{sizes}");
    crate::send_bytes(&a, &longest);
    crate::send_bytes(&a, &vec![8; 2 * MAX_DATAGRAM]);
    crate::send_bytes(&a, b"short");
    let got = next(&b, &mut Batch::new());
    assert_eq!(got.len(), 3);
    assert!(is(&got[0], &longest, 0));
    assert!(
        matches!(got[1], Err(FrameError::Oversized { limit }) if limit >= MAX_DATAGRAM),
        "{:?}",
        got[1].as_ref().map(|_| ())
    );
    assert!(is(&got[2], b"short", 0));
}

#[test]
fn descriptors_come_with_the_datagram_that_they_were_sent_with() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        for (word, count) in [("none", 0), ("two", 2), ("none again", 0), ("one", 1)] {
            let fds = vec![a.as_fd(); count];
            a.send(&[IoSlice::new(word.as_bytes())], &fds, Deadline::Now)
                .unwrap();
        }
        let got = next(&b, &mut Batch::new());
        assert!(is(&got[0], b"none", 0) && is(&got[1], b"two", 2), "{got:?}");
        assert!(
            is(&got[2], b"none again", 0) && is(&got[3], b"one", 1),
            "{got:?}"
        );
        assert_eq!(got.len(), 4);
    });
}

#[test]
fn descriptors_that_there_is_no_room_for_are_missed_where_they_would_have_been() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        let mut batch = Batch::new();
        crate::send_bytes(&a, b"before");
        let fds = [a.as_fd(); 2];
        a.send(&[IoSlice::new(b"lost")], &fds, Deadline::Now)
            .unwrap();
        crate::send_bytes(&a, b"after");
        let got = with_room_for(1, || next(&b, &mut batch));
        assert_eq!(got.len(), 3);
        assert!(
            is(&got[0], b"before", 0) && is(&got[2], b"after", 0),
            "{got:?}"
        );
        assert!(matches!(got[1], Err(FrameError::FdsLost)), "{got:?}");
    });
}

/// No `Socket` sends one; from a peer that lives it is no end.
#[test]
fn a_datagram_without_a_byte_is_named_in_its_place() {
    let (a, b) = Socket::pair().unwrap();
    let mut batch = Batch::new();
    for bytes in [&b"before"[..], b"", b"after"] {
        rustix::net::send(&a, bytes, SendFlags::NOSIGNAL).unwrap();
    }
    let got = next(&b, &mut batch);
    assert_eq!(got.len(), 3, "{got:?}");
    assert!(
        is(&got[0], b"before", 0) && is(&got[2], b"after", 0),
        "{got:?}"
    );
    assert!(
        matches!(got[1], Err(FrameError::Short { len: 0, .. })),
        "{got:?}"
    );
}

/// The kernel reports ECONNRESET before it gives what is queued.
#[test]
fn all_that_a_peer_sent_is_in_the_batch_though_it_left_ours_unread() {
    let (a, b) = Socket::pair().unwrap();
    crate::send_bytes(&a, b"never read");
    crate::send_bytes(&b, b"last");
    crate::send_bytes(&b, b"words");
    drop(b);
    let mut batch = Batch::new();
    let got = next(&a, &mut batch);
    assert!(
        is(&got[0], b"last", 0) && is(&got[1], b"words", 0),
        "{got:?}"
    );
    assert_eq!(got.len(), 2);
    assert!(next(&a, &mut batch).is_empty());
    assert_eq!(ends(&a), Received::Closed);
}

/// What was sent just before the end comes after what looks like the end, in the same batch.
#[test]
fn a_message_sent_just_before_the_end_is_in_a_batch() {
    within(LIMIT * stress::times(4) as u32, || {
        let (hand_over, ends) = mpsc::channel::<Socket>();
        let sender = std::thread::spawn(move || {
            for end in ends {
                crate::send_bytes(&end, b"last words");
            }
        });
        let mut batch = Batch::new();
        for round in 0..stress::times(20_000) {
            let (ours, theirs) = Socket::pair().unwrap();
            hand_over.send(theirs).unwrap();
            let mut found = 0;
            // One by one only to learn of the end.
            let end = loop {
                found += next(&ours, &mut batch).len();
                match ours
                    .receive(&mut [0; 100], &mut Vec::new(), Deadline::Now)
                    .unwrap()
                {
                    Received::Nothing => {}
                    Received::Datagram { .. } => found += 1,
                    Received::Closed => break found,
                }
            };
            assert_eq!(end, 1, "round {round}");
        }
        drop(hand_over);
        sender.join().unwrap();
    });
}
