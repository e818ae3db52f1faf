//! Descriptors in messages: each is closed once, whatever becomes of its message.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use occ_inbox::{Bytes, Deadline, Fd, Inbox, ReceiveError, SendError, Socket, Wired, receive};
use occ_sck::{PART, Packet, TypeKey, kind};
use occ_test_support::fds::OpenFds;
use occ_test_support::{LIMIT, within};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{announce_fds, one_and_two, pid, put};

const NOW: Duration = Duration::ZERO;

fn wired(me: u64, peer: u64, socket: Socket) -> Inbox<Wired> {
    Inbox::new(pid(me), Wired::new([(pid(peer), socket)]).unwrap()).unwrap()
}

fn two_wired() -> (Inbox<Wired>, Inbox<Wired>) {
    let (to_two, to_one) = Socket::pair().unwrap();
    (wired(1, 2, to_two), wired(2, 1, to_one))
}

fn pipe() -> (File, Fd<File>) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (File::from(read), Fd(File::from(write)))
}

/// What is read until nobody has the other end any more.
fn to_the_end(mut read: File) -> String {
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn as_before(before: &OpenFds) {
    let changes = before.changes(&OpenFds::now());
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_descriptor_in_a_message_arrives_by_every_way_and_nobody_keeps_another() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let handle = one.handle().unwrap();
        let limit = Duration::from_secs(5);
        // From one datagram to several, or a memory file.
        for len in [0, 100, 3 * PART] {
            for way in 0..5 {
                let (read, write) = pipe();
                let value = (write, Bytes(vec![7; len]), way);
                match way {
                    0 => one.send(pid(2), &value).unwrap(),
                    1 => one.send_timeout(pid(2), &value, limit).unwrap(),
                    2 => one.try_send(pid(2), &value).unwrap(),
                    3 => handle.send(pid(2), &value).unwrap(),
                    _ => two.send(pid(2), &value).unwrap(),
                }
                drop(value);
                let (write, bytes, came): (Fd<File>, Bytes, i32) = two.receive().unwrap();
                assert_eq!((bytes.len(), came), (len, way));
                write.into_inner().write_all(b"here").unwrap();
                assert_eq!(to_the_end(read), "here");
            }
        }
    }));
}

#[test]
fn the_descriptors_of_a_message_that_is_not_received_are_closed_with_it() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        for what in 0..6 {
            let (mut one, two) = one_and_two();
            let (read, write) = pipe();
            put(&two, &(write, what));
            match what {
                // In the kernel, and in memory.
                0 => drop(one),
                1 => {
                    one.tick().unwrap();
                    drop(one);
                }
                2 => assert_eq!(one.flush().unwrap(), 1),
                3 => drop(one.receive_any().unwrap()),
                4 => {
                    one.tick().unwrap();
                    one.retain(|_| false);
                }
                _ => {
                    let look = |(_, number): &(Fd<File>, i32)| *number == 1;
                    assert!(one.receive_where_timeout(NOW, look).unwrap().is_none());
                    drop(one);
                }
            }
            assert_eq!(to_the_end(read), "", "{what}");
        }
    }));
}

#[test]
fn the_descriptors_of_a_message_that_cannot_be_decoded_are_closed() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let (read, write) = pipe();
        // It names a descriptor that has not come, besides one that has.
        let key = TypeKey::of::<(Fd<File>, Fd<File>)>();
        let packet = Packet::raw(kind::USER, key, "two files", &[0, 1]);
        announce_fds(&two);
        packet
            .send_part(0, &two, &[write.as_fd()], Deadline::Now)
            .unwrap();
        drop(write);
        let error = one.receive::<(Fd<File>, Fd<File>)>().unwrap_err();
        assert!(matches!(error, ReceiveError::Undecodable { .. }), "{error}");
        assert_eq!(to_the_end(read), "");
    }));
}

#[test]
fn a_matcher_sees_a_descriptor_and_whoever_takes_the_message_has_it() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        for number in 0..3_u8 {
            let (read, write) = pipe();
            put(&two, &(write, number));
            let mut looks = 0;
            let none = one.receive_where_timeout(NOW, |(write, _): &(Fd<File>, u8)| {
                looks += 1;
                (&**write).write_all(b"looked; ").unwrap();
                false
            });
            assert!(none.unwrap().is_none());
            assert_eq!(looks, 1);
            let write = match number {
                0 => one.receive::<(Fd<File>, u8)>().unwrap().0,
                1 => receive! { one; (write, 1): (Fd<File>, u8) => write }.unwrap(),
                _ => {
                    one.receive_any()
                        .unwrap()
                        .into_value::<(Fd<File>, u8)>()
                        .unwrap()
                        .0
                }
            };
            write.into_inner().write_all(b"taken").unwrap();
            assert_eq!(to_the_end(read), "looked; taken");
        }
    }));
}

#[test]
fn as_many_as_the_kernel_takes_travel_and_one_more_is_an_error_that_says_so() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, mut two) = two_wired();
        let before = OpenFds::now();
        let file = File::open("/dev/null").unwrap();
        let many = |count: usize| -> Vec<Fd<OwnedFd>> {
            (0..count)
                .map(|_| Fd(file.as_fd().try_clone_to_owned().unwrap()))
                .collect()
        };
        one.send(pid(2), &many(253)).unwrap();
        assert_eq!(two.receive::<Vec<Fd>>().unwrap().len(), 253);
        let error = one.send(pid(2), &many(254)).unwrap_err();
        let SendError::Encode(error) = &error else {
            panic!("{error}")
        };
        let source = error.source.to_string();
        assert!(source.contains("254"), "{source}");
        assert!(error.type_name.contains("Fd"), "{}", error.type_name);
        one.send(pid(2), &1_u8).unwrap();
        assert_eq!(two.receive::<u8>().unwrap(), 1);
        drop(file);
        as_before(&before);
    }));
}

/// Of the room that a process has for descriptors, those that it has not asked for take half at the most.
#[test]
fn who_floods_another_with_descriptors_waits_and_that_one_goes_on() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        const COUNT: u32 = 400;
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(200);
        setrlimit(Resource::Nofile, limit).unwrap();
        let (to_two, to_one) = Socket::pair().unwrap();
        let (to_three, three) = Socket::pair().unwrap();
        let wires = [(pid(2), to_two), (pid(3), to_three)];
        let mut one = Inbox::new(pid(1), Wired::new(wires).unwrap()).unwrap();
        one.tick().unwrap();
        let before = OpenFds::now().count();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut two = wired(2, 1, to_one);
                for number in 0..COUNT {
                    let null = File::open("/dev/null").unwrap();
                    two.send(pid(1), &(number, Fd(null))).unwrap();
                }
            });
            while one.len() < 100 {
                one.tick().unwrap();
            }
            for number in 0..100_u32 {
                put(&three, &number);
                assert_eq!(one.receive::<u32>().unwrap(), number);
            }
            assert_eq!(one.len(), 100);
            // What is on its way is in the kernel; here are those 100, and what the sender has at hand.
            let open = OpenFds::now().count();
            assert!(open <= before + 110, "{open}, and before {before}");
            for number in 0..COUNT {
                let (came, _): (u32, Fd<File>) = one.receive().unwrap();
                assert_eq!(came, number);
            }
        });
        assert!(one.receive_any_timeout(NOW).unwrap().is_none());
    }));
}

/// Its first part is lost with the descriptor. The others still come, and belong to nothing.
#[test]
fn a_long_message_whose_descriptor_is_lost_takes_none_of_the_others_with_it() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(200);
        setrlimit(Resource::Nofile, limit).unwrap();
        let null = File::open("/dev/null").unwrap();
        let value = (Fd(null), Bytes(vec![7; 3 * PART]));
        let packet = Packet::of(kind::USER, &value).unwrap();
        let put_long = || {
            for part in 0..packet.parts() {
                packet.send_part(part, &two, &[], Deadline::Now).unwrap();
            }
        };
        put(&two, &1_u32);
        announce_fds(&two);
        put_long();
        put(&two, &2_u32);
        let mut exhausted = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            exhausted.push(file);
        }
        assert_eq!(one.receive::<u32>().unwrap(), 1);
        let error = one.receive::<u32>().unwrap_err();
        let lost =
            matches!(error, ReceiveError::NoDescriptor { from: Some(from) } if from == pid(2));
        assert!(lost, "{error}");
        assert_eq!(one.receive::<u32>().unwrap(), 2);

        drop(exhausted);
        put_long();
        let (_, bytes): (Fd<File>, Bytes) = one.receive().unwrap();
        assert_eq!(bytes.len(), 3 * PART);
    }));
}

/// A part that belongs to nothing is what no inbox sends, if nothing was lost just before.
#[test]
fn a_part_of_nothing_breaks_a_connection_on_which_something_was_lost_long_before() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(200);
        setrlimit(Resource::Nofile, limit).unwrap();
        put(&two, &Fd(File::open("/dev/null").unwrap()));
        put(&two, &1_u32);
        let packet = Packet::of(kind::USER, &Bytes(vec![7; 3 * PART])).unwrap();
        packet.send_part(1, &two, &[], Deadline::Now).unwrap();
        let mut exhausted = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            exhausted.push(file);
        }
        let error = one.receive::<u32>().unwrap_err();
        assert!(
            matches!(error, ReceiveError::NoDescriptor { .. }),
            "{error}"
        );
        assert_eq!(one.receive::<u32>().unwrap(), 1);
        let error = one.receive::<u32>().unwrap_err();
        assert!(matches!(error, ReceiveError::Broken { .. }), "{error}");
    }));
}

/// Half of the room may wait; what is looked at is closed again before the next is.
#[test]
fn as_many_descriptors_as_may_wait_can_be_looked_at_and_none_is_lost() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        const COUNT: u32 = 99;
        let (mut one, two) = one_and_two();
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(200);
        setrlimit(Resource::Nofile, limit).unwrap();
        let null = File::open("/dev/null").unwrap();
        for number in 0..COUNT {
            let null = Fd(null.as_fd().try_clone_to_owned().unwrap());
            put(&two, &(null, number));
            one.tick().unwrap();
        }
        let before = OpenFds::now();
        for _ in 0..2 {
            let none = one.receive_where_timeout(NOW, |_: &(Fd, u32)| false);
            assert!(none.unwrap().is_none());
            let none = receive! { one;
                (_, number): (Fd, u32) if number == COUNT => Some(number),
                (_, number): (Fd, u32) if number > COUNT => Some(number),
                after NOW => None,
            };
            assert_eq!(none.unwrap(), None);
            as_before(&before);
        }
        let last = one.receive_where(|(_, number): &(Fd, u32)| *number == COUNT - 1);
        assert_eq!(last.unwrap().1, COUNT - 1);
        for number in 0..COUNT - 1 {
            assert_eq!(one.receive::<(Fd, u32)>().unwrap().1, number);
        }
    }));
}
