//! Several threads send as one process; one receives.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use occ_inbox::{
    Bytes, Connector, Deadline, Handle, Inbox, ReceiveError, SendError, Socket, Wired,
};
use occ_sck::PART;
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, raw, within};

use crate::switchboard::{Line, Switchboard, Tell, say};
use crate::{assert_empty, pid};

const NOW: Duration = Duration::ZERO;

/// Who of several threads sent it, the how-manieth it is, and something long.
type Numbered = (u32, u32, Bytes);

fn numbered(thread: u32, number: u32) -> Numbered {
    // From one datagram to five, in an order of its own for each thread.
    let len = [0, 100, 2 * PART, 10, 4 * PART, PART][(thread + number) as usize % 6];
    (thread, number, Bytes(vec![thread as u8; len]))
}

fn wired(me: u64, peer: u64, socket: Socket) -> Inbox<Wired> {
    Inbox::new(pid(me), Wired::new([(pid(peer), socket)]).unwrap()).unwrap()
}

/// Two inboxes that are connected.
fn two_wired() -> (Inbox<Wired>, Inbox<Wired>) {
    let (to_two, to_one) = Socket::pair().unwrap();
    (wired(1, 2, to_two), wired(2, 1, to_one))
}

/// Receives so many from each of so many threads, each in its order.
fn receive_all(inbox: &mut Inbox<Wired>, threads: u32, each: u32) {
    let mut next: HashMap<u32, u32> = HashMap::new();
    for _ in 0..threads * each {
        let (thread, number, bytes): Numbered = inbox.receive().unwrap();
        let expected = next.entry(thread).or_default();
        assert_eq!(number, *expected, "of thread {thread}");
        assert_eq!((thread, number, bytes), numbered(thread, number));
        *expected += 1;
    }
    assert!(next.values().all(|count| *count == each), "{next:?}");
    assert_empty(inbox);
}

#[test]
fn what_each_thread_sends_arrives_whole_and_in_its_order() {
    const EACH: u32 = 200;
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        thread::scope(|scope| {
            // The inbox sends, too.
            scope.spawn(|| {
                let mut one = wired(1, 2, to_two);
                let handle = one.handle().unwrap();
                thread::scope(|scope| {
                    for thread in 0..4 {
                        let handle = handle.clone();
                        scope.spawn(move || {
                            for number in 0..EACH {
                                handle.send(pid(2), &numbered(thread, number)).unwrap();
                            }
                        });
                    }
                    for number in 0..EACH {
                        one.send(pid(2), &numbered(4, number)).unwrap();
                    }
                });
            });
            receive_all(&mut wired(2, 1, to_one), 5, EACH);
        });
    });
}

/// Nobody receives before all threads of its process have sent everything.
#[test]
fn threads_of_two_processes_that_flood_each_other_do_not_wait_for_ever() {
    const EACH: u32 = 300;
    within(LIMIT, || {
        let side = |me, peer, socket| {
            let mut inbox = wired(me, peer, socket);
            let handle = inbox.handle().unwrap();
            thread::scope(|scope| {
                for thread in 0..3_u32 {
                    let handle = &handle;
                    scope.spawn(move || {
                        for number in 0..EACH {
                            handle.send(pid(peer), &numbered(thread, number)).unwrap();
                        }
                    });
                }
            });
            receive_all(&mut inbox, 3, EACH);
            // Whoever is done first stays until the other is.
            inbox
        };
        let (to_two, to_one) = Socket::pair().unwrap();
        let done = Barrier::new(2);
        thread::scope(|scope| {
            for (me, peer, socket) in [(1, 2, to_two), (2, 1, to_one)] {
                let (side, done) = (&side, &done);
                scope.spawn(move || {
                    let inbox = side(me, peer, socket);
                    done.wait();
                    drop(inbox);
                });
            }
        });
    });
}

/// One thread waits for room and so takes in what the other waits for.
#[test]
fn who_receives_is_woken_when_another_thread_has_brought_its_message_in() {
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let mut one = wired(1, 2, to_two);
        let handle = one.handle().unwrap();
        let rounds = times(200);
        thread::scope(|scope| {
            scope.spawn(move || {
                let long = Bytes(vec![0; 40 * PART]);
                for _ in 0..rounds {
                    handle.send(pid(2), &long).unwrap();
                }
            });
            scope.spawn(move || {
                let mut two = wired(2, 1, to_one);
                for round in 0..rounds {
                    two.send(pid(1), &round).unwrap();
                    let _: Bytes = two.receive().unwrap();
                    let seen: usize = two.receive().unwrap();
                    assert_eq!(seen, round);
                }
            });
            for round in 0..rounds {
                let got: usize = one.receive().unwrap();
                assert_eq!(got, round);
                one.send(pid(2), &got).unwrap();
            }
        });
    });
}

#[test]
fn threads_that_all_send_first_have_one_connection_and_answers_of_their_own() {
    const THREADS: u64 = 8;
    within(LIMIT, || {
        for _ in 0..times(20) {
            let board = Switchboard::new();
            let mut one = Line::inbox(pid(1), board.line(1));
            let mut two = Line::inbox(pid(2), board.line(2));
            let handle = one.handle().unwrap();
            let start = Barrier::new(THREADS as usize + 1);
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (handle, start) = (&handle, &start);
                    scope.spawn(move || {
                        start.wait();
                        // Every other one sends to nobody.
                        let to = if thread % 2 == 0 { 2 } else { 100 + thread };
                        match handle.send(pid(to), &thread) {
                            Ok(()) => assert_eq!(to, 2),
                            Err(SendError::NoProcess { to: who }) => {
                                assert_eq!(who, pid(100 + thread));
                            }
                            Err(other) => panic!("{other}"),
                        }
                    });
                }
                start.wait();
                let mut came: Vec<u64> = (0..THREADS / 2).map(|_| two.receive().unwrap()).collect();
                came.sort_unstable();
                assert_eq!(came, [0, 2, 4, 6]);
            });
            // One connection in all, for the inbox itself as well.
            one.send(pid(2), &"still there".to_owned()).unwrap();
            assert_eq!(two.receive::<String>().unwrap(), "still there");
        }
    });
}

/// Sends until there is no more room, and then once more.
fn stuck<C: Connector>(handle: &Handle<C>, len: usize) -> SendError {
    let long = Bytes(vec![0; len]);
    loop {
        if let Err(error) = handle.send(pid(2), &long) {
            return error;
        }
    }
}

#[test]
fn a_thread_that_waits_for_room_is_told_when_the_peer_ends() {
    within(LIMIT, || {
        let (mut one, two) = two_wired();
        let handle = one.handle().unwrap();
        thread::scope(|scope| {
            let stuck = scope.spawn(|| stuck(&handle, PART));
            let full = || handle.try_send(pid(2), &Bytes(vec![0; 1000])).is_err();
            while !full() {
                thread::yield_now();
            }
            drop(two);
            let error = stuck.join().unwrap();
            assert!(matches!(error, SendError::NoProcess { .. }), "{error}");
        });
    });
}

#[test]
fn a_thread_that_waits_for_room_is_told_when_its_own_inbox_ends() {
    within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let handle = one.handle().unwrap();
        thread::scope(|scope| {
            let stuck = scope.spawn(|| stuck(&handle, PART));
            let full = || handle.try_send(pid(2), &Bytes(vec![0; 1000])).is_err();
            while !full() {
                thread::yield_now();
            }
            drop(one);
            let error = stuck.join().unwrap();
            assert!(matches!(error, SendError::SystemDown), "{error}");
        });
        for error in [
            handle.send(pid(1), &1_u8).unwrap_err(),
            handle.try_send(pid(2), &1_u8).unwrap_err(),
        ] {
            assert!(matches!(error, SendError::SystemDown), "{error}");
        }
        // And the peer finds the end, after all that was sent.
        while two.receive_any_timeout(NOW).unwrap().is_some() {}
        let error = two.send(pid(1), &1_u8).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error}");
    });
}

/// Whatever they stand before: they ask, and nobody answers.
#[test]
fn threads_that_wait_for_a_connection_are_told_when_their_inbox_ends() {
    within(LIMIT, || {
        for round in 0..times(200) {
            let (_board, line) = Socket::pair().unwrap();
            let mut one = Line::inbox(pid(1), line);
            let handle = one.handle().unwrap();
            let start = Barrier::new(4);
            thread::scope(|scope| {
                for thread in 0..3 {
                    let (handle, start) = (&handle, &start);
                    scope.spawn(move || {
                        start.wait();
                        let to = pid(2 + thread % 2);
                        let error = match thread {
                            0 => handle.send(to, &1_u8).unwrap_err(),
                            1 => handle.send(to, &Bytes(vec![0; 3 * PART])).unwrap_err(),
                            _ => handle.send_timeout(to, &1_u8, 2 * LIMIT).unwrap_err(),
                        };
                        assert!(matches!(error, SendError::SystemDown), "{error}");
                    });
                }
                start.wait();
                // At the same instant, or a little later.
                for _ in 0..round % 20 {
                    thread::yield_now();
                }
                drop(one);
            });
        }
    });
}

/// Whoever has heard of it may be another thread.
#[test]
fn a_thread_that_waits_for_room_is_told_when_another_has_heard_that_the_system_is_down() {
    within(LIMIT, || {
        for round in 0..times(20) {
            let long = round % 2 == 0;
            let (board, line) = Socket::pair().unwrap();
            let mut one = Line::inbox(pid(1), line);
            let (end, two) = Socket::pair().unwrap();
            say(&board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
            drop(end);
            assert_eq!(one.attend(Deadline::Never), Ok(true));
            let handle = one.handle().unwrap();
            thread::scope(|scope| {
                let (len, sender) = (if long { 1000 * PART } else { PART }, &handle);
                let stuck = scope.spawn(move || stuck(sender, len));
                let full = || handle.try_send(pid(2), &Bytes(vec![0; 1000])).is_err();
                while !full() {
                    thread::yield_now();
                }
                drop(board);
                let error = one.receive::<u8>().unwrap_err();
                assert!(matches!(error, ReceiveError::SystemDown), "{error}");
                let error = stuck.join().unwrap();
                assert!(matches!(error, SendError::SystemDown), "{error}");
            });
            drop(two);
        }
    });
}

/// The threads of a process are not in its fork, and what one of them had locked stays so there.
#[test]
fn a_fork_while_threads_send_may_not_send_and_is_in_nobodys_way() {
    fn is_forked(result: Result<(), SendError>) -> bool {
        matches!(result, Err(SendError::Forked))
    }
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let mut one = wired(1, 2, to_two);
        let handle = one.handle().unwrap();
        thread::scope(|scope| {
            let receiver = scope.spawn(move || {
                let mut two = wired(2, 1, to_one);
                let mut next = [0; 3];
                loop {
                    let message = two.receive_any().unwrap();
                    if message.is::<char>() {
                        return next;
                    }
                    let (thread, number, bytes): Numbered = message.into_value().unwrap();
                    assert_eq!(number, next[thread as usize]);
                    assert_eq!((thread, number, bytes), numbered(thread, number));
                    next[thread as usize] += 1;
                    if number % 100 == 0 {
                        two.send(pid(1), &"go on".to_owned()).unwrap();
                    }
                }
            });
            let stop = Arc::new(AtomicBool::new(false));
            let senders = [0, 1, 2].map(|thread| {
                let (handle, stop) = (handle.clone(), Arc::clone(&stop));
                scope.spawn(move || {
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        handle.send(pid(2), &numbered(thread, number)).unwrap();
                        number += 1;
                    }
                    number
                })
            });
            for round in 0..times(50) {
                // In the middle of it.
                let _: String = one.receive().unwrap();
                let Some(fork) = raw::fork() else {
                    let all = [
                        is_forked(handle.send(pid(2), &(0_u32, 0_u32, Bytes(Vec::new())))),
                        is_forked(handle.try_send(pid(2), &1_u8)),
                        is_forked(handle.clone().send_timeout(pid(2), &1_u8, LIMIT)),
                        is_forked(handle.send(pid(1), &1_u8)),
                        is_forked(one.send(pid(2), &1_u8)),
                        matches!(one.receive::<String>(), Err(ReceiveError::Forked)),
                        matches!(one.tick(), Err(ReceiveError::Forked)),
                        matches!(one.flush(), Err(ReceiveError::Forked)),
                        matches!(one.info(), Err(ReceiveError::Forked)),
                    ];
                    drop(one);
                    raw::exit_now(if all == [true; 9] { 42 } else { 1 })
                };
                assert_eq!(raw::wait_for(fork) >> 8, 42, "round {round}");
            }
            stop.store(true, Ordering::Relaxed);
            let sent = senders.map(|sender| sender.join().unwrap());
            one.send(pid(2), &'.').unwrap();
            assert_eq!(receiver.join().unwrap(), sent);
        });
    }));
}

/// The control: a fork may have an inbox and a handle of its own.
#[test]
fn a_fork_has_inboxes_and_handles_of_its_own() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, _two) = two_wired();
        let handle = one.handle().unwrap();
        let Some(fork) = raw::fork() else {
            let (mut three, mut four) = two_wired();
            let own = three.handle().unwrap();
            own.send(pid(2), &3_u8).unwrap();
            let three = four.receive::<u8>().unwrap();
            let forked = matches!(handle.send(pid(2), &1_u8), Err(SendError::Forked));
            raw::exit_now(if three == 3 && forked { 42 } else { 1 })
        };
        assert_eq!(raw::wait_for(fork) >> 8, 42);
        handle.send(pid(2), &1_u8).unwrap();
    }));
}

/// A type whose `Serialize` panics when it is told to.
struct Trap(bool);

impl serde::Serialize for Trap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "trapped");
        serializer.serialize_u8(1)
    }
}

impl<'de> serde::Deserialize<'de> for Trap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Trap, D::Error> {
        u8::deserialize(deserializer).map(|_| Trap(false))
    }
}

#[test]
fn a_thread_that_panics_while_it_sends_hinders_nobody() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let handle = one.handle().unwrap();
        std::panic::set_hook(Box::new(|_| {}));
        let trapped = handle.clone();
        thread::spawn(move || trapped.send(pid(2), &Trap(true)))
            .join()
            .unwrap_err();
        let _ = std::panic::take_hook();
        handle.send(pid(2), &Trap(false)).unwrap();
        one.send(pid(2), &2_u8).unwrap();
        let _: Trap = two.receive().unwrap();
        assert_eq!(two.receive::<u8>().unwrap(), 2);
    }));
}

#[test]
fn a_handle_can_be_used_within_a_matcher() {
    within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let handle = two.handle().unwrap();
        one.send(pid(2), &7_u8).unwrap();
        let seven = two.receive_where(|number: &u8| {
            handle.send(pid(1), &(number + 1)).unwrap();
            true
        });
        assert_eq!(seven.unwrap(), 7);
        assert_eq!(one.receive::<u8>().unwrap(), 8);
    });
}

#[test]
fn what_a_thread_sends_to_its_own_process_wakes_it() {
    within(LIMIT, || {
        let (mut one, _two) = two_wired();
        let handle = one.handle().unwrap();
        for round in 0..times(300) {
            thread::scope(|scope| {
                scope.spawn(|| handle.send(pid(1), &round).unwrap());
                assert_eq!(one.receive::<usize>().unwrap(), round);
            });
        }
    });
}

/// The thread that receives sends, too: what it takes in while it waits for room must not keep it from taking in more.
#[test]
fn inboxes_with_handles_that_flood_each_other_do_not_wait_for_ever() {
    const EACH: u32 = 300;
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let done = Barrier::new(2);
        thread::scope(|scope| {
            for (me, peer, socket) in [(1, 2, to_two), (2, 1, to_one)] {
                let done = &done;
                scope.spawn(move || {
                    let mut inbox = wired(me, peer, socket);
                    let _handle = inbox.handle().unwrap();
                    for number in 0..EACH {
                        inbox.send(pid(peer), &numbered(0, number)).unwrap();
                    }
                    receive_all(&mut inbox, 1, EACH);
                    done.wait();
                });
            }
        });
    });
}

/// Another thread has brought something in already, and more is in the kernel.
#[test]
fn all_that_has_come_is_brought_in_though_another_thread_was_there_before() {
    within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let handle = one.handle().unwrap();
        one.tick().unwrap();
        let mut both = || {
            two.send(pid(1), &2_u32).unwrap();
            handle.send(pid(1), &1_u32).unwrap();
        };
        both();
        assert_eq!(one.tick().unwrap(), 2);
        both();
        assert_eq!(one.flush().unwrap(), 4);
        both();
        assert_eq!(one.info().unwrap().messages, 2);
        both();
        assert_eq!(one.tick().unwrap(), 4);
    });
}
