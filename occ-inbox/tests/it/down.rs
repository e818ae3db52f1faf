//! Once there is nobody left to make connections, that is an error at once; what has been sent is received first.

use std::thread;
use std::time::{Duration, Instant};

use occ_inbox::{Deadline, Inbox, Lost, ReceiveError, SendError};
use occ_test_support::{LIMIT, within};

use crate::script::Script;
use crate::switchboard::Switchboard;
use crate::{one_and_two, pid, put};

#[track_caller]
fn receive_is_down<T>(result: Result<T, ReceiveError>) {
    assert!(matches!(result, Err(ReceiveError::SystemDown)));
}

#[track_caller]
fn send_is_down(result: Result<(), SendError>) {
    assert!(matches!(result, Err(SendError::SystemDown)), "{result:?}");
}

#[test]
fn what_was_sent_is_received_before_anybody_hears_that_the_system_is_down() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        put(&two, &1_u8);
        one.connector().lose();
        put(&two, &2_u8);
        assert_eq!(one.receive::<u8>().unwrap(), 1);
        put(&two, &3_u8);
        assert_eq!(one.receive::<u8>().unwrap(), 2);
        assert_eq!(one.receive_timeout::<u8>(LIMIT).unwrap(), Some(3));
        receive_is_down(one.receive::<u8>());
        put(&two, &4_u8);
        assert_eq!(one.receive::<u8>().unwrap(), 4);
    });
}

#[test]
fn every_kind_of_receive_says_so_and_none_waits() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        put(&two, &"kept".to_string());
        one.connector().lose();
        let long = LIMIT * 10;
        let start = Instant::now();
        receive_is_down(one.receive::<u8>());
        receive_is_down(one.receive_timeout::<u8>(long));
        receive_is_down(one.receive_timeout::<u8>(Duration::ZERO));
        receive_is_down(one.receive_where(|_: &u8| true));
        receive_is_down(one.receive_where_timeout(long, |_: &u8| true));
        receive_is_down(one.receive_map(|_| None::<()>));
        receive_is_down(one.receive_map_timeout(long, |_| None::<()>));
        assert_eq!(
            one.receive_any().unwrap().type_name(),
            "alloc::string::String"
        );
        receive_is_down(one.receive_any());
        receive_is_down(one.receive_any_timeout(long));
        receive_is_down(one.flush());
        assert!(start.elapsed() < LIMIT);
    });
}

#[test]
fn what_is_thrown_away_is_counted_first() {
    let (mut one, two) = one_and_two();
    put(&two, &1_u8);
    one.connector().lose();
    assert_eq!(one.flush().unwrap(), 1);
    receive_is_down(one.flush());
}

#[test]
fn every_kind_of_send_says_so_except_to_oneself() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        one.send(pid(2), &1_u8).unwrap();
        one.connector().lose();
        // Nobody to ask.
        send_is_down(one.send(pid(3), &1_u8));
        send_is_down(one.try_send(pid(3), &1_u8));
        assert_eq!(one.attend(Deadline::Now), Err(Lost));
        send_is_down(one.send(pid(2), &1_u8));
        send_is_down(one.try_send(pid(2), &1_u8));
        send_is_down(one.send_timeout(pid(2), &1_u8, LIMIT));
        one.send(pid(1), &5_u8).unwrap();
        assert_eq!(one.receive::<u8>().unwrap(), 5);
        drop(two);
    });
}

/// The messages of 200 peers take several looks, and the last of those finds the end.
#[test]
fn no_message_of_many_peers_is_lost_when_the_system_goes_down() {
    within(LIMIT, || {
        for limit in [Duration::ZERO, LIMIT] {
            let mut one = Script::inbox(1);
            let peers: Vec<_> = (2..202).map(|peer| one.connector().connect(peer)).collect();
            peers.iter().for_each(|peer| put(peer, &1_u8));
            put(&peers[199], &"last".to_string());
            one.connector().lose();
            let last: Option<String> = one.receive_timeout(limit).unwrap();
            assert_eq!(last.as_deref(), Some("last"));
            for _ in 0..200 {
                assert_eq!(one.receive::<u8>().unwrap(), 1);
            }
            receive_is_down(one.receive::<u8>());
        }
    });
}

/// Whoever waits when it happens is told at once.
#[test]
fn one_who_waits_is_told() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut one = board.inbox(1);
        let two = board.line(2);
        one.send(pid(2), &0_u8).unwrap();
        let end = thread::spawn(move || drop(board));
        receive_is_down(one.receive::<u8>());
        end.join().unwrap();
        drop(two);

        // One who waits for room.
        let board = Switchboard::new();
        let mut one = board.inbox(1);
        let two = board.line(2);
        let (ready, started) = std::sync::mpsc::channel();
        let end = thread::spawn(move || {
            started.recv().unwrap();
            drop(board);
        });
        let error = (0_u64..)
            .find_map(|number| {
                if number == 100 {
                    ready.send(()).unwrap();
                }
                one.send(pid(2), &number).err()
            })
            .unwrap();
        assert!(matches!(error, SendError::SystemDown), "{error:?}");
        end.join().unwrap();
        drop(two);
    });
}

/// It costs nothing to ask a dead system again and again.
#[test]
fn a_lost_connector_stays_lost() {
    let mut one: Inbox<Script> = Script::inbox(1);
    one.connector().lose();
    for _ in 0..3 {
        assert_eq!(one.attend(Deadline::Never), Err(Lost));
        receive_is_down(one.receive::<u8>());
        send_is_down(one.send(pid(2), &1_u8));
    }
}
