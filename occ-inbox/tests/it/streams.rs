//! A peer that sends without a pause is received in batches and outside of epoll. Nobody can tell, but by the clock.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use occ_inbox::{Deadline, Event, Inbox, Message, ReceiveError, SendError, Socket};
use occ_sck::{Bytes, PART};
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, within};
use rustix::event::{PollFd, PollFlags, poll};

use crate::script::Script;
use crate::switchboard::Ended;
use crate::{Flood, assert_empty, drain, one_and_two, pid, put, put_bytes, put_whole};

/// More than one turn, and no more than what one socket holds.
const BURST: u32 = 200;

fn burst(socket: &Socket) {
    (0..BURST).for_each(|number| put(socket, &number));
}

fn receive_burst(inbox: &mut Inbox<Script>) {
    for number in 0..BURST {
        assert_eq!(inbox.receive::<u32>().unwrap(), number);
    }
}

#[test]
fn who_sends_little_is_heard_beside_a_stream() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let three = one.connector().connect(3);
        thread::scope(|scope| {
            let flood = Flood::on(&two, scope);
            for number in 0..1000_u32 {
                put(&three, &number);
                assert_eq!(one.receive::<u32>().unwrap(), number);
                one.connector().say(Event::Own);
                // So that it is a stream again, whatever was sent.
                one.receive::<u64>().unwrap();
            }
            let sent = flood.stop();
            assert!(sent > 1000, "{sent}");
        });
    });
}

#[test]
fn a_stream_and_single_messages_take_turns_and_none_is_overlooked() {
    within(LIMIT * times(1) as u32, || {
        let (mut one, two) = one_and_two();
        let (ours, theirs) = Socket::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut go = [0; 1];
                for _ in 0..times(500) {
                    burst(&two);
                    put(&two, &"end of the burst".to_string());
                    // One alone, to one who waits by now or not.
                    theirs
                        .receive(&mut go, &mut Vec::new(), Deadline::Never)
                        .unwrap();
                    put(&two, &"alone".to_string());
                }
            });
            for _ in 0..times(500) {
                receive_burst(&mut one);
                assert_eq!(one.receive::<String>().unwrap(), "end of the burst");
                put_bytes(&ours, b"x");
                assert_eq!(one.receive::<String>().unwrap(), "alone");
            }
        });
        assert_empty(&mut one);
    });
}

#[test]
fn long_and_short_messages_and_those_in_memory_files_keep_their_order() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let lengths = |round: usize| [3, 5000, 7, PART - 100, 1, 3 * PART, 2, 90_000][round % 8];
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..200 {
                    (0..70_u32).for_each(|number| put(&two, &number));
                    let bytes = Bytes(vec![round as u8; lengths(round)]);
                    if round % 3 == 0 {
                        put_whole(&two, &bytes);
                    } else {
                        put(&two, &bytes);
                    }
                }
            });
            for round in 0..200 {
                for number in 0..70_u32 {
                    let message = one.receive_any().unwrap();
                    assert_eq!(message.decode::<u32>().unwrap(), number);
                }
                let message = one.receive_any().unwrap();
                let bytes: Bytes = message.decode().unwrap();
                assert_eq!(bytes.0, vec![round as u8; lengths(round)]);
            }
        });
        assert_empty(&mut one);
    });
}

#[test]
fn all_of_a_stream_is_received_before_the_end_of_its_sender() {
    let (mut one, two) = one_and_two();
    burst(&two);
    // By now it is a stream.
    for number in 0..BURST - 50 {
        assert_eq!(one.receive::<u32>().unwrap(), number);
    }
    put(&two, &"last words".to_string());
    drop(two);
    let told = Ended(pid(2));
    one.connector()
        .say(Event::Message(Message::about_end(pid(2), told)));
    assert_eq!(one.receive::<Ended>().unwrap(), Ended(pid(2)));
    let left = drain::<u32, _>(&mut one);
    assert_eq!(left, (BURST - 50..BURST).collect::<Vec<_>>());
    assert_eq!(drain::<String, _>(&mut one), ["last words"]);
    assert_empty(&mut one);
}

#[test]
fn a_stream_that_is_closed_in_the_middle_ends_as_any_connection() {
    let (mut one, two) = one_and_two();
    burst(&two);
    drop(two);
    receive_burst(&mut one);
    assert_empty(&mut one);
    // Asked for, because the connection has ended; and the script knows of nobody.
    let error = one.send(pid(2), &1_u8).unwrap_err();
    assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
    assert_eq!(one.connector().asked.len(), 1);
}

#[test]
fn garbage_in_a_stream_is_told_once_after_what_came_before_it() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        burst(&two);
        put_bytes(&two, b"garbage");
        put(&two, &"too late".to_string());
        receive_burst(&mut one);
        let error = one.receive_any().unwrap_err();
        assert!(
            matches!(error, ReceiveError::Broken { from, .. } if from == pid(2)),
            "{error:?}"
        );
        assert_empty(&mut one);
    });
}

/// Whoever waits for the inbox from outside need not know that there is a stream.
#[test]
fn a_stream_is_seen_from_outside() {
    let (mut one, two) = one_and_two();
    let readable = |fd: &OwnedFd| {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 1
    };
    // It is one already, and then somebody begins to wait.
    burst(&two);
    for number in 0..BURST - 50 {
        assert_eq!(one.receive::<u32>().unwrap(), number);
    }
    burst(&two);
    let outside = one.as_fd().try_clone_to_owned().unwrap();
    assert!(readable(&outside));
    assert_eq!(drain::<u32, _>(&mut one).len(), BURST as usize + 50);
    assert!(!readable(&outside));
    // And for good: not only until the next stream. After so many, whole turns of it, nobody has looked for more.
    for _ in 0..3 {
        (0..128_u16).for_each(|number| put(&two, &number));
        for number in 0..128_u16 {
            assert_eq!(one.receive::<u16>().unwrap(), number);
        }
        assert!(!readable(&outside));
        put(&two, &1_u8);
        assert!(readable(&outside));
        one.receive::<u8>().unwrap();
    }
}

/// Two that stream to each other wait for room, and for what arrives meanwhile.
#[test]
fn who_waits_for_room_goes_on_receiving_a_stream() {
    within(LIMIT, || {
        let (mut one, socket) = one_and_two();
        let go_on = |inbox: &mut Inbox<Script>, to| {
            for number in 0..20_000_u32 {
                inbox.send(pid(to), &number).unwrap();
                if number % 1000 == 999 {
                    for _ in 0..500 {
                        inbox.receive::<u32>().unwrap();
                    }
                }
            }
            for number in 10_000..20_000 {
                assert_eq!(inbox.receive::<u32>().unwrap(), number);
            }
        };
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut two = Script::inbox(2);
                let peer = pid(1);
                two.connector().say(Event::Connected {
                    peer,
                    socket,
                    tally: None,
                });
                go_on(&mut two, 1);
            });
            go_on(&mut one, 2);
            // It may be the last to send; the other one has all the same what it needs.
            assert_eq!(one.receive_timeout::<u32>(Duration::ZERO).unwrap(), None);
        });
    });
}
