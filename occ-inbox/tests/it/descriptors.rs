//! A process that has no file descriptor left: whatever is lost for it is told, and everything else goes on.

use std::fs::File;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use occ_inbox::{
    Bytes, Deadline, Event, Fd, Inbox, InboxLimits, ReceiveError, Refusal, SendError, Socket,
    Standing,
};
use occ_sck::{PART, Received};
use occ_test_support::{LIMIT, within};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::script::Script;
use crate::switchboard::{Ask, Line, Tell, next, say};
use crate::{FDS, announce_fds, assert_empty, drain, one_and_two, pid, put, put_whole};

const NOW: Duration = Duration::ZERO;

/// Every descriptor that the process may have.
struct Exhausted(Vec<File>);

impl Exhausted {
    fn now() -> Exhausted {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(limit.maximum.unwrap_or(200).min(200));
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut all = Vec::new();
        loop {
            match File::open("/dev/null") {
                Ok(file) => all.push(file),
                Err(error) => {
                    assert_eq!(Errno::from_io_error(&error), Some(Errno::MFILE));
                    return Exhausted(all);
                }
            }
        }
    }

    fn release(&mut self, number: usize) {
        self.0.truncate(self.0.len() - number);
    }
}

fn long() -> Bytes {
    Bytes(vec![7; 2 * PART])
}

#[track_caller]
fn too_many(result: Result<(), SendError>, peer: u64) {
    let Err(SendError::TooManyPeers { to }) = result else {
        panic!("expected too many peers, got {result:?}");
    };
    assert_eq!(to, pid(peer));
}

/// An inbox with a line that the test holds the other end of: what comes on it comes as a descriptor.
fn inbox(serial: u64) -> (Inbox<Line>, Socket) {
    let (ours, theirs) = Socket::pair().unwrap();
    (Line::inbox(pid(serial), theirs), ours)
}

/// An inbox that is at the other end of a connection.
fn at(end: Socket, serial: u64, peer: u64) -> Inbox<Script> {
    let mut inbox = Script::inbox(serial);
    let peer = pid(peer);
    inbox.connector().say(Event::Connected {
        peer,
        socket: end,
        tally: None,
    });
    inbox.attend(Deadline::Now).unwrap();
    inbox
}

#[test]
fn a_connection_without_room_is_refused_and_what_came_on_it_is_received() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, board) = inbox(1);
        let (end, other) = Socket::pair().unwrap();
        let mut two = at(other, 2, 1);
        two.send(pid(1), &1_u32).unwrap();
        two.send(pid(1), &2_u32).unwrap();
        say(&board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
        drop(end);
        let mut exhausted = Exhausted::now();

        assert_eq!(drain::<u32, _>(&mut one), [1, 2]);
        // The other is told why, and may try again.
        too_many(two.send(pid(1), &3_u32), 1);
        assert_eq!(two.connector().asked, []);
        let error = two.try_send(pid(1), &3_u32).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
        assert_eq!(two.connector().asked, [(pid(1), Standing::Missed)]);

        // With room again, the next connection is one.
        exhausted.release(4);
        let (end, other) = Socket::pair().unwrap();
        two.connector().say(Event::Connected {
            peer: pid(1),
            socket: other,
            tally: None,
        });
        say(&board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
        drop(end);
        two.attend(Deadline::Now).unwrap();
        two.send(pid(1), &4_u32).unwrap();
        assert_eq!(one.receive::<u32>().unwrap(), 4);
        one.send(pid(2), &5_u32).unwrap();
        assert_eq!(two.receive::<u32>().unwrap(), 5);
        assert_empty(&mut one);
    }));
}

/// Answers one request for a connection with 2 by this end of one.
fn answer(board: &Socket, end: &Socket) -> Standing {
    let asked = next(board, Deadline::after(LIMIT)).unwrap().unwrap();
    let Ask::Connect { to, standing } = asked.decode().unwrap() else {
        panic!("expected a request for a connection");
    };
    assert_eq!(to, pid(2));
    say(board, &Tell::Connected { peer: pid(2) }, &[end.as_fd()]);
    standing
}

#[test]
fn one_who_asks_for_a_connection_and_has_no_room_for_it_is_told() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, board) = inbox(1);
        let (end, other) = Socket::pair().unwrap();
        let mut two = at(other, 2, 1);
        let (full, exhausted) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let (board, end) = (&board, &end);
            let asked = scope.spawn(move || {
                exhausted.recv().unwrap();
                answer(board, end)
            });
            let all = Exhausted::now();
            full.send(()).unwrap();
            too_many(one.send(pid(2), &1_u8), 2);
            assert_eq!(asked.join().unwrap(), Standing::New);
            drop(all);
        });
        drop(end);
        too_many(two.send(pid(1), &1_u8), 1);

        let (end, other) = Socket::pair().unwrap();
        thread::scope(|scope| {
            let asked = scope.spawn(|| answer(&board, &end));
            one.send(pid(2), &2_u8).unwrap();
            assert_eq!(asked.join().unwrap(), Standing::Missed);
        });
        two.connector().say(Event::Connected {
            peer: pid(1),
            socket: other,
            tally: None,
        });
        assert_eq!(drain::<u8, _>(&mut two), [2]);
    }));
}

/// It cannot be kept for ever: somebody else in this process may take the last descriptor at the wrong moment.
#[test]
fn a_connection_that_is_lost_is_told_once() {
    let mut one = Script::inbox(1);
    let three = one.connector().connect(3);
    one.connector().say(Event::NoDescriptor { peer: None });
    put(&three, &1_u8);
    let error = one.receive_timeout::<u8>(NOW).unwrap_err();
    assert!(
        matches!(error, ReceiveError::NoDescriptor { from: None }),
        "{error:?}"
    );
    assert_eq!(one.receive::<u8>().unwrap(), 1);
    assert_empty(&mut one);

    // The answer to a request is lost like that: both calls say so.
    one.connector()
        .answer(|_, _| vec![Event::NoDescriptor { peer: None }]);
    too_many(one.send(pid(2), &1_u8), 2);
    let error = one.receive::<u8>().unwrap_err();
    assert!(
        matches!(error, ReceiveError::NoDescriptor { from: None }),
        "{error:?}"
    );
    one.connector().answer(|peer, _| {
        let why = Refusal::TooManyPeers;
        vec![Event::Refused { peer, why }]
    });
    too_many(one.send(pid(2), &1_u8), 2);
    assert_eq!(
        one.connector().asked,
        [(pid(2), Standing::New), (pid(2), Standing::Missed)]
    );
    assert_empty(&mut one);
}

#[test]
fn a_message_whose_descriptor_is_lost_is_told_once_in_its_place() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let three = one.connector().connect(3);
        put(&two, &1_u8);
        put_whole(&two, &long());
        put(&two, &2_u8);
        put(&three, &"not concerned".to_string());
        let exhausted = Exhausted::now();
        assert_eq!(one.receive::<u8>().unwrap(), 1);
        let error = one.receive::<u8>().unwrap_err();
        assert!(
            matches!(error, ReceiveError::NoDescriptor { from: Some(from) } if from == pid(2)),
            "{error:?}"
        );
        assert!(error.to_string().contains("<0.2>"), "{error}");
        assert_eq!(one.receive::<u8>().unwrap(), 2);
        assert_eq!(one.receive::<String>().unwrap(), "not concerned");
        assert_empty(&mut one);
        drop(exhausted);
        put_whole(&two, &long());
        assert_eq!(one.receive::<Bytes>().unwrap(), long());
    }));
}

/// The next number of 2; `None` for one that is lost.
fn next_number(one: &mut Inbox<Script>) -> Option<u32> {
    match one.receive::<u32>() {
        Ok(number) => Some(number),
        Err(ReceiveError::NoDescriptor { from }) => {
            assert_eq!(from, Some(pid(2)));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// What there is no room for is lost with its message, also where there is some; all else is received, and none is left open.
#[test]
fn a_message_for_some_of_whose_descriptors_there_is_no_room_is_lost_and_nothing_else_is() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        for limits in [u64::MAX, 1000] {
            let (mut one, two) = one_and_two();
            one.set_limits(InboxLimits {
                messages: limits,
                ..InboxLimits::default()
            });
            let file = File::open("/dev/null").unwrap();
            let before = occ_test_support::fds::OpenFds::now();
            announce_fds(&two);
            let mut exhausted = Exhausted::now();
            exhausted.release(5);
            for round in 0..10_u32 {
                for (number, fds) in (4 * round..).zip([0, 2, 20, 0]) {
                    let packet = occ_sck::Packet::of(0, &number).unwrap();
                    let fds = vec![file.as_fd(); fds];
                    packet.send_part(0, &two, &fds, Deadline::Now).unwrap();
                }
                // The second waits with its descriptors until it has been received, and then they are closed with it.
                for expected in [Some(0), Some(1), None, Some(3)] {
                    let number = next_number(&mut one);
                    assert_eq!(number, expected.map(|number: u32| 4 * round + number));
                }
                assert_empty(&mut one);
            }
            drop(exhausted);
            let changes = before.changes(&occ_test_support::fds::OpenFds::now());
            assert!(changes.is_empty(), "{changes:?}");
        }
    }));
}

/// A sender that waits for room takes in what comes, and what cannot be taken in is still told to the receiver.
#[test]
fn what_is_lost_while_a_send_waits_is_told_by_the_next_receive() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let three = one.connector().connect(3);
        one.attend(Deadline::Now).unwrap();
        while one.try_send(pid(2), &0_u8).is_ok() {}
        put_whole(&three, &long());
        one.connector().say(Event::NoDescriptor { peer: None });
        let exhausted = Exhausted::now();
        let limit = Duration::from_millis(10);
        let full = one.send_timeout(pid(2), &0_u8, limit);
        assert!(matches!(full, Err(SendError::Full { .. })), "{full:?}");
        let mut told = Vec::new();
        while let Err(error) = one.receive_timeout::<u8>(NOW) {
            let ReceiveError::NoDescriptor { from } = error else {
                panic!("{error:?}")
            };
            told.push(from);
        }
        told.sort_unstable();
        assert_eq!(told, [None, Some(pid(3))]);
        drop((two, exhausted));
    }));
}

/// Messages that wait in memory do not hold descriptors there.
#[test]
fn any_number_of_long_messages_can_wait() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let mut exhausted = Exhausted::now();
        exhausted.release(2);
        for number in 0..300_u32 {
            put_whole(&two, &(number, long()));
            assert!(one.receive_timeout::<u8>(NOW).unwrap().is_none());
        }
        assert_eq!(one.len(), 300);
        let all: Vec<(u32, Bytes)> = drain(&mut one);
        assert!(
            all.iter()
                .zip(0..)
                .all(|((number, bytes), at)| *number == at && *bytes == long())
        );
        assert_eq!(all.len(), 300);
    }));
}

/// A long message that may not wait needs a descriptor of its sender for a moment.
#[test]
fn a_long_message_that_may_not_wait_needs_a_descriptor_and_says_so() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let mut receiver = at(two, 2, 1);
        let exhausted = Exhausted::now();
        let error = one.try_send(pid(2), &long()).unwrap_err();
        let SendError::Io {
            op: "memfd_create",
            source,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(Errno::from_io_error(source), Some(Errno::MFILE));
        one.try_send(pid(2), &1_u8).unwrap();
        assert_eq!(drain::<u8, _>(&mut receiver), [1]);
        assert_empty(&mut receiver);
        // In parts it goes.
        one.send(pid(2), &long()).unwrap();
        assert_eq!(receiver.receive::<Bytes>().unwrap(), long());
        drop(exhausted);
    }));
}

/// They wait with their message, and no longer.
#[test]
fn descriptors_that_nobody_asked_for_are_closed_with_their_message() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let file = File::open("/dev/null").unwrap();
        let before = occ_test_support::fds::OpenFds::now();
        let short = occ_sck::Packet::of(0, &1_u8).unwrap();
        let long = occ_sck::Packet::of(0, &long()).unwrap();
        announce_fds(&two);
        for _ in 0..10 {
            short
                .send_part(0, &two, &[file.as_fd(); 20], Deadline::Now)
                .unwrap();
            long.send_whole(&two, &[file.as_fd(); 20], Deadline::Now)
                .unwrap();
        }
        assert!(one.receive_timeout::<String>(NOW).unwrap().is_none());
        assert_eq!(one.len(), 20);
        for _ in 0..10 {
            assert_eq!(one.receive::<u8>().unwrap(), 1);
        }
        // A memory file is read when it comes, and does not wait.
        let open = occ_test_support::fds::OpenFds::now().count();
        assert_eq!(open, before.count() + 200);
        assert_eq!(one.flush().unwrap(), 10);
        let changes = before.changes(&occ_test_support::fds::OpenFds::now());
        assert!(changes.is_empty(), "{changes:?}");
    }));
}

/// One by one each has a descriptor for as long as it is being read; in a batch all would have one at once.
#[test]
fn a_stream_of_long_messages_needs_no_more_descriptors_than_one_of_them() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        for shorts in [0_u32, 200] {
            let (mut one, two) = one_and_two();
            (0..shorts).for_each(|number| put(&two, &number));
            (0..20).for_each(|_| put_whole(&two, &long()));
            let mut exhausted = Exhausted::now();
            exhausted.release(3);
            for number in 0..shorts {
                assert_eq!(one.receive::<u32>().unwrap(), number);
            }
            for _ in 0..20 {
                assert_eq!(one.receive::<Bytes>().unwrap(), long());
            }
        }
    }));
}

/// A stream that is one already when the descriptors run out: what is lost is told, and it is less than a batch.
#[test]
fn of_a_stream_that_descriptors_run_out_for_no_more_than_a_batch_is_lost_and_told() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        (0..128_u32).for_each(|number| put(&two, &number));
        for number in 0..128_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        (0..20).for_each(|_| put_whole(&two, &long()));
        let mut exhausted = Exhausted::now();
        exhausted.release(3);
        let (mut came, mut lost) = (0, 0);
        while came + lost < 20 {
            match one.receive::<Bytes>() {
                Ok(bytes) => {
                    assert_eq!(bytes, long());
                    came += 1;
                }
                Err(ReceiveError::NoDescriptor { from }) => {
                    assert_eq!(from, Some(pid(2)));
                    lost += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(lost < 16, "{lost}");
    }));
}

/// The end of a pipe that is sent stays open for as long as anybody has it.
fn pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, writer.into())
}

fn is_closed_everywhere(mut reader: PipeReader) -> bool {
    reader.read(&mut [0]).unwrap() == 0
}

/// A peer that does not say that descriptors may come cannot fill our table, one by one or in a batch.
#[test]
fn descriptors_that_were_not_announced_are_closed_and_the_message_is_what_is_left() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        for shorts in [0_u32, 200] {
            let (mut one, two) = one_and_two();
            (0..shorts).for_each(|number| put(&two, &number));
            let before = occ_test_support::fds::OpenFds::now();
            let (reader, writer) = pipe();
            let short = occ_sck::Packet::of(0, &1_u8).unwrap();
            for _ in 0..20 {
                short
                    .send_part(0, &two, &[writer.as_fd(); 20], Deadline::Now)
                    .unwrap();
            }
            let (named, mut its) = pipe_in_a_value();
            its.send_part(0, &two, &[], Deadline::Now).unwrap();
            its.close_fds();
            drop(writer);
            for number in 0..shorts {
                assert_eq!(one.receive::<u32>().unwrap(), number);
            }
            for _ in 0..20 {
                assert_eq!(one.receive::<u8>().unwrap(), 1);
            }
            assert!(is_closed_everywhere(reader));
            let error = one.receive::<Fd<OwnedFd>>().unwrap_err();
            assert!(matches!(error, ReceiveError::Undecodable { .. }), "{error}");
            assert!(is_closed_everywhere(named));
            let changes = before.changes(&occ_test_support::fds::OpenFds::now());
            assert!(changes.is_empty(), "{changes:?}");

            // Once they are announced they come.
            let (reader, writer) = pipe();
            put(&two, &Fd(writer));
            let theirs = one.receive::<Fd<OwnedFd>>().unwrap();
            rustix::io::write(&*theirs, b"x").unwrap();
            drop(theirs);
            let mut text = String::new();
            (&reader).read_to_string(&mut text).unwrap();
            assert_eq!(text, "x");
        }
    }));
}

fn pipe_in_a_value() -> (PipeReader, occ_sck::Packet) {
    let (reader, writer) = pipe();
    (reader, occ_sck::Packet::of(0, &Fd(writer)).unwrap())
}

/// What a peer sees of it: the kinds of what has come, and how many descriptors came with each.
fn kinds(socket: &Socket) -> Vec<(u8, usize)> {
    let mut kinds = Vec::new();
    loop {
        let (mut room, mut fds) = (occ_sck::room(), Vec::new());
        match socket.receive(&mut room, &mut fds, Deadline::Now).unwrap() {
            Received::Datagram { .. } => kinds.push((room[0], fds.len())),
            Received::Nothing | Received::Closed => return kinds,
        }
    }
}

#[test]
fn that_descriptors_may_come_is_said_once_and_before_the_first() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        one.send(pid(2), &1_u8).unwrap();
        assert_eq!(kinds(&two), [(0, 0)]);
        let (_reader, writer) = pipe();
        let writer = Fd(writer);
        one.send(pid(2), &writer).unwrap();
        one.send(pid(2), &2_u8).unwrap();
        one.try_send(pid(2), &writer).unwrap();
        assert_eq!(kinds(&two), [(FDS, 0), (0, 1), (0, 0), (0, 1)]);

        // A long message that may not wait is one that has a descriptor.
        let three = one.connector().connect(3);
        one.attend(Deadline::Now).unwrap();
        one.try_send(pid(3), &long()).unwrap();
        one.try_send(pid(3), &long()).unwrap();
        assert_eq!(kinds(&three), [(FDS, 0), (0, 1), (0, 1)]);
    }));
}

/// The announcement and the message are two datagrams, and there may be room for the one alone.
#[test]
fn where_there_is_room_for_the_announcement_alone_nothing_else_is_sent() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let (reader, writer) = pipe();
        let writer = Fd(writer);
        while one.try_send(pid(2), &0_u8).is_ok() {}
        let full = one.try_send(pid(2), &writer);
        assert!(matches!(full, Err(SendError::Full { .. })), "{full:?}");
        // Room is made datagram by datagram.
        let mut sent = 0;
        let mut seen = Vec::new();
        while sent == 0 {
            let (mut room, mut fds) = (occ_sck::room(), Vec::new());
            two.receive(&mut room, &mut fds, Deadline::Now).unwrap();
            seen.push((room[0], fds.len()));
            sent += u32::from(one.try_send(pid(2), &writer).is_ok());
        }
        seen.extend(kinds(&two));
        seen.retain(|datagram| *datagram != (0, 0));
        assert_eq!(seen, [(FDS, 0), (0, 1)]);
        drop(writer);
        assert!(is_closed_everywhere(reader));
    }));
}

/// Who dies between the two leaves nothing but its end.
#[test]
fn who_announces_descriptors_and_sends_none_is_received_from_as_before() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let before = occ_test_support::fds::OpenFds::now();
        announce_fds(&two);
        for number in 0..200_u32 {
            put(&two, &number);
        }
        for number in 0..200 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        announce_fds(&two);
        two.close();
        assert_empty(&mut one);
        let changes = before.changes(&occ_test_support::fds::OpenFds::now());
        // Both ends of the connection are no more.
        assert!(changes.len() <= 2, "{changes:?}");
    }));
}

#[test]
fn on_a_new_connection_it_is_said_anew() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let (_reader, writer) = pipe();
        let writer = Fd(writer);
        one.send(pid(2), &writer).unwrap();
        assert_eq!(kinds(&two), [(FDS, 0), (0, 1)]);
        // The connector makes another in its place.
        let again = one.connector().connect(2);
        one.attend(Deadline::Now).unwrap();
        one.send(pid(2), &writer).unwrap();
        assert_eq!(kinds(&again), [(FDS, 0), (0, 1)]);
    }));
}
