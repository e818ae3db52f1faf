//! Descriptors that are under way, and no room for more: a limit of the user, and not of the peer.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use occ_sck::{Deadline, SendError, Socket};
use occ_test_support::in_flight::{NoRoom, be_a_user_of_its_own};
use occ_test_support::{LIMIT, isolated, within};

const ROOM: u64 = 40;

fn send(socket: &Socket, deadline: Deadline) -> Result<(), SendError> {
    let fds = [socket.as_fd()];
    socket.send(&[IoSlice::new(b"with a descriptor")], &fds, deadline)
}

#[track_caller]
fn assert_none(sent: Result<(), SendError>) {
    assert!(
        matches!(sent, Err(SendError::TooManyInFlight { limit: ROOM })),
        "{sent:?}"
    );
}

#[test]
fn without_room_for_a_descriptor_all_else_is_sent_and_who_has_a_deadline_is_told_then() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let (a, b) = Socket::pair().unwrap();
            // The control.
            send(&a, Deadline::Never).unwrap();
            let (word, descriptor) = crate::receive_bytes(&b);
            assert_eq!((&word[..], descriptor), (&b"with a descriptor"[..], 1));

            let _full = NoRoom::now();
            assert_none(send(&a, Deadline::Now));
            let (limit, start) = (Duration::from_millis(50), Instant::now());
            assert_none(send(&a, Deadline::after(limit)));
            assert!(start.elapsed() >= limit);
            crate::send_bytes(&a, b"without");
            let (word, descriptor) = crate::receive_bytes(&b);
            assert_eq!((&word[..], descriptor), (&b"without"[..], 0));
        });
    });
}

#[test]
fn who_waits_sends_when_there_is_room() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let (a, b) = Socket::pair().unwrap();
            let full = NoRoom::now();
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| send(&a, Deadline::after(LIMIT)));
                assert_none(send(&a, Deadline::Now));
                assert!(!sender.is_finished());
                drop(full);
                sender.join().unwrap().unwrap();
            });
            assert_eq!(crate::receive_bytes(&b).1, 1);
        });
    });
}

/// What is under way may be for the one that waits.
#[test]
fn who_has_no_deadline_gives_up_all_the_same() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let (a, _b) = Socket::pair().unwrap();
            let _full = NoRoom::now();
            assert_none(send(&a, Deadline::Never));
        });
    });
}

#[test]
fn a_peer_that_closes_ends_the_wait() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let (a, b) = Socket::pair().unwrap();
            let _full = NoRoom::now();
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| send(&a, Deadline::after(2 * LIMIT)));
                assert_none(send(&a, Deadline::Now));
                drop(b);
                let sent = sender.join().unwrap();
                assert!(matches!(sent, Err(SendError::Closed)), "{sent:?}");
            });
            assert!(matches!(send(&a, Deadline::Now), Err(SendError::Closed)));
        });
    });
}
