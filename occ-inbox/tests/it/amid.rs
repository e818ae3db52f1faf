//! A message of several parts is under way, and something happens to its connection.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use occ_inbox::{Bytes, Deadline, Inbox, Refusal, SendError, Socket, Standing, Wired};
use occ_sck::{PART, Packet, kind};
use occ_test_support::{LIMIT, within};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::switchboard::{Ask, Line, Tell, next, say};
use crate::{assert_empty, one_and_two, pid};

/// So long that it is encoded once more when it is sent, and that no socket holds it; and then it does something amid its
/// parts.
struct Long {
    encoded: AtomicU32,
    amid: Box<dyn Fn() + Send + Sync>,
    len: usize,
}

const LEN: usize = 100 * PART;

impl Long {
    fn new(amid: impl Fn() + Send + Sync + 'static) -> Long {
        Long {
            encoded: AtomicU32::new(0),
            amid: Box::new(amid),
            len: LEN,
        }
    }
}

impl Serialize for Long {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&Bytes(vec![1; 5 * PART]))?;
        if self.encoded.fetch_add(1, Ordering::Relaxed) == 1 {
            (self.amid)();
        }
        tuple.serialize_element(&Bytes(vec![2; LEN - 5 * PART]))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Long {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Long, D::Error> {
        let (first, second) = <(Bytes, Bytes)>::deserialize(deserializer)?;
        let len = first.len() + second.len();
        let long = Long::new(|| ());
        Ok(Long { len, ..long })
    }
}

/// Whoever sends: the inbox itself, or a thread with a handle while the inbox hears what the connector says.
const BY_HANDLE: [bool; 2] = [false, true];

/// Sends `long` from 1 to 2 on a connection whose other end nobody reads, and which `board` has made; then something short.
fn send(
    board: &Socket,
    line: Socket,
    by_handle: bool,
    long: &Long,
) -> (Result<(), SendError>, Socket) {
    let (end, two) = Socket::pair().unwrap();
    say(board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
    drop(end);
    let mut one = Line::inbox(pid(1), line);
    assert_eq!(one.attend(Deadline::Never), Ok(true));
    let sent = if by_handle {
        let handle = one.handle().unwrap();
        thread::scope(|scope| {
            let own = handle.clone();
            let sending = scope.spawn(move || {
                let sent = handle.send(pid(2), long);
                handle.send(pid(1), &'.').unwrap();
                sent
            });
            assert_eq!(one.receive::<char>().unwrap(), '.');
            drop(own);
            sending.join().unwrap()
        })
    } else {
        one.send(pid(2), long)
    };
    if sent.is_ok() {
        one.send(pid(2), &"and on".to_owned()).unwrap();
    }
    (sent, two)
}

fn at(end: Socket) -> Inbox<Wired> {
    Inbox::new(pid(2), Wired::new([(pid(1), end)]).unwrap()).unwrap()
}

#[test]
fn one_whose_connection_is_replaced_arrives_whole_and_once_on_the_new_one() {
    within(LIMIT, || {
        for by_handle in BY_HANDLE {
            let (board, line) = Socket::pair().unwrap();
            let board = Arc::new(board);
            let (new, ends) = mpsc::channel();
            let replace = {
                let board = Arc::clone(&board);
                move || {
                    let (end, two) = Socket::pair().unwrap();
                    say(&board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
                    new.send(two).unwrap();
                }
            };
            let long = Long::new(replace);
            thread::scope(|scope| {
                scope.spawn(move || {
                    let mut two = at(ends.recv().unwrap());
                    assert_eq!(two.receive::<Long>().unwrap().len, LEN);
                    assert_eq!(two.receive::<String>().unwrap(), "and on");
                    assert_empty(&mut two);
                });
                let (sent, old) = send(&board, line, by_handle, &long);
                sent.unwrap();
                // Half a message is none.
                assert_empty(&mut at(old));
            });
        }
    });
}

/// It is asked for as one with whom there has been no connection: of the one there was, all is known.
#[test]
fn one_whose_receiver_has_died_is_an_error_and_nothing_is_noted_of_the_dead() {
    within(LIMIT, || {
        for by_handle in BY_HANDLE {
            let (board, line) = Socket::pair().unwrap();
            let board = Arc::new(board);
            let dies = {
                let board = Arc::clone(&board);
                move || say(&board, &Tell::Gone { peer: pid(2) }, &[])
            };
            let long = Long::new(dies);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let asked = next(&board, Deadline::Never).unwrap().unwrap();
                    let Ask::Connect { to, standing } = asked.decode().unwrap() else {
                        panic!("expected a request for a connection");
                    };
                    let (peer, why) = (pid(2), Refusal::NoProcess);
                    say(&board, &Tell::Refused { peer, why }, &[]);
                    assert_eq!((to, standing), (pid(2), Standing::New));
                });
                let (sent, _old) = send(&board, line, by_handle, &long);
                assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
            });
        }
    });
}

/// Several threads send; one has begun when another finds that there is no room for the connection.
#[test]
fn who_has_no_room_any_more_is_understood_amid_a_message_of_its_own() {
    within(LIMIT, || {
        for parts in 0..3 {
            let (mut one, two) = one_and_two();
            let long = Packet::of(kind::USER, &Bytes(vec![7; 3 * PART])).unwrap();
            for part in 0..parts {
                long.send_part(part, &two, &[], Deadline::Now).unwrap();
            }
            let no_room = Packet::of(kind::USER + 1, &()).unwrap();
            no_room.send_part(0, &two, &[], Deadline::Now).unwrap();
            // Nothing is broken, and nothing of the message is there.
            assert_empty(&mut one);
            let error = one.send(pid(2), &1_u8).unwrap_err();
            assert!(matches!(error, SendError::NoProcess { .. }), "{error}");
            assert_eq!(one.connector().asked, [(pid(2), Standing::Missed)]);
        }
    });
}

/// Whoever encodes a message sends another to the same process: it would wait for the end of the one that waits for it.
#[test]
fn what_is_sent_to_the_same_process_while_one_is_encoded_is_an_error_and_not_a_wait_for_ever() {
    within(LIMIT, || {
        for by_handle in BY_HANDLE {
            let (to_two, to_one) = Socket::pair().unwrap();
            let (told, errors) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(move || {
                    let mut two = at(to_one);
                    assert_eq!(two.receive::<Long>().unwrap().len, LEN);
                    assert_eq!(two.receive::<u8>().unwrap(), 9);
                    assert_empty(&mut two);
                });
                let mut one = Inbox::new(pid(1), Wired::new([(pid(2), to_two)]).unwrap()).unwrap();
                let handle = one.handle().unwrap();
                let own = handle.clone();
                let long = Long::new(move || {
                    for error in [
                        own.send(pid(2), &1_u8),
                        own.send(pid(2), &Bytes(vec![0; 3 * PART])),
                        own.send_timeout(pid(2), &1_u8, LIMIT),
                        own.try_send(pid(2), &1_u8),
                    ] {
                        told.send(error.unwrap_err()).unwrap();
                    }
                    // To others it may send, and to itself.
                    own.send(pid(1), &8_u8).unwrap();
                });
                match by_handle {
                    true => handle.send(pid(2), &long).unwrap(),
                    false => one.send(pid(2), &long).unwrap(),
                }
                for _ in 0..3 {
                    let error = errors.recv().unwrap();
                    assert!(matches!(error, SendError::Reentrant), "{error}");
                }
                let error = errors.recv().unwrap();
                assert!(matches!(error, SendError::Full { .. }), "{error}");
                assert_eq!(one.receive::<u8>().unwrap(), 8);
                // And afterwards all is as before.
                handle.send(pid(2), &9_u8).unwrap();
            });
        }
    });
}
