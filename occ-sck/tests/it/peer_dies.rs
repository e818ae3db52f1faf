//! The peer ends, or is killed, at whatever moment: what it had sent arrives, whole; then the end does.

use std::os::fd::AsFd;
use std::time::Duration;

use occ_sck::{Bytes, Channel, Deadline, Limits, Packet, Received, SendError, Socket, kind};
use occ_test_support::{LIMIT, isolated, stress, within};

use crate::peer::{self, Part};

#[test]
fn all_that_a_peer_sent_arrives_before_its_end() {
    within(LIMIT, || {
        let (mut a, mut b) = Channel::pair().unwrap();
        for number in 0..100_u32 {
            a.send(&number).unwrap();
        }
        drop(a);
        for number in 0..100_u32 {
            assert_eq!(b.receive().unwrap(), Some(number));
        }
        for _ in 0..3 {
            assert_eq!(b.receive::<u32>().unwrap(), None);
            assert_eq!(b.receive_timeout::<u32>(Duration::ZERO).unwrap(), None);
        }
    });
}

/// The kernel reports ECONNRESET before it gives what is queued.
#[test]
fn all_that_a_peer_sent_arrives_though_it_left_ours_unread() {
    within(LIMIT, || {
        for deadline in [Deadline::Now, Deadline::after(LIMIT), Deadline::Never] {
            let (a, b) = Socket::pair().unwrap();
            crate::send_bytes(&a, b"never read");
            crate::send_bytes(&b, b"last words");
            drop(b);
            let mut buffer = [0; 100];
            let mut next = || a.receive(&mut buffer, &mut Vec::new(), deadline).unwrap();
            let sender = None;
            assert_eq!(next(), Received::Datagram { len: 10, sender });
            assert_eq!(next(), Received::Closed);
            assert_eq!(next(), Received::Closed);
        }
    });
}

#[test]
fn all_that_a_killed_process_sent_arrives_though_it_left_ours_unread() {
    isolated!(|| {
        let mut peer = peer::start(Part::NeverReads);
        peer.channel.send(&"never read".to_string()).unwrap();
        peer.ready.wait(LIMIT);
        peer.killed();
        for number in 0..3_u32 {
            assert_eq!(peer.channel.receive().unwrap(), Some(number));
        }
        assert_eq!(peer.channel.receive::<u32>().unwrap(), None);
    });
}

/// SK-9, SK-10: sending to a peer that has gone is an error, each time, and no signal.
#[test]
fn sending_to_a_peer_that_has_gone_is_closed_each_time() {
    within(LIMIT, || {
        let (mut a, b) = Channel::pair().unwrap();
        drop(b);
        for _ in 0..3 {
            let error = a.send(&1_u8).unwrap_err();
            assert_eq!(error.to_string(), SendError::Closed.to_string());
            let error = a.send_timeout(&1_u8, LIMIT).unwrap_err();
            assert_eq!(error.to_string(), SendError::Closed.to_string());
        }
        assert_eq!(a.receive::<u8>().unwrap(), None);
    });
}

#[test]
fn a_sender_that_waits_for_room_is_told_when_the_peer_goes() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        crate::fill(&a, 1000);
        let mut a = Channel::new(a, Limits::default());
        let (waits, waiting) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                waits.send(()).unwrap();
                let error = a.send(&Bytes(vec![1; 1000])).unwrap_err();
                assert_eq!(error.to_string(), SendError::Closed.to_string());
            });
            waiting.recv().unwrap();
            drop(b);
        });
    });
}

/// SK-15, SK-16, and one that is not killed.
#[test]
fn a_killed_process_is_told_as_the_end_and_a_living_one_is_not() {
    isolated!(|| {
        let mut victim = peer::start(Part::Pid);
        let mut control = peer::start(Part::Pid);
        for peer in [&mut victim, &mut control] {
            let pid = peer.child.id();
            assert_eq!(peer.channel.receive().unwrap(), Some(pid));
        }
        victim.killed();
        assert_eq!(victim.channel.receive::<u32>().unwrap(), None);

        control.channel.send(&()).unwrap();
        let pid = control.child.id();
        assert_eq!(control.channel.receive().unwrap(), Some(pid));
        control.channel.close();
        assert!(occ_test_support::dead::how(&mut control.child, LIMIT).success());
    });
}

/// SK-18, SK-20: half a message, then SIGKILL.
#[test]
fn half_a_message_of_a_killed_process_is_no_message() {
    isolated!(|| {
        let mut victim = peer::start(Part::Half);
        let mut control = peer::start(Part::Half);
        for peer in [&mut victim, &mut control] {
            peer.ready.wait(LIMIT);
            let early = peer.channel.receive_timeout::<Bytes>(Duration::ZERO);
            assert_eq!(early.unwrap_err().to_string(), "nothing arrived in time");
        }

        victim.killed();
        assert_eq!(victim.channel.receive::<Bytes>().unwrap(), None);

        // The same half, and a sender that lives.
        control.channel.send(&()).unwrap();
        let whole: Bytes = control.channel.receive().unwrap().unwrap();
        assert!(whole == peer::long());
        assert!(control.ends().success());
        assert_eq!(control.channel.receive::<Bytes>().unwrap(), None);
    });
}

/// SK-19, SK-21: we have sent half when the receiver is killed.
#[test]
fn the_second_half_to_a_killed_process_is_closed() {
    isolated!(|| {
        let (ours, theirs) = Socket::pair().unwrap();
        let packet = Packet::of(kind::USER, &peer::long()).unwrap();
        let half = Socket::from(rustix::io::fcntl_dupfd_cloexec(&ours, 0).unwrap());
        let mut peer = peer::start_with(Part::NeverReads, ours, theirs);
        peer.ready.wait(LIMIT);
        for part in [0, 1] {
            packet
                .send_part(part, &half, &[], Deadline::after(LIMIT))
                .unwrap();
        }
        peer.killed();
        for part in [2, 3] {
            let error = packet.send_part(part, &half, &[], Deadline::after(LIMIT));
            assert!(matches!(error, Err(SendError::Closed)), "{error:?}");
        }
        assert!(peer.channel.send(&peer::long()).is_err());
    });
}

#[test]
fn a_sender_killed_at_any_moment_leaves_whole_messages_and_the_end() {
    isolated!(|| {
        within(LIMIT * stress::times(1) as u32, || {
            for round in 0..stress::times(20) {
                let mut peer = peer::start(Part::Stream);
                let mut number = 0;
                while let Some(message) = peer.channel.receive::<(u32, Bytes)>().unwrap() {
                    assert!(
                        message == peer::numbered(number),
                        "message {number} is torn"
                    );
                    number += 1;
                    if number == 1 + round as u32 % 7 {
                        peer.child.kill().unwrap();
                    }
                }
                assert!(number > round as u32 % 7, "round {round}: it ended early");
                peer.ends();
            }
        });
    });
}

#[test]
fn what_a_dead_peer_began_is_dropped_with_its_descriptors() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        let mut b = Channel::new(b, Limits::default());
        let (read, write) = rustix::pipe::pipe().unwrap();
        let packet = Packet::of(kind::USER, &peer::long()).unwrap();
        packet
            .send_part(0, &a, &[write.as_fd()], Deadline::Now)
            .unwrap();
        drop(write);
        drop(a);
        assert_eq!(b.receive::<Bytes>().unwrap(), None);
        // The channel lives, the descriptor that came with the half does not.
        rustix::io::ioctl_fionbio(&read, true).unwrap();
        assert_eq!(rustix::io::read(&read, &mut [0; 1]), Ok(0));
        drop(b);
    });
}
