//! What was sent before an end is received, and a send after it has one answer.

use std::thread;
use std::time::Duration;

use occ_inbox::{Event, Refusal, SendError, Socket, Standing};
use occ_sck::{Deadline, Packet, kind};
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, within};

use crate::script::Script;
use crate::switchboard::{Ended, Line, Switchboard};
use crate::{Flood, assert_empty, drain, one_and_two, pid, put};

const NOW: Duration = Duration::ZERO;

#[track_caller]
fn no_process(result: Result<(), SendError>) {
    let Err(SendError::NoProcess { to }) = result else {
        panic!("expected no process, got {result:?}");
    };
    assert_eq!(to, pid(2));
}

#[track_caller]
fn no_inbox(result: Result<(), SendError>) {
    let Err(SendError::NoInbox { to }) = result else {
        panic!("expected no inbox, got {result:?}");
    };
    assert_eq!(to, pid(2));
}

#[test]
fn all_that_was_sent_before_a_close_is_received() {
    let (mut one, two) = one_and_two();
    for number in 0..1000_u32 {
        put(&two, &number);
    }
    drop(two);
    let all: Vec<u32> = (0..1000).map(|_| one.receive().unwrap()).collect();
    assert_eq!(all, (0..1000).collect::<Vec<_>>());
    assert_empty(&mut one);
}

/// The kernel looks for data first and for the end second: what a peer sends in between must not be lost.
#[test]
fn a_message_and_an_end_that_come_while_the_receiver_looks_are_both_seen() {
    within(LIMIT, || {
        for round in 0..times(2000) as u32 {
            let (mut one, two) = one_and_two();
            let sender = thread::spawn(move || {
                put(&two, &round);
                put(&two, &"last".to_string());
            });
            assert_eq!(one.receive::<String>().unwrap(), "last");
            assert_eq!(one.receive::<u32>().unwrap(), round);
            sender.join().unwrap();
        }
    });
}

/// A peer that dies with unread input makes the kernel say "reset" before it gives out what the peer had
/// sent.
#[test]
fn what_was_sent_is_received_also_if_the_peer_had_unread_messages() {
    let (mut one, two) = one_and_two();
    one.send(pid(2), &"never read".to_string()).unwrap();
    put(&two, &1_u32);
    put(&two, &2_u32);
    drop(two);
    assert_eq!(drain::<u32, _>(&mut one), [1, 2]);

    // The same, noticed by a send.
    let (mut one, two) = one_and_two();
    one.send(pid(2), &"never read".to_string()).unwrap();
    put(&two, &1_u32);
    put(&two, &2_u32);
    drop(two);
    no_process(one.send(pid(2), &"too late".to_string()));
    assert_eq!(drain::<u32, _>(&mut one), [1, 2]);
}

#[test]
fn half_a_message_of_a_peer_that_died_is_no_message() {
    let (mut one, two) = one_and_two();
    put(&two, &1_u32);
    let packet = Packet::of(kind::USER, &vec![7_u8; 200_000]).unwrap();
    assert!(packet.parts() > 2);
    for part in 0..2 {
        packet.send_part(part, &two, &[], Deadline::Now).unwrap();
    }
    drop(two);
    assert_eq!(one.receive::<u32>().unwrap(), 1);
    assert_empty(&mut one);
}

/// The rule: gone is gone, with a connection that nobody has looked at, with one known to have ended, and
/// with none.
#[test]
fn a_send_to_the_dead_has_the_same_answer_whatever_the_connection() {
    // Never was.
    let mut one = Script::inbox(1);
    no_process(one.send(pid(2), &1_u8));
    no_process(one.try_send(pid(2), &1_u8));
    no_process(one.send_timeout(pid(2), &1_u8, LIMIT));
    // The connection has ended, and this is the first to notice.
    let (mut one, two) = one_and_two();
    one.send(pid(2), &1_u8).unwrap();
    drop(two);
    no_process(one.send(pid(2), &2_u8));
    no_process(one.send(pid(2), &3_u8));
    let new = Standing::New;
    assert_eq!(
        one.connector().asked,
        [(pid(2), Standing::Broken), (pid(2), new)]
    );
    // A receive has noticed.
    let (mut one, two) = one_and_two();
    drop(two);
    assert_empty(&mut one);
    no_process(one.send(pid(2), &1_u8));
    assert_eq!(one.connector().asked, [(pid(2), Standing::Broken)]);
    // It was told.
    let (mut one, _two) = one_and_two();
    one.connector().say(Event::Gone { peer: pid(2) });
    assert_empty(&mut one);
    no_process(one.send(pid(2), &1_u8));
    assert_eq!(one.connector().asked, [(pid(2), new)]);
}

/// A process that has closed its inbox and lives: the coordinator knows.
#[test]
fn a_send_to_one_who_has_closed_the_inbox_has_the_same_answer_each_time() {
    let (mut one, two) = one_and_two();
    one.connector().answer(|peer, _| {
        let why = Refusal::NoInbox;
        vec![Event::Refused { peer, why }]
    });
    drop(two);
    for _ in 0..3 {
        no_inbox(one.send(pid(2), &1_u8));
        no_inbox(one.try_send(pid(2), &1_u8));
    }
    assert!(
        one.connector()
            .asked
            .iter()
            .all(|asked| *asked == (pid(2), Standing::Broken))
    );
    one.connector().say(Event::Gone { peer: pid(2) });
    assert_empty(&mut one);
    one.connector().answer(|peer, _| {
        let why = Refusal::NoProcess;
        vec![Event::Refused { peer, why }]
    });
    no_process(one.send(pid(2), &1_u8));
    assert_eq!(one.connector().asked.last(), Some(&(pid(2), Standing::New)));
}

/// A value that cannot be encoded costs its sender an error and the connection nothing.
#[test]
fn what_cannot_be_encoded_leaves_the_connection_as_it_was() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Skips {
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<u8>,
    }
    let (mut one, two) = one_and_two();
    one.send(pid(2), &1_u8).unwrap();
    let error = one.send(pid(2), &Skips { field: None }).unwrap_err();
    assert!(matches!(error, SendError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("Skips"), "{error}");
    one.send(pid(2), &2_u8).unwrap();
    let mut got = Script::inbox(2);
    got.connector().say(Event::Connected {
        peer: pid(1),
        socket: two,
        tally: None,
    });
    assert_eq!(drain::<u8, _>(&mut got), [1, 2]);
}

/// 100 messages and the end of the process, many times: all are received, and then there is nobody.
#[test]
fn everything_a_thread_sends_before_it_ends_arrives() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut one = board.inbox(1);
        for round in 0..times(50) as u64 {
            let who = pid(2 + round);
            let line = board.line(who.serial);
            one.connector().watch(who);
            let sender = thread::spawn(move || {
                let mut two = Line::inbox(who, line);
                for number in 0..100_u32 {
                    two.send(pid(1), &number).unwrap();
                }
            });
            let all: Vec<u32> = (0..100).map(|_| one.receive().unwrap()).collect();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
            assert_eq!(one.receive::<Ended>().unwrap(), Ended(who));
            let error = one.send(who, &0_u8).unwrap_err();
            assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
            sender.join().unwrap();
        }
        assert_empty(&mut one);
    });
}

/// A connection takes the place of another: what was on the old one comes first.
#[test]
fn a_connection_that_is_replaced_loses_nothing_that_was_sent_on_it() {
    let (mut one, two) = one_and_two();
    put(&two, &1_u32);
    put(&two, &2_u32);
    let again = one.connector().connect(2);
    put(&again, &3_u32);
    assert_eq!(drain::<u32, _>(&mut one), [1, 2, 3]);
    // The old one is over for both sides.
    let packet = Packet::of(kind::USER, &4_u32).unwrap();
    let sent = packet.send_part(0, &two, &[], Deadline::Now);
    assert!(matches!(sent, Err(occ_sck::SendError::Closed)), "{sent:?}");
    one.send(pid(2), &5_u32).unwrap();
    assert!(received(&again));
    assert!(!received(&two));
}

fn received(socket: &Socket) -> bool {
    let mut buffer = [0; 1000];
    let received = socket.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
    matches!(received, Ok(occ_sck::Received::Datagram { .. }))
}

/// A connection is closed while the peer goes on sending on it: each message is received, or was not sent.
#[test]
fn what_is_sent_while_a_connection_closes_is_received_or_refused() {
    within(LIMIT, || {
        for _ in 0..times(100) {
            let (mut one, two) = one_and_two();
            thread::scope(|scope| {
                let flood = Flood::on(&two, scope);
                let mut got = vec![one.receive::<u64>().unwrap()];
                let _again = one.connector().connect(2);
                assert_eq!(one.attend(Deadline::Now), Ok(true));
                let sent = flood.stop();
                got.extend(drain::<u64, _>(&mut one));
                assert_eq!(got, (0..sent).collect::<Vec<_>>());
            });
        }
    });
}

/// The receiver has a new connection already when the sender finds that the old one has ended.
#[test]
fn a_message_that_finds_its_connection_replaced_goes_on_the_new_one() {
    let (mut one, two) = one_and_two();
    drop(two);
    let (socket, again) = Socket::pair().unwrap();
    let mut socket = Some(socket);
    one.connector().answer(move |peer, _| {
        let socket = socket.take().expect("asked once");
        vec![Event::Connected {
            peer,
            socket,
            tally: None,
        }]
    });
    one.send(pid(2), &1_u8).unwrap();
    assert!(received(&again));
    assert!(!received(&again));
}

#[test]
fn news_of_others_while_waiting_for_a_connection_are_not_lost() {
    let mut one = Script::inbox(1);
    let three = one.connector().connect(3);
    put(&three, &"before".to_string());
    let (socket, two) = Socket::pair().unwrap();
    let mut socket = Some(socket);
    one.connector().answer(move |peer, _| {
        vec![
            Event::Refused {
                peer: pid(4),
                why: Refusal::NoProcess,
            },
            Event::Gone { peer: pid(3) },
            Event::Own,
            Event::Connected {
                peer,
                socket: socket.take().expect("asked once"),
                tally: None,
            },
        ]
    });
    one.send(pid(2), &1_u8).unwrap();
    put(&two, &2_u8);
    assert_eq!(one.receive_timeout::<u8>(NOW).unwrap(), Some(2));
    assert_eq!(
        one.receive_timeout::<String>(NOW).unwrap().as_deref(),
        Some("before")
    );
}

/// The other one asked first: the connection is here, and nobody is asked.
#[test]
fn a_connection_that_is_here_already_is_not_asked_for() {
    let mut one = Script::inbox(1);
    let two = one.connector().connect(2);
    one.send(pid(2), &1_u8).unwrap();
    assert!(received(&two));
    assert_eq!(one.connector().asked, []);
}
