//! A limit is kept to: never less, and not more because of what arrives and does not match.

use std::thread;
use std::time::{Duration, Instant};

use occ_inbox::{SendError, Socket};
use occ_test_support::{LIMIT, takes, within};

use crate::script::Script;
use crate::switchboard::Switchboard;
use crate::{Flood, drain, one_and_two, pid, put};

const UNIT: Duration = Duration::from_millis(50);

/// IN-5
#[test]
fn no_time_at_all_finds_nothing_in_an_empty_inbox() {
    let mut one = Script::inbox(1);
    assert_eq!(one.receive_timeout::<u32>(Duration::ZERO).unwrap(), None);
    assert!(one.receive_any_timeout(Duration::ZERO).unwrap().is_none());
    let any = |_: &u32| true;
    assert_eq!(
        one.receive_where_timeout(Duration::ZERO, any).unwrap(),
        None
    );
}

/// IN-6
#[test]
fn no_time_at_all_finds_what_is_here() {
    let mut one = Script::inbox(1);
    let two = one.connector().connect(2);
    put(&two, &1_u32);
    // The connection itself is news that has not been looked at.
    assert_eq!(one.receive_timeout(Duration::ZERO).unwrap(), Some(1_u32));
    put(&two, &2_u32);
    assert_eq!(one.receive_timeout(Duration::ZERO).unwrap(), Some(2_u32));
}

#[test]
fn no_time_at_all_finds_what_is_here_from_a_hundred_peers() {
    let mut one = Script::inbox(1);
    let peers: Vec<Socket> = (2..102).map(|peer| one.connector().connect(peer)).collect();
    for (number, peer) in peers.iter().enumerate() {
        for round in 0..3 {
            put(peer, &(number, round));
        }
    }
    assert_eq!(one.receive_timeout::<u8>(Duration::ZERO).unwrap(), None);
    assert_eq!(one.len(), 300);
    for (number, peer) in peers.iter().enumerate() {
        put(peer, &(number, 3));
    }
    let all: Vec<(usize, i32)> = drain(&mut one);
    assert_eq!(all.len(), 400);
    for number in 0..peers.len() {
        let from: Vec<i32> = all
            .iter()
            .filter(|(n, _)| *n == number)
            .map(|(_, r)| *r)
            .collect();
        assert_eq!(from, [0, 1, 2, 3]);
    }
}

/// IN-7
#[test]
fn a_message_that_comes_after_the_limit_is_received_by_the_next() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let found = takes(UNIT, || one.receive_timeout::<u32>(UNIT).unwrap());
        assert_eq!(found, None);
        let sender = thread::spawn(move || put(&two, &1_u32));
        assert_eq!(one.receive::<u32>().unwrap(), 1);
        sender.join().unwrap();
    });
}

/// IN-8
#[test]
fn without_a_limit_a_receive_waits_for_as_long_as_it_takes() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let line = board.line(2);
        let mut one = board.inbox(1);
        // One's own first: it wakes the receive, which goes on waiting.
        let sender = thread::spawn(move || {
            let mut two = crate::switchboard::Line::inbox(pid(2), line);
            two.send(pid(1), &1_u8).unwrap();
            let waited: Option<u8> = two.receive_timeout(UNIT).unwrap();
            assert_eq!(waited, None);
            two.send(pid(1), &"late".to_string()).unwrap();
            // It lives until it has been received.
            two.receive::<u8>().unwrap();
        });
        assert_eq!(one.receive::<String>().unwrap(), "late");
        one.send(pid(2), &0_u8).unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn a_limit_is_never_kept_short_whatever_receives() {
    let (mut one, two) = one_and_two();
    put(&two, &"something else".to_string());
    for micros in [1, 10, 999, 1_000, 1_001, 1_500, 9_999] {
        let limit = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(one.receive_timeout::<u32>(limit).unwrap(), None);
        assert!(start.elapsed() >= limit);
        let start = Instant::now();
        assert_eq!(
            one.receive_where_timeout(limit, |_: &u32| true).unwrap(),
            None
        );
        assert!(start.elapsed() >= limit);
        let start = Instant::now();
        assert!(
            one.receive_map_timeout(limit, |_| None::<()>)
                .unwrap()
                .is_none()
        );
        assert!(start.elapsed() >= limit);
    }
}

/// A limit longer than the clock of a system call counts is waited for in pieces.
#[test]
fn a_limit_of_years_finds_what_comes() {
    within(LIMIT, || {
        for limit in [
            Duration::MAX,
            Duration::from_secs(1 << 40),
            Duration::from_secs(1 << 24),
        ] {
            let (mut one, two) = one_and_two();
            let sender = thread::spawn(move || put(&two, &1_u32));
            assert_eq!(one.receive_timeout(limit).unwrap(), Some(1_u32));
            sender.join().unwrap();
        }
    });
}

/// IN-16
#[test]
fn messages_that_do_not_match_do_not_stretch_the_limit() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let line = board.line(2);
        let mut one = board.inbox(1);
        let sender = thread::spawn(move || {
            let mut two = crate::switchboard::Line::inbox(pid(2), line);
            for number in 0..3_u32 {
                assert_eq!(two.receive_timeout::<u8>(UNIT * 4 / 5).unwrap(), None);
                two.send(pid(1), &number).unwrap();
            }
            // The match, once the limit is surely over.
            two.receive::<bool>().unwrap();
            two.send(pid(1), &3_u32).unwrap();
            two.receive::<bool>().unwrap();
        });
        let found = takes(UNIT * 2, || {
            one.receive_where_timeout(UNIT * 2, |number: &u32| *number == 3)
                .unwrap()
        });
        assert_eq!(found, None);
        one.send(pid(2), &true).unwrap();
        let four: Vec<u32> = (0..4).map(|_| one.receive().unwrap()).collect();
        assert_eq!(four, [0, 1, 2, 3]);
        one.send(pid(2), &true).unwrap();
        sender.join().unwrap();
    });
}

/// As many as the kernel takes, from several at once, and no end of it.
#[test]
fn a_flood_does_not_stretch_the_limit() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        let peers: Vec<Socket> = (2..5).map(|peer| one.connector().connect(peer)).collect();
        let limit = Duration::from_millis(300);
        thread::scope(|scope| {
            let floods: Vec<Flood<'_>> = peers.iter().map(|peer| Flood::on(peer, scope)).collect();
            // It begins once they flood.
            one.receive::<u64>().unwrap();
            let found = takes(limit, || one.receive_timeout::<String>(limit).unwrap());
            assert_eq!(found, None);
            takes(limit, || {
                let none = one.receive_map_timeout(limit, |_| None::<()>).unwrap();
                assert!(none.is_none());
            });
            // No time at all is not for ever either.
            assert_eq!(one.receive_timeout::<String>(Duration::ZERO).unwrap(), None);
            drop(floods);
        });
    });
}

/// The same of whoever makes the connections: it has something to say all the time, and nothing of interest.
#[test]
fn a_connector_that_never_stops_talking_does_not_stretch_the_limit() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.connector().answer(|_, _| Vec::new());
        let two = one.connector().connect(2);
        one.connector().chatter();
        let limit = Duration::from_millis(100);
        assert_eq!(one.receive_timeout::<u8>(Duration::ZERO).unwrap(), None);
        let found = takes(limit, || one.receive_timeout::<u8>(limit).unwrap());
        assert_eq!(found, None);
        let sent = takes(limit, || one.send_timeout(pid(3), &1_u8, limit));
        assert!(matches!(sent, Err(SendError::Full { .. })), "{sent:?}");
        one.send(pid(2), &1_u8).unwrap();
        put(&two, &2_u8);
        assert_eq!(one.receive::<u8>().unwrap(), 2);
    });
}
