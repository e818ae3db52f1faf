//! An inbox in somebody else's event loop.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use occ_inbox::{Connector, Deadline, Inbox, ReceiveError, Refusal, SendError, Socket, Wired};
use occ_test_support::{LIMIT, within};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::switchboard::{Ask, Ended, Line, Tell, next, say};
use crate::{pid, put};

const NOW: Duration = Duration::ZERO;

fn wired() -> (Inbox<Wired>, Socket) {
    let (ours, theirs) = Socket::pair().unwrap();
    let one = Inbox::new(pid(1), Wired::new([(pid(2), ours)]).unwrap()).unwrap();
    (one, theirs)
}

/// An inbox whose coordinator the test plays.
fn line() -> (Socket, Inbox<Line>) {
    let (board, line) = Socket::pair().unwrap();
    (board, Line::inbox(pid(1), line))
}

fn is_readable<C: Connector>(inbox: &Inbox<C>) -> bool {
    let mut fds = [PollFd::new(inbox, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}

fn wait(inbox: &Inbox<Wired>) {
    let mut fds = [PollFd::new(inbox, PollFlags::IN)];
    poll(&mut fds, None).unwrap();
}

#[test]
fn it_is_readable_when_something_has_come_and_not_after_a_tick() {
    within(LIMIT, || {
        let (mut one, two) = wired();
        one.tick().unwrap();
        assert!(!is_readable(&one));
        for round in 1..=3_u32 {
            for number in 0..100 * round {
                put(&two, &number);
            }
            wait(&one);
            assert_eq!(one.tick().unwrap(), 100 * round as usize);
            assert!(!is_readable(&one), "in round {round}");
            // It brings in, and takes nothing.
            assert_eq!(one.tick().unwrap(), 100 * round as usize);
            for number in 0..100 * round {
                assert_eq!(one.receive_timeout(NOW).unwrap(), Some(number));
            }
            assert!(one.is_empty());
        }
    });
}

#[test]
fn it_is_readable_when_another_thread_has_brought_something_in() {
    within(LIMIT, || {
        let (mut one, _two) = wired();
        one.tick().unwrap();
        // The descriptor is asked for before there is a handle, and stays the same.
        let before = one.as_fd().try_clone_to_owned().unwrap();
        let handle = one.handle().unwrap();
        assert!(!is_readable(&one));
        for round in 0..100_u32 {
            thread::scope(|scope| {
                scope.spawn(|| handle.send(pid(1), &round).unwrap());
                poll(&mut [PollFd::new(&before, PollFlags::IN)], None).unwrap();
            });
            assert_eq!(one.tick().unwrap(), 1);
            assert!(!is_readable(&one));
            assert_eq!(one.receive_timeout(NOW).unwrap(), Some(round));
        }
    });
}

/// News of the system that another thread has heard, while it asked for a connection.
#[test]
fn it_is_readable_when_another_thread_has_heard_what_the_system_says() {
    within(LIMIT, || {
        let (board, mut one) = line();
        assert_eq!(one.tick().unwrap(), 0);
        let handle = one.handle().unwrap();
        assert!(!is_readable(&one));
        for serial in 10..110 {
            thread::scope(|scope| {
                let asking = scope.spawn(|| handle.send(pid(serial), &1_u8));
                let asked = next(&board, Deadline::Never).unwrap().unwrap();
                assert!(matches!(asked.decode().unwrap(), Ask::Connect { .. }));
                let why = Refusal::NoProcess;
                let who = pid(1000 + serial);
                say(&board, &Tell::Ended { who }, &[]);
                let peer = pid(serial);
                say(&board, &Tell::Refused { peer, why }, &[]);
                asking.join().unwrap().unwrap_err();
            });
            // Nothing more comes: whoever does not know of it now never will.
            assert!(is_readable(&one), "{serial}");
            assert_eq!(one.tick().unwrap(), 1);
            assert!(!is_readable(&one));
            assert_eq!(
                one.receive_timeout(NOW).unwrap(),
                Some(Ended(pid(1000 + serial)))
            );
        }
    });
}

/// Of what has come before somebody first waits for it he has not been told either.
#[test]
fn it_is_readable_from_the_first_if_something_has_been_brought_in_already() {
    within(LIMIT, || {
        let (mut one, _two) = wired();
        one.tick().unwrap();
        let handle = one.handle().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| handle.send(pid(1), &1_u32).unwrap());
        });
        assert!(is_readable(&one));
        assert_eq!(one.tick().unwrap(), 1);
        assert!(!is_readable(&one));
    });
}

/// A thread finds that a peer has gone, and takes in what that one had sent.
#[test]
fn it_is_readable_when_another_thread_has_found_the_end_of_a_connection() {
    within(LIMIT, || {
        let (mut one, two) = wired();
        one.tick().unwrap();
        let handle = one.handle().unwrap();
        assert!(!is_readable(&one));
        put(&two, &1_u32);
        drop(two);
        thread::scope(|scope| {
            scope.spawn(|| handle.send(pid(2), &1_u8).unwrap_err());
        });
        assert!(is_readable(&one));
        assert_eq!(one.tick().unwrap(), 1);
        assert!(!is_readable(&one));
        assert_eq!(one.receive_timeout(NOW).unwrap(), Some(1_u32));
    });
}

/// An edge-triggered loop is told once, and looks once.
#[test]
fn an_edge_triggered_loop_misses_nothing() {
    const COUNT: u32 = 20_000;
    within(LIMIT, || {
        let (mut one, two) = wired();
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&watch, &one, epoll::EventData::new_u64(0), edge).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..COUNT {
                    put(&two, &number);
                }
            });
            let mut next = 0;
            let mut events = Vec::with_capacity(4);
            while next < COUNT {
                events.clear();
                epoll::wait(&watch, spare_capacity(&mut events), None).unwrap();
                one.tick().unwrap();
                while let Some(number) = one.receive_timeout::<u32>(NOW).unwrap() {
                    assert_eq!(number, next);
                    next += 1;
                }
            }
        });
    });
}

/// Nothing more will come, and a loop that waits for the inbox alone has to learn of that, whichever thread hears it.
#[test]
fn it_is_readable_when_the_system_is_down_and_stays_so() {
    within(LIMIT, || {
        for heard_by_another in [false, true] {
            let (board, mut one) = line();
            let handle = one.handle().unwrap();
            assert!(!is_readable(&one));
            drop(board);
            if heard_by_another {
                let nobody = handle.send(pid(9), &1_u8);
                assert!(matches!(nobody, Err(SendError::SystemDown)), "{nobody:?}");
            }
            let told = (0..3).any(|_| {
                assert!(is_readable(&one));
                matches!(one.tick(), Err(ReceiveError::SystemDown))
            });
            assert!(told);
            assert!(is_readable(&one));
        }
        // One that is looked at for the first time then.
        let (board, mut one) = line();
        drop(board);
        assert!(one.receive::<u8>().is_err());
        assert!(is_readable(&one));
    });
}
