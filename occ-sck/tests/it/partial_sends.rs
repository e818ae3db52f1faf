//! A peer that does not read: what was sent, what was not, and what is on its way.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use occ_sck::{Bytes, Channel, ChannelError, PART, SendError};
use occ_test_support::{LIMIT, isolated, raw, within};
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};

use crate::carriers::{is_closed, over_each_way, wait_until_gone};

fn is_full<T>(result: &Result<T, ChannelError>) -> bool {
    matches!(result, Err(ChannelError::Send(SendError::Full)))
}

fn is_unfinished<T>(result: &Result<T, ChannelError>) -> bool {
    matches!(result, Err(ChannelError::Send(SendError::Unfinished)))
}

/// A value that tells its number in every byte.
fn numbered(number: usize, len: usize) -> Bytes {
    Bytes(vec![number as u8; len])
}

/// What a peer has not taken by then it does not take until somebody reads. TCP finds some more room after a while.
fn limit(channel: &Channel) -> Duration {
    match channel.peer_credentials().unwrap() {
        Some(_) => Duration::ZERO,
        None => Duration::from_millis(20),
    }
}

/// Sends until there is no more room. How many values will arrive, and whether the last of them is unfinished.
fn fill(channel: &mut Channel, len: usize) -> (usize, bool) {
    let limit = limit(channel);
    for number in 0.. {
        let sent = channel.send_timeout(&numbered(number, len), limit);
        match sent {
            Ok(()) => {}
            sent if is_full(&sent) => return (number, false),
            sent if is_unfinished(&sent) => return (number + 1, true),
            sent => panic!("{sent:?}"),
        }
    }
    unreachable!()
}

/// Fills a connection until it takes a value in part. How many values will still arrive; `None` where it takes all or nothing.
fn fill_in_part(a: &mut Channel, b: &mut Channel) -> Option<usize> {
    let mut there = 0;
    for attempt in 0..30 {
        let (sent, unfinished) = fill(a, 60_000);
        there += sent;
        if unfinished {
            return Some(there);
        }
        // Whether one is cut depends on how much room there is for it: another length in place of some makes another room.
        for _ in 0..2 {
            b.receive::<Bytes>().unwrap().unwrap();
            there -= 1;
        }
        let limit = limit(a);
        let sent = a.send_timeout(&numbered(0, 5000 * (attempt % 11 + 1)), limit);
        there += usize::from(!is_full(&sent));
        if is_unfinished(&sent) {
            return Some(there);
        }
    }
    None
}

/// Whatever the length and the carrier: what was told as sent or unfinished arrives, and what was told as `Full` does not.
#[test]
fn what_is_told_as_sent_or_unfinished_arrives_and_nothing_else() {
    isolated!(|| {
        within(LIMIT, || {
            for len in [100, 20_000, 60_000, 300_000, 2 << 20] {
                over_each_way(|kind, mut a, mut b| {
                    if len > PART && !kind.starts_with("Tcp") {
                        // Each would take a memory file and a small frame: there is room for thousands.
                        return;
                    }
                    let (sent, unfinished) = fill(&mut a, len);
                    assert!(sent > 0, "{kind}");
                    assert!(!unfinished || !(kind.starts_with("pair") || kind.starts_with("Seq")));
                    // Nothing of it goes out, now or later.
                    let refused = a.send_timeout(&"refused".to_string(), Duration::ZERO);
                    if unfinished {
                        assert!(is_full(&refused), "{kind}: {refused:?}");
                    }
                    let refused = usize::from(!is_full(&refused));
                    std::thread::scope(|scope| {
                        scope.spawn(move || {
                            a.flush(LIMIT).unwrap();
                            a.send(&"the last".to_string()).unwrap();
                        });
                        for number in 0..sent {
                            let got: Bytes = b.receive().unwrap().unwrap();
                            assert!(got == numbered(number, len), "{kind}: {number} of {sent}");
                        }
                        for _ in 0..refused {
                            assert_eq!(b.receive().unwrap(), Some("refused".to_string()));
                        }
                        assert_eq!(b.receive().unwrap(), Some("the last".to_string()), "{kind}");
                        assert_eq!(b.receive::<u8>().unwrap(), None);
                    });
                });
            }
        });
    });
}

#[test]
fn a_full_peer_is_told_in_time_and_never_early() {
    const SHORT: Duration = Duration::from_millis(100);
    isolated!(|| {
        within(LIMIT, || {
            for len in [100, 60_000, 2 << 20] {
                over_each_way(|kind, mut a, _b| {
                    if len > PART && !kind.starts_with("Tcp") {
                        return;
                    }
                    let (_, mut unfinished) = fill(&mut a, len);
                    // TCP may find some more room each time.
                    let (refused, took) = loop {
                        let begun = Instant::now();
                        let sent = a.send_timeout(&numbered(0, len), SHORT);
                        if sent.is_err() {
                            break (sent, begun.elapsed());
                        }
                        unfinished = false;
                    };
                    unfinished |= is_unfinished(&refused);
                    assert!(
                        is_full(&refused) || is_unfinished(&refused),
                        "{kind}: {refused:?}"
                    );
                    assert!(SHORT <= took && took < 10 * SHORT, "{kind}: {took:?}");
                    if unfinished {
                        let begun = Instant::now();
                        let flushed = a.flush(SHORT);
                        let took = begun.elapsed();
                        if flushed.is_ok() {
                            assert!(kind.starts_with("Tcp"), "{kind}");
                            return;
                        }
                        assert!(is_full(&flushed), "{kind}: {flushed:?}");
                        assert!(SHORT <= took && took < 10 * SHORT, "{kind}: {took:?}");
                    }
                });
            }
        });
    });
}

/// Each stream can be cut in a value, or the tests below would show nothing.
#[test]
fn a_stream_takes_a_value_in_part() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                let stream = !(kind.starts_with("pair") || kind.starts_with("Seq"));
                assert_eq!(fill_in_part(&mut a, &mut b).is_some(), stream, "{kind}");
            });
        });
    });
}

/// Who asks and waits for the answer need not know that the question is not out yet.
#[test]
fn who_waits_for_an_answer_sends_the_rest_of_the_question_meanwhile() {
    isolated!(|| {
        within(LIMIT, || {
            for limit in [None, Some(LIMIT)] {
                over_each_way(|kind, mut a, mut b| {
                    let Some(sent) = fill_in_part(&mut a, &mut b) else {
                        return;
                    };
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            for _ in 0..sent {
                                b.receive::<Bytes>().unwrap().unwrap();
                            }
                            b.send(&"answer".to_string()).unwrap();
                        });
                        let answer: Option<String> = match limit {
                            None => a.receive().unwrap(),
                            Some(limit) => a.receive_timeout(limit).unwrap(),
                        };
                        assert_eq!(answer.unwrap(), "answer", "{kind}");
                    });
                });
            }
        });
    });
}

#[test]
fn what_is_left_of_a_value_goes_out_before_the_next() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                let Some(sent) = fill_in_part(&mut a, &mut b) else {
                    return;
                };
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        a.send(&1_u8).unwrap();
                        a.send_timeout(&2_u8, LIMIT).unwrap();
                    });
                    for _ in 0..sent {
                        assert!(b.receive::<Bytes>().unwrap().is_some(), "{kind}");
                    }
                    assert_eq!(b.receive().unwrap(), Some(1_u8), "{kind}");
                    assert_eq!(b.receive().unwrap(), Some(2_u8), "{kind}");
                });
            });
        });
    });
}

/// The kernel takes such values in pieces, and more descriptors than one value has would be an error.
#[test]
fn descriptors_go_once_with_a_value_that_goes_in_pieces() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                if kind.starts_with("Tcp") {
                    return;
                }
                const VALUES: usize = 300;
                let (read, write) = std::io::pipe().unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        for number in 0..VALUES {
                            let fds = [write.as_fd(), write.as_fd()];
                            let value = numbered(number, 60_000);
                            a.send_with_timeout(&value, &fds[..number % 3], LIMIT)
                                .unwrap();
                        }
                    });
                    for number in 0..VALUES {
                        let envelope = b.receive_any().unwrap().unwrap();
                        assert_eq!(envelope.fds.len(), number % 3, "{kind}: {number}");
                        let value: Bytes = envelope.decode().unwrap();
                        assert!(value == numbered(number, 60_000), "{kind}: {number}");
                    }
                });
                // All copies are closed.
                assert_eq!(rustix::io::read(&read, &mut [0]), Ok(0));
            });
        });
    });
}

/// Half a value is none.
#[test]
fn one_that_goes_with_a_value_unfinished_leaves_what_was_whole_and_the_end() {
    isolated!(|| {
        within(LIMIT, || {
            for end in [Channel::close, Channel::detach] {
                over_each_way(|kind, mut a, mut b| {
                    let Some(sent) = fill_in_part(&mut a, &mut b) else {
                        return;
                    };
                    end(a);
                    for _ in 1..sent {
                        assert!(b.receive::<Bytes>().unwrap().is_some(), "{kind}");
                    }
                    assert_eq!(b.receive::<Bytes>().unwrap(), None, "{kind}");
                });
            }
        });
    });
}

#[test]
fn a_peer_that_goes_while_a_value_is_unfinished_is_told() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                if fill_in_part(&mut a, &mut b).is_none() {
                    return;
                }
                b.send(&"last words".to_string()).unwrap();
                drop(b);
                wait_until_gone(&a);
                // Also if it is the wait that finds out; and what the peer had sent is there, where its end is no reset.
                let last = a.receive::<String>().unwrap();
                assert!(last.is_some() || kind.starts_with("Tcp"), "{kind}");
                assert_eq!(a.receive::<String>().unwrap(), None, "{kind}");
                for _ in 0..2 {
                    let sent = a.send(&1_u8);
                    assert!(is_closed(&sent), "{kind}: {sent:?}");
                }
            });
        });
    });
}

/// The author's "huge send with the other side failing during a blocked partial write".
#[test]
fn a_sender_amid_a_long_value_is_told_when_the_peer_goes() {
    isolated!(|| {
        within(LIMIT, || {
            let long = Bytes(vec![1; 32 << 20]);
            for end in [Channel::close, Channel::detach] {
                for limit in [None, Some(LIMIT)] {
                    over_each_way(|kind, mut a, b| {
                        if limit.is_some() && !kind.starts_with("Tcp") {
                            // It would travel in a memory file, and be gone at once.
                            return;
                        }
                        std::thread::scope(|scope| {
                            let sender = scope.spawn(|| {
                                let sent = match limit {
                                    None => a.send(&long),
                                    Some(limit) => a.send_timeout(&long, limit),
                                };
                                assert!(is_closed(&sent), "{kind}: {sent:?}");
                                assert!(is_closed(&a.send(&1_u8)), "{kind}");
                            });
                            // Some of it is here, all of it cannot be.
                            let mut fds =
                                [rustix::event::PollFd::new(&b, rustix::event::PollFlags::IN)];
                            rustix::event::poll(&mut fds, None).unwrap();
                            end(b);
                            sender.join().unwrap();
                        });
                    });
                }
            }
        });
    });
}

#[derive(Debug, Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("never"))
    }
}

#[test]
fn a_value_that_cannot_be_encoded_costs_nothing_also_amid_another() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                let sent = fill_in_part(&mut a, &mut b);
                let error = a.send(&Unencodable).unwrap_err();
                assert!(
                    matches!(error, ChannelError::Encode(_)),
                    "{kind}: {error:?}"
                );
                let Some(sent) = sent else { return };
                std::thread::scope(|scope| {
                    scope.spawn(move || a.flush(LIMIT).unwrap());
                    for _ in 0..sent {
                        assert!(b.receive::<Bytes>().unwrap().is_some(), "{kind}");
                    }
                    assert_eq!(b.receive::<Bytes>().unwrap(), None, "{kind}");
                });
            });
        });
    });
}

/// On one machine a long value with a limit is one small frame, and its bytes are in memory.
#[test]
fn a_long_value_with_a_limit_is_sent_at_once_over_unix_sockets() {
    isolated!(|| {
        within(LIMIT, || {
            let long = Bytes(vec![1; 8 << 20]);
            over_each_way(|kind, mut a, mut b| {
                if kind.starts_with("Tcp") {
                    return;
                }
                a.send_timeout(&long, Duration::ZERO).unwrap();
                assert!(b.receive::<Bytes>().unwrap().unwrap() == long, "{kind}");
            });
        });
    });
}

/// Longer each time that it is encoded.
#[derive(Deserialize)]
struct Growing(Bytes);

thread_local! {
    static ENCODED: Cell<usize> = const { Cell::new(0) };
}

impl Serialize for Growing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let times = ENCODED.replace(ENCODED.get() + 1);
        Bytes(vec![1; self.0.len() + times]).serialize(serializer)
    }
}

/// A long value is encoded twice, and one that is another the second time is withdrawn: also where a part of it is kept for later.
#[test]
fn a_value_that_is_withdrawn_amid_its_parts_costs_the_connection_nothing() {
    isolated!(|| {
        within(LIMIT, || {
            for limit in [None, Some(LIMIT), Some(Duration::from_millis(1))] {
                over_each_way(|kind, mut a, mut b| {
                    std::thread::scope(|scope| {
                        scope.spawn(move || {
                            let value = Growing(Bytes(vec![1; 8 << 20]));
                            let sent = match limit {
                                None => a.send(&value),
                                Some(limit) => a.send_timeout(&value, limit),
                            };
                            let error = sent.unwrap_err();
                            assert!(
                                matches!(error, ChannelError::Encode(_)),
                                "{kind}: {error:?}"
                            );
                            a.send(&"the next".to_string()).unwrap();
                        });
                        assert_eq!(b.receive().unwrap(), Some("the next".to_string()), "{kind}");
                        assert_eq!(b.receive::<u8>().unwrap(), None, "{kind}");
                    });
                });
            }
        });
    });
}

/// From here on the kernel sends nothing for this thread, and says why.
fn send_nothing_more() {
    let why = libc::ENOBUFS;
    raw::refuse(&[
        (libc::SYS_sendto, None, why),
        (libc::SYS_sendmsg, None, why),
    ]);
}

/// Nothing can be sent any more once some of it is: a long value is encoded while it is sent.
#[derive(Debug, Deserialize)]
struct Doomed(Bytes, Bytes);

impl Serialize for Doomed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Doom<'a>(&'a Bytes);
        impl Serialize for Doom<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if ENCODED.replace(ENCODED.get() + 1) == 1 {
                    send_nothing_more();
                }
                self.0.serialize(serializer)
            }
        }
        (&self.0, Doom(&self.1)).serialize(serializer)
    }
}

fn is_refused<T>(result: &Result<T, ChannelError>) -> bool {
    let Err(ChannelError::Send(SendError::Io { op, source })) = result else {
        return false;
    };
    *op == "sendmsg" && source.raw_os_error() == Some(libc::ENOBUFS)
}

/// What fails is not the peer but a system call of our own, after some parts have been sent.
#[test]
fn a_value_that_fails_half_way_ends_the_connection() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                std::thread::scope(|scope| {
                    let sender = scope.spawn(move || {
                        let half = Bytes(vec![1; 2 << 20]);
                        let sent = a.send(&Doomed(half.clone(), half));
                        assert!(is_refused(&sent), "{kind}: {sent:?}");
                        a
                    });
                    assert!(b.receive::<Doomed>().unwrap().is_none(), "{kind}");
                    let mut a = sender.join().unwrap();
                    assert!(is_closed(&a.send(&1_u8)), "{kind}");
                });
            });
        });
    });
}

#[test]
fn one_whose_rest_cannot_be_sent_ends_the_connection() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                let Some(sent) = fill_in_part(&mut a, &mut b) else {
                    return;
                };
                std::thread::scope(|scope| {
                    let sender = scope.spawn(move || {
                        send_nothing_more();
                        let flushed = a.flush(LIMIT);
                        assert!(is_refused(&flushed), "{kind}: {flushed:?}");
                        a
                    });
                    let mut a = sender.join().unwrap();
                    for _ in 1..sent {
                        assert!(b.receive::<Bytes>().unwrap().is_some(), "{kind}");
                    }
                    assert_eq!(b.receive::<Bytes>().unwrap(), None, "{kind}");
                    assert!(is_closed(&a.send(&1_u8)), "{kind}");
                });
            });
        });
    });
}
