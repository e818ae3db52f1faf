//! No room for descriptors that are under way: a long message that may not wait is not sent, and all others are.

use std::time::{Duration, Instant};

use occ_inbox::{Bytes, Event, SendError, Socket};
use occ_sck::PART;
use occ_test_support::in_flight::{NoRoom, be_a_user_of_its_own};
use occ_test_support::{LIMIT, isolated, within};

use crate::script::Script;
use crate::{drain, one_and_two, pid};

const ROOM: u64 = 40;

fn long() -> Bytes {
    Bytes(vec![7; 2 * PART])
}

#[track_caller]
fn is_full(result: Result<(), SendError>) {
    assert!(
        matches!(result, Err(SendError::Full { to }) if to == pid(2)),
        "{result:?}"
    );
}

fn receive_all(end: Socket) -> Vec<Bytes> {
    let mut two = Script::inbox(2);
    let peer = pid(1);
    two.connector().say(Event::Connected {
        peer,
        socket: end,
        tally: None,
    });
    drain(&mut two)
}

#[test]
fn a_long_message_that_may_not_wait_finds_the_peer_full_and_one_that_may_goes_in_parts() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let (mut one, two) = one_and_two();
            // The control.
            one.try_send(pid(2), &long()).unwrap();

            let full = NoRoom::now();
            is_full(one.try_send(pid(2), &long()));
            let (limit, start) = (Duration::from_millis(50), Instant::now());
            is_full(one.send_timeout(pid(2), &long(), limit));
            assert!(start.elapsed() >= limit);
            one.try_send(pid(2), &Bytes(vec![1])).unwrap();
            one.send(pid(2), &long()).unwrap();

            drop(full);
            one.send_timeout(pid(2), &long(), LIMIT).unwrap();
            let short = Bytes(vec![1]);
            assert_eq!(receive_all(two), [long(), short, long(), long()]);
        });
    });
}
