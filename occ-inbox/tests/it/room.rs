//! Senders that wait for room take in what they are sent; those who do not want to wait send all or nothing.

use std::thread;
use std::time::{Duration, Instant};

use occ_inbox::{Bytes, Event, Inbox, SendError, Socket};
use occ_sck::PART;
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, takes, within};

use crate::script::Script;
use crate::switchboard::{Line, Switchboard};
use crate::{Flood, assert_empty, drain, one_and_two, pid};

const LIMITED: Duration = Duration::from_millis(100);

#[track_caller]
fn is_full(result: Result<(), SendError>) {
    assert!(
        matches!(result, Err(SendError::Full { to }) if to == pid(2)),
        "{result:?}"
    );
}

/// The inbox of process 2 at its end of the connection.
fn at(end: Socket) -> Inbox<Script> {
    let mut two = Script::inbox(2);
    let peer = pid(1);
    two.connector().say(Event::Connected {
        peer,
        socket: end,
        tally: None,
    });
    two
}

/// A message that says its place and its length.
fn sized(number: usize, len: usize) -> (usize, Bytes) {
    (number, Bytes(vec![number as u8; len]))
}

/// Sends until there is no room for one more; tells how many went.
fn fill(one: &mut Inbox<Script>) -> usize {
    let sent = (0_usize..)
        .find(|number| one.try_send(pid(2), number).is_err())
        .unwrap();
    assert!(sent > 0);
    sent
}

/// Processes that each send to the next, all at once, and receive only then.
fn all_send_then_receive<T: occ_inbox::Term + PartialEq + std::fmt::Debug>(
    ring: u64,
    messages: usize,
    make: impl Fn(usize) -> T + Sync,
) {
    let board = Switchboard::new();
    let member = |me: u64, line| {
        let mut inbox = Line::inbox(pid(me), line);
        for number in 0..messages {
            inbox.send(pid((me + 1) % ring), &make(number)).unwrap();
        }
        for number in 0..messages {
            assert_eq!(inbox.receive::<T>().unwrap(), make(number));
        }
        inbox
    };
    let lines: Vec<_> = (0..ring).map(|me| board.line(me)).collect();
    thread::scope(|scope| {
        let members: Vec<_> = lines
            .into_iter()
            .zip(0..)
            .map(|(line, me)| {
                let member = &member;
                // None ends before all have sent.
                scope.spawn(move || drop(member(me, line)))
            })
            .collect();
        members
            .into_iter()
            .for_each(|member| member.join().unwrap());
    });
}

#[test]
fn two_that_send_each_other_100_000_messages_before_they_receive_do_not_block() {
    within(LIMIT * 4, || {
        all_send_then_receive(2, times(100_000), |number| number)
    });
}

#[test]
fn three_in_a_ring_do_not_block_either() {
    within(LIMIT * 4, || {
        all_send_then_receive(3, times(30_000), |number| number)
    });
}

#[test]
fn two_that_send_each_other_long_messages_do_not_block() {
    let long = 10 * PART + 1;
    within(LIMIT * 4, || {
        all_send_then_receive(2, times(40), |number| sized(number, long))
    });
}

/// What arrived while one waited for room is in memory, in order, and none is lost.
#[test]
fn a_blocked_sender_keeps_what_others_send() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut one = board.inbox(1);
        let (two, three) = (board.line(2), board.line(3));
        let third = thread::spawn(move || {
            let mut three = Line::inbox(pid(3), three);
            (0..20_000_u32).for_each(|number| three.send(pid(1), &number).unwrap());
            three.send(pid(2), &"all sent".to_string()).unwrap();
            three.receive::<bool>().unwrap();
        });
        // It makes room only once the third has sent everything, which needs the first to take it in.
        let second = thread::spawn(move || {
            let mut two = Line::inbox(pid(2), two);
            assert_eq!(two.receive::<String>().unwrap(), "all sent");
            (0..20_000_u64).for_each(|number| assert_eq!(two.receive::<u64>().unwrap(), number));
            two.receive::<bool>().unwrap();
        });
        (0..20_000_u64).for_each(|number| one.send(pid(2), &number).unwrap());
        (0..20_000_u32).for_each(|number| assert_eq!(one.receive::<u32>().unwrap(), number));
        assert_empty(&mut one);
        one.send(pid(3), &true).unwrap();
        one.send(pid(2), &true).unwrap();
        third.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn what_was_not_sent_for_want_of_room_does_not_arrive_and_the_next_does() {
    let (mut one, two) = one_and_two();
    let sent = fill(&mut one);
    is_full(one.try_send(pid(2), &sized(0, 1)));
    is_full(one.try_send(pid(2), &sized(0, 3 * PART)));
    let mut receiver = at(two);
    assert_eq!(
        drain::<usize, _>(&mut receiver),
        (0..sent).collect::<Vec<_>>()
    );
    assert_empty(&mut receiver);
    one.try_send(pid(2), &sized(1, 3 * PART)).unwrap();
    one.try_send(pid(2), &sized(2, 1)).unwrap();
    one.send(pid(2), &sized(3, 1)).unwrap();
    assert_eq!(
        drain::<(usize, Bytes), _>(&mut receiver),
        [sized(1, 3 * PART), sized(2, 1), sized(3, 1)]
    );
}

/// Long and short ones, from a sender that does not wait, to a receiver that takes some now and then.
#[test]
fn a_message_is_sent_whole_or_not_at_all() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let mut receiver = at(two);
        let lengths = [
            0,
            1,
            100,
            PART - 20,
            PART,
            PART + 1,
            3 * PART,
            10,
            500_000,
            40_000,
        ];
        let (mut accepted, mut refused) = (Vec::new(), 0);
        let mut received = Vec::new();
        for number in 0..times(2000) {
            let message = sized(number, lengths[number % lengths.len()]);
            let way = number % 3;
            let sent = match way {
                0 => one.send_timeout(pid(2), &message, Duration::from_micros(1)),
                _ => one.try_send(pid(2), &message),
            };
            match sent {
                Ok(()) => accepted.push(number),
                Err(SendError::Full { .. }) => {
                    refused += 1;
                    for _ in 0..refused % 40 {
                        received.extend(receiver.receive_timeout(Duration::ZERO).unwrap());
                    }
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        received.extend(drain::<(usize, Bytes), _>(&mut receiver));
        assert!(refused > 0, "there was always room");
        assert_eq!(received.len(), accepted.len());
        for (message, number) in received.iter().zip(accepted) {
            assert_eq!(*message, sized(number, lengths[number % lengths.len()]));
        }
    });
}

#[test]
fn a_limited_send_waits_for_room_until_the_limit() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let sent = fill(&mut one);
        is_full(takes(LIMITED, || one.send_timeout(pid(2), &sent, LIMITED)));
        is_full(takes(LIMITED, || {
            one.send_timeout(pid(2), &sized(0, 3 * PART), LIMITED)
        }));
        for micros in [1, 500, 1_500] {
            let limit = Duration::from_micros(micros);
            let start = Instant::now();
            is_full(one.send_timeout(pid(2), &sent, limit));
            assert!(start.elapsed() >= limit);
        }

        let receiver = thread::spawn(move || {
            let mut receiver = at(two);
            (0..=sent).for_each(|number| {
                assert_eq!(receiver.receive::<usize>().unwrap(), number);
            });
            assert_empty(&mut receiver);
        });
        one.send_timeout(pid(2), &sent, LIMIT).unwrap();
        receiver.join().unwrap();
    });
}

/// Those who send to the sender do not stretch its limit, and lose nothing.
#[test]
fn a_limited_send_is_not_stretched_by_a_flood() {
    within(LIMIT, || {
        let (mut one, _two) = one_and_two();
        let three = one.connector().connect(3);
        fill(&mut one);
        thread::scope(|scope| {
            let flood = Flood::on(&three, scope);
            let mut got = vec![one.receive::<u64>().unwrap()];
            is_full(takes(LIMITED, || {
                one.send_timeout(pid(2), &0_usize, LIMITED)
            }));
            is_full(one.try_send(pid(2), &0_usize));
            let sent = flood.stop();
            got.extend(drain::<u64, _>(&mut one));
            assert_eq!(got, (0..sent).collect::<Vec<_>>());
        });
    });
}

/// The connection is not made: whoever makes them has not been able to tell the peer yet.
#[test]
fn a_limit_counts_for_the_connection_too() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.connector().answer(|_, _| vec![Event::Own]);
        is_full(takes(LIMITED, || one.send_timeout(pid(2), &1_u8, LIMITED)));
        // Not at once, because a first message would never go then; and not for ever.
        let start = Instant::now();
        is_full(one.try_send(pid(2), &2_u8));
        assert!(start.elapsed() < LIMIT);

        // It is there in the end, for those who asked in vain as well.
        let two = one.connector().connect(2);
        one.try_send(pid(2), &3_u8).unwrap();
        let mut receiver = at(two);
        assert_eq!(drain::<u8, _>(&mut receiver), [3]);
    });
}

/// A peer that ends in the middle of a long message: the sender is told, and its next messages to others go.
#[test]
fn a_long_message_to_one_who_dies_half_way_is_an_error() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let three = one.connector().connect(3);
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; occ_sck::MAX_DATAGRAM];
            for _ in 0..3 {
                let deadline = occ_inbox::Deadline::Never;
                two.receive(&mut buffer, &mut Vec::new(), deadline).unwrap();
            }
        });
        let error = one.send(pid(2), &sized(0, 20_000_000)).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
        reader.join().unwrap();
        one.send(pid(3), &1_u8).unwrap();
        drop(three);
    });
}
