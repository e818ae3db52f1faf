//! How much may wait in an inbox, and what happens when that is too much.

use std::os::fd::BorrowedFd;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use occ_inbox::{
    Bytes, Connector, Deadline, Event, Inbox, InboxLimits, Lost, Message, NotAsked, Pid, Policy,
    ReceiveError, SendError, Socket, Standing, Wired,
};
use occ_sck::PART;
use occ_test_support::{LIMIT, within};
use rustix::event::{PollFd, PollFlags, poll};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::script::Script;
use crate::switchboard::{Ended, Line, Switchboard};
use crate::{pid, put};

const NOW: Duration = Duration::ZERO;

fn messages(messages: u64, policy: Policy) -> InboxLimits {
    InboxLimits {
        messages,
        policy,
        ..InboxLimits::default()
    }
}

fn bytes(bytes: u64) -> InboxLimits {
    InboxLimits {
        bytes,
        ..InboxLimits::default()
    }
}

/// The inbox of process 1, connected with 2, 3 and so on, whose ends the test holds.
fn connected(peers: u64, limits: InboxLimits) -> (Inbox<Wired>, Vec<Socket>) {
    let mut ends = Vec::new();
    let mut theirs = Vec::new();
    for peer in 2..2 + peers {
        let (end, other) = Socket::pair().unwrap();
        ends.push((pid(peer), end));
        theirs.push(other);
    }
    let mut one = Inbox::new(pid(1), Wired::new(ends).unwrap()).unwrap();
    one.set_limits(limits);
    one.tick().unwrap();
    (one, theirs)
}

/// The inbox of process 2, which sends to 1 without ever waiting, until there is no room.
fn fill(socket: Socket) -> (Inbox<Wired>, u32) {
    let mut two = Inbox::new(pid(2), Wired::new([(pid(1), socket)]).unwrap()).unwrap();
    let sent = (0_u32..).find(|number| two.try_send(pid(1), number).is_err());
    (two, sent.unwrap())
}

#[test]
fn no_more_waits_in_memory_than_the_limit_and_nothing_is_lost() {
    within(LIMIT, || {
        let (mut one, mut ends) = connected(1, messages(10, Policy::Block));
        let (mut two, sent) = fill(ends.remove(0));
        for _ in 0..5 {
            one.tick().unwrap();
            assert_eq!(one.len(), 10);
        }
        // There is as much more room as was taken in.
        for number in sent..sent + 10 {
            two.send_timeout(pid(1), &number, Duration::from_secs(5))
                .unwrap();
        }
        for number in 0..sent + 10 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
            assert!(one.len() <= 10, "{}", one.len());
        }
        assert!(one.receive_any_timeout(NOW).unwrap().is_none());
    });
}

/// The control: without a limit all of it is.
#[test]
fn without_a_limit_all_waits_in_memory() {
    within(LIMIT, || {
        let (mut one, mut ends) = connected(1, InboxLimits::default());
        let (_two, sent) = fill(ends.remove(0));
        one.tick().unwrap();
        assert_eq!(one.len(), sent as usize);
    });
}

#[test]
fn who_floods_takes_nothing_from_those_who_do_not() {
    within(LIMIT, || {
        let (mut one, ends) = connected(2, messages(100, Policy::Block));
        let [two, three] = ends.try_into().unwrap();
        let (_two, sent) = fill(two);
        one.tick().unwrap();
        assert_eq!(one.len(), 100);
        // A reply of the other comes through, though it is younger than all of that.
        put(&three, &"reply".to_owned());
        assert_eq!(one.receive::<String>().unwrap(), "reply");
        for number in 0..sent {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
    });
}

#[test]
fn bytes_are_limited_too_and_one_message_of_each_comes_in_any_case() {
    within(LIMIT, || {
        let (mut one, ends) = connected(2, bytes(1000));
        let [two, three] = ends.try_into().unwrap();
        for _ in 0..20 {
            put(&two, &Bytes(vec![2; 198]));
        }
        // 5 of 200 bytes are the first that are 1,000.
        assert_eq!(one.tick().unwrap(), 5);
        // Longer than the limit, and than a datagram.
        thread::scope(|scope| {
            scope.spawn(|| put(&three, &Bytes(vec![3; 5 * PART])));
            while one.len() < 6 {
                one.tick().unwrap();
            }
        });
        assert_eq!(one.tick().unwrap(), 6);
        put(&three, &Bytes(vec![4]));
        assert_eq!(one.tick().unwrap(), 6);
        assert_eq!(
            one.receive_where(|bytes: &Bytes| bytes[0] == 3).unwrap(),
            Bytes(vec![3; 5 * PART])
        );
        assert_eq!(
            one.receive_where(|bytes: &Bytes| bytes[0] == 4)
                .unwrap()
                .len(),
            1
        );
        for _ in 0..20 {
            assert_eq!(one.receive::<Bytes>().unwrap(), Bytes(vec![2; 198]));
        }
    });
}

#[test]
fn limits_can_be_changed_at_any_time() {
    within(LIMIT, || {
        let (mut one, ends) = connected(1, InboxLimits::default());
        for number in 0..20_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.tick().unwrap(), 20);
        one.set_limits(messages(10, Policy::Block));
        for number in 20..100_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.tick().unwrap(), 20);
        one.set_limits(messages(30, Policy::Block));
        assert_eq!(one.tick().unwrap(), 30);
        one.set_limits(InboxLimits::default());
        assert_eq!(one.tick().unwrap(), 100);
        assert_eq!(one.flush().unwrap(), 100);
        one.set_limits(messages(30, Policy::Block));
        for number in 0..40_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.tick().unwrap(), 30);
        one.retain(|message| message.decode::<u32>().unwrap() % 2 == 0);
        assert_eq!(one.tick().unwrap(), 25);
    });
}

#[test]
fn who_rejects_is_waited_for_by_nobody() {
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let mut one = Inbox::new(pid(1), Wired::new([(pid(2), to_two)]).unwrap()).unwrap();
        one.set_limits(messages(10, Policy::Reject));
        one.tick().unwrap();
        let mut two = Inbox::new(pid(2), Wired::new([(pid(1), to_one)]).unwrap()).unwrap();
        let is_full = |result: Result<(), SendError>| match result {
            Ok(()) => false,
            Err(SendError::Full { to }) => to == pid(1),
            Err(other) => panic!("{other}"),
        };
        // Not `try_send`: those that wait.
        let sent = (0_u32..).find(|number| is_full(two.send(pid(1), number)));
        let sent = sent.unwrap();
        for _ in 0..3 {
            assert!(is_full(two.send(pid(1), &sent)));
            assert!(is_full(two.send(pid(1), &Bytes(vec![0; 3 * PART]))));
            assert!(is_full(two.send_timeout(
                pid(1),
                &sent,
                Duration::from_secs(60)
            )));
        }
        for number in 0..sent {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        // With room again, nothing of what was refused is there.
        two.send(pid(1), &Bytes(vec![7; 3 * PART])).unwrap();
        assert_eq!(one.receive::<Bytes>().unwrap(), Bytes(vec![7; 3 * PART]));
        assert!(one.receive_any_timeout(NOW).unwrap().is_none());

        // And whoever no longer rejects is waited for again.
        one.set_limits(InboxLimits::default());
        thread::scope(|scope| {
            let handle = two.handle().unwrap();
            let long = Bytes(vec![0; 100 * PART]);
            let waits = scope.spawn(move || handle.send(pid(1), &long));
            assert_eq!(one.receive::<Bytes>().unwrap().len(), 100 * PART);
            waits.join().unwrap().unwrap();
        });
    });
}

#[test]
fn who_is_to_end_is_told_once_what_was_too_much() {
    within(LIMIT, || {
        let (mut one, ends) = connected(1, messages(10, Policy::End));
        for number in 0..10_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.receive_timeout::<u8>(NOW).unwrap(), None);
        put(&ends[0], &10_u32);
        match one.receive_timeout::<u8>(NOW) {
            Err(ReceiveError::OverLimit { messages, bytes }) => {
                assert_eq!((messages, bytes), (11, 11))
            }
            other => panic!("{other:?}"),
        }
        for number in 0..=10_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        assert_eq!(one.receive_timeout::<u8>(NOW).unwrap(), None);
    });
}

/// Notes what was too much.
struct Noting {
    wires: Wired,
    noted: Vec<(u64, u64)>,
}

impl Connector for Noting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wires.as_fd()
    }

    fn request(&mut self, peer: Pid, standing: Standing) -> Result<(), NotAsked> {
        self.wires.request(peer, standing)
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        self.wires.next(deadline)
    }

    fn over_limit(&mut self, messages: u64, bytes: u64) {
        self.noted.push((messages, bytes));
    }
}

/// It takes in what comes, and would do so without end.
#[test]
fn who_waits_for_room_is_told_what_was_too_much_at_once() {
    within(LIMIT, || {
        let (to_two, two) = Socket::pair().unwrap();
        let (to_three, _three) = Socket::pair().unwrap();
        let connector = Noting {
            wires: Wired::new([(pid(2), to_two), (pid(3), to_three)]).unwrap(),
            noted: Vec::new(),
        };
        let mut one = Inbox::new(pid(1), connector).unwrap();
        one.set_limits(messages(10, Policy::End));
        one.tick().unwrap();
        while one.try_send(pid(3), &()).is_ok() {}
        let wait = |one: &mut Inbox<Noting>| {
            let limit = Duration::from_millis(1);
            one.send_timeout(pid(3), &(), limit).unwrap_err();
        };
        for number in 0..10_u32 {
            put(&two, &number);
        }
        while one.len() < 10 {
            wait(&mut one);
        }
        assert_eq!(one.connector().noted, []);
        put(&two, &10_u32);
        while one.len() < 11 {
            wait(&mut one);
        }
        assert_eq!(one.connector().noted, [(11, 11)]);
        // Once, and the receive that comes next is the error that it would have been.
        wait(&mut one);
        let error = one.receive::<u32>().unwrap_err();
        assert!(matches!(error, ReceiveError::OverLimit { .. }), "{error}");
        assert_eq!(one.connector().noted, [(11, 11)]);
        for number in 0..=10_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
    });
}

/// All send, and receive only then; each inbox may hold just what it is sent.
fn ring(members: u64, each: u32, limits: InboxLimits, size: usize) {
    let board = Switchboard::new();
    let all_done = Barrier::new(members as usize);
    // All are there before the first sends.
    let lines: Vec<_> = (0..members).map(|me| board.line(me)).collect();
    thread::scope(|scope| {
        for (line, me) in lines.into_iter().zip(0..) {
            let all_done = &all_done;
            scope.spawn(move || {
                let mut inbox = Line::inbox(pid(me), line);
                inbox.set_limits(limits);
                for number in 0..each {
                    let message = (number, Bytes(vec![me as u8; size]));
                    inbox.send(pid((me + 1) % members), &message).unwrap();
                }
                for number in 0..each {
                    let (got, _): (u32, Bytes) = inbox.receive().unwrap();
                    assert_eq!(got, number);
                }
                all_done.wait();
            });
        }
    });
}

#[test]
fn those_who_send_to_each_other_within_their_limits_do_not_wait_for_ever() {
    within(LIMIT, || {
        // More than the sockets hold, by far.
        ring(2, 20_000, messages(20_000, Policy::Block), 100);
        ring(10, 400, bytes(41 << 20), 100_000);
    });
}

#[test]
fn who_waits_for_room_reads_past_the_limit_as_much_as_a_socket_holds() {
    within(LIMIT, || {
        // What the two sockets hold and a MiB: with a limit of one message it would not go otherwise.
        let (to_two, to_one) = Socket::pair().unwrap();
        let held = fill_count(&to_two);
        drop((to_two, to_one));
        ring(2, held + held / 4, messages(1, Policy::Block), 1000);
    });
}

/// How many such messages one socket holds.
fn fill_count(socket: &Socket) -> u32 {
    let mut count = 0;
    let packet = occ_sck::Packet::of(0, &(0_u32, Bytes(vec![0; 1000]))).unwrap();
    while packet.send_part(0, socket, &[], Deadline::Now).is_ok() {
        count += 1;
    }
    count
}

#[test]
fn a_ring_of_100_that_all_send_first_goes_round() {
    within(LIMIT * 2, || {
        ring(100, 1_000, messages(1_000, Policy::Block), 1_000)
    });
}

/// What a process sends to itself waits, too: it neither makes room nor needs none.
#[test]
fn what_one_sends_to_oneself_is_counted_once_when_it_comes_and_once_when_it_goes() {
    within(LIMIT, || {
        let (mut one, ends) = connected(1, messages(10, Policy::Block));
        for number in 0..100_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.tick().unwrap(), 10);
        for _ in 0..5 {
            for number in 0..10_u64 {
                one.send(pid(1), &number).unwrap();
                assert_eq!(one.receive::<u64>().unwrap(), number);
            }
            assert_eq!(one.tick().unwrap(), 10);
        }
        for number in 0..100_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        // And it takes room.
        for number in 0..10_u64 {
            one.send(pid(1), &number).unwrap();
        }
        for number in 0..100_u32 {
            put(&ends[0], &number);
        }
        assert_eq!(one.tick().unwrap(), 20);
    });
}

/// Messages from the system come whatever the limits are, and make no room when they are received.
#[test]
fn what_the_system_says_is_no_part_of_what_is_limited() {
    within(LIMIT, || {
        let (mut one, two) = crate::one_and_two();
        one.set_limits(messages(10, Policy::Block));
        for number in 0..100_u32 {
            put(&two, &number);
        }
        assert_eq!(one.tick().unwrap(), 10);
        for serial in 100..120 {
            let ended = Message::about_end(pid(serial), Ended(pid(serial)));
            one.connector().say(Event::Message(ended));
            assert_eq!(one.receive::<Ended>().unwrap(), Ended(pid(serial)));
        }
        assert_eq!(one.tick().unwrap(), 10);
        // Nor when they are counted anew.
        let ended = Message::about_end(pid(99), Ended(pid(99)));
        one.connector().say(Event::Message(ended));
        assert_eq!(one.tick().unwrap(), 11);
        one.retain(|_| true);
        assert_eq!(one.receive::<Ended>().unwrap(), Ended(pid(99)));
        assert_eq!(one.tick().unwrap(), 10);
        for number in 0..100_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
    });
}

/// Each time anew: what was read past the limit before has long been received.
#[test]
fn who_waits_for_room_again_and_again_reads_as_much_past_the_limit_each_time() {
    within(LIMIT, || {
        let (mut one, ends) = connected(2, messages(1, Policy::Block));
        let [two, _three] = ends.try_into().unwrap();
        let (socket, _other) = Socket::pair().unwrap();
        let some = fill_count(&socket) / 2;
        while one.try_send(pid(3), &()).is_ok() {}
        // Far more than a MiB in all.
        for _ in 0..5_000 / some {
            for number in 0..some {
                put(&two, &(number, Bytes(vec![0; 1000])));
            }
            while one.len() < some as usize {
                let limit = Duration::from_millis(1);
                one.send_timeout(pid(3), &(), limit).unwrap_err();
            }
            for number in 0..some {
                assert_eq!(one.receive::<(u32, Bytes)>().unwrap().0, number);
            }
        }
    });
}

/// So long that it is encoded once more when it is sent; and then it halts amid its parts.
#[derive(Default)]
struct Halts {
    encoded: AtomicU32,
    gates: Option<(Barrier, Barrier)>,
    len: usize,
}

impl Serialize for Halts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&Bytes(vec![1; 5 * PART]))?;
        if self.encoded.fetch_add(1, Ordering::Relaxed) == 1
            && let Some((amid, on)) = &self.gates
        {
            amid.wait();
            on.wait();
        }
        tuple.serialize_element(&Bytes(vec![2; 40 * PART]))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Halts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Halts, D::Error> {
        let (first, second) = <(Bytes, Bytes)>::deserialize(deserializer)?;
        let len = first.len() + second.len();
        Ok(Halts {
            len,
            ..Halts::default()
        })
    }
}

/// The owner of the inbox has something to say of its own on a connection on which a thread is amid a message.
#[test]
fn a_policy_that_is_told_amid_a_long_message_of_another_thread_does_not_break_it() {
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let mut one = Inbox::new(pid(1), Wired::new([(pid(2), to_two)]).unwrap()).unwrap();
        let mut two = Inbox::new(pid(2), Wired::new([(pid(1), to_one)]).unwrap()).unwrap();
        one.tick().unwrap();
        two.tick().unwrap();
        let handle = one.handle().unwrap();
        let halts = Halts {
            gates: Some((Barrier::new(2), Barrier::new(2))),
            ..Halts::default()
        };
        let (amid, on) = halts.gates.as_ref().unwrap();
        thread::scope(|scope| {
            let sending = scope.spawn(|| handle.send(pid(2), &halts));
            // Its first parts are on their way.
            amid.wait();
            one.set_limits(messages(1, Policy::Reject));
            on.wait();
            assert_eq!(two.receive::<Halts>().unwrap().len, 45 * PART);
            sending.join().unwrap().unwrap();
        });
        // It has been told since.
        let sent = (0_u32..).find(|number| two.send(pid(1), number).is_err());
        assert!(sent > Some(0));
    });
}

/// Sends on `socket` until nobody has read for a while, or so many times; how often it was.
fn flood(socket: &Socket, most: u32) -> u32 {
    let packet = occ_sck::Packet::of(0, &Bytes(vec![0; 1000])).unwrap();
    let sends = || {
        let limit = Deadline::after(Duration::from_millis(500));
        packet.send_part(0, socket, &[], limit).is_ok()
    };
    (0..most).take_while(|_| sends()).count() as u32
}

/// A thread that waits for room takes in what others send, and nobody receives it. The length of the inbox then.
fn flooded_while_a_thread_waits(limits: InboxLimits, most: u32) -> (u32, usize) {
    let (mut one, ends) = connected(2, limits);
    let [two, three] = ends.try_into().unwrap();
    let handle = one.handle().unwrap();
    thread::scope(|scope| {
        // Its owner looks at nothing meanwhile.
        let waits = scope.spawn(
            || {
                while handle.send(pid(3), &Bytes(vec![0; PART])).is_ok() {}
            },
        );
        let sent = flood(&two, most);
        let len = one.len();
        three.close();
        if limits.policy == Policy::End {
            let error = one.receive::<Bytes>().unwrap_err();
            assert!(matches!(error, ReceiveError::OverLimit { .. }), "{error}");
        }
        for _ in 0..sent {
            // It may be over the limits anew.
            while let Err(error) = one.receive::<Bytes>() {
                assert!(matches!(error, ReceiveError::OverLimit { .. }), "{error}");
            }
        }
        waits.join().unwrap();
        (sent, len)
    })
}

/// What is too much is only looked at by the thread that receives, which may be at something else.
#[test]
fn threads_that_wait_for_room_do_not_take_in_without_end_for_one_who_is_to_end() {
    const MOST: u32 = 20_000;
    within(LIMIT, || {
        let (sent, len) = flooded_while_a_thread_waits(messages(10, Policy::End), MOST);
        assert!(sent < MOST, "{len} of {sent} are in memory");
        // A MiB past the limit, as ever.
        assert!((10..2_000).contains(&len), "{len} of {sent} are in memory");
    });
}

/// The control: without a limit all of it is taken in.
#[test]
fn threads_that_wait_for_room_take_in_all_for_one_without_limits() {
    const MOST: u32 = 20_000;
    within(LIMIT, || {
        let (sent, _) = flooded_while_a_thread_waits(InboxLimits::default(), MOST);
        assert_eq!(sent, MOST);
    });
}

/// What came on the connections before still waits, and is the sender's as much as what comes on the next.
#[test]
fn who_connects_anew_has_no_more_room_than_before() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.set_limits(messages(8, Policy::Block));
        let three = one.connector().connect(3);
        let mut sent = 0..;
        let mut two = one.connector().connect(2);
        for _ in 0..5 {
            // More than is read of it, and what has been sent is received to the last when there is another.
            for number in sent.by_ref().take(8) {
                put(&two, &number);
            }
            one.tick().unwrap();
            let before = one.len();
            two = one.connector().connect(2);
            one.tick().unwrap();
            let after = one.len();
            put(&two, &sent.next().unwrap());
            one.tick().unwrap();
            assert_eq!(one.len(), after, "{before}");
        }
        let sent: u32 = sent.next().unwrap();
        put(&three, &'3');
        assert_eq!(one.receive::<char>().unwrap(), '3');
        for number in 0..sent {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        // And no less, afterwards.
        for number in 0..20_u32 {
            put(&two, &number);
            put(&three, &number);
        }
        one.tick().unwrap();
        let info = one.info().unwrap();
        let each: Vec<u64> = info.peers.iter().map(|peer| peer.messages).collect();
        assert_eq!(each.iter().sum::<u64>(), one.len() as u64);
        assert!(each.iter().all(|messages| *messages >= 4), "{each:?}");
    });
}

/// What was received of an old connection is not taken for something of the new one.
#[test]
fn what_is_received_of_an_old_connection_makes_no_room_on_the_new_one_beyond_its_share() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.set_limits(messages(8, Policy::Block));
        let _three = one.connector().connect(3);
        let two = one.connector().connect(2);
        for _ in 0..4 {
            put(&two, &'2');
        }
        assert_eq!(one.tick().unwrap(), 4);
        let two = one.connector().connect(2);
        for number in 0..100_u32 {
            put(&two, &number);
        }
        assert_eq!(one.tick().unwrap(), 8);
        // Now and then one of the old ones goes; as many come, and no more.
        for _ in 0..4 {
            assert_eq!(one.receive::<char>().unwrap(), '2');
        }
        assert_eq!(one.tick().unwrap(), 8);
        let own = |number: u64| Message::about_end(pid(number), Ended(pid(number)));
        one.connector().say(Event::Message(own(9)));
        assert_eq!(one.tick().unwrap(), 9);
        for number in 0..100 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
            assert!(one.len() <= 9, "{}", one.len());
        }
    });
}

/// Of each sender there may be one in any case, so a limit of none is one of one; also for who waits in an event loop.
#[test]
fn where_none_may_wait_one_of_each_sender_does() {
    within(LIMIT, || {
        for limits in [
            messages(0, Policy::Block),
            messages(1, Policy::Block),
            bytes(0),
            bytes(1),
            messages(0, Policy::Reject),
        ] {
            let (mut one, ends) = connected(2, limits);
            for number in 0..50_u32 {
                ends.iter().for_each(|end| put(end, &number));
            }
            let mut next = [0, 0];
            while next != [50, 50] {
                let readable = PollFlags::IN;
                poll(&mut [PollFd::new(&one, readable)], None).unwrap();
                let here = one.tick().unwrap();
                assert!((1..=2).contains(&here), "{here} with {limits:?}");
                for _ in 0..here {
                    let message = one.receive_any().unwrap();
                    let of = usize::try_from(message.from.serial).unwrap() - 2;
                    assert_eq!(message.decode::<u32>().unwrap(), next[of]);
                    next[of] += 1;
                }
            }
        }
        // Where that is the end, the first is too much.
        let (mut one, ends) = connected(1, messages(0, Policy::End));
        assert!(one.receive_any_timeout(NOW).unwrap().is_none());
        put(&ends[0], &1_u32);
        let error = one.receive::<u32>().unwrap_err();
        let first = ReceiveError::OverLimit {
            messages: 1,
            bytes: 1,
        };
        assert_eq!(error.to_string(), first.to_string());
    });
}

/// Epoll knows nothing of it then.
#[test]
fn who_waits_for_room_is_told_of_the_end_of_a_peer_that_is_not_read() {
    within(LIMIT, || {
        for (by_handle, len) in [(false, 10), (true, 10), (false, 9 * PART), (true, 9 * PART)] {
            let (mut one, mut ends) = connected(1, messages(1, Policy::Block));
            let two = ends.remove(0);
            let mut sent = fill_count(&two);
            while one.try_send(pid(2), &()).is_ok() {}
            // With what is sent then it is more than a MiB, so who waits for room does not read all of it either.
            while one.len() < sent as usize {
                let limit = Duration::from_millis(1);
                one.send_timeout(pid(2), &(), limit).unwrap_err();
            }
            sent += fill_count(&two);
            let long = Bytes(vec![0; len]);
            let handle = by_handle.then(|| one.handle().unwrap());
            let begun = Barrier::new(2);
            let error = thread::scope(|scope| {
                scope.spawn(|| {
                    begun.wait();
                    drop(two);
                });
                match handle {
                    Some(handle) => scope
                        .spawn(|| {
                            let handle = handle;
                            begun.wait();
                            handle.send(pid(2), &long)
                        })
                        .join()
                        .unwrap(),
                    None => {
                        begun.wait();
                        one.send(pid(2), &long)
                    }
                }
                .unwrap_err()
            });
            assert!(matches!(error, SendError::NoProcess { .. }), "{error}");
            // All that it had sent is there.
            for _ in 0..sent {
                let _: (u32, Bytes) = one.receive().unwrap();
            }
            assert!(one.receive_any_timeout(NOW).unwrap().is_none());
        }
    });
}
