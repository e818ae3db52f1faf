//! The kernel's word on who sent a datagram.

use std::os::fd::AsFd;

use occ_sck::{Channel, Credentials, Deadline, Envelope, Limits, MAX_DATAGRAM, Received, Socket};
use occ_test_support::isolated;

use crate::peer::{self, Part};

/// The next message on `socket`, and the process that sent it.
fn next(socket: &Socket) -> (Envelope, Option<u32>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut fds = Vec::new();
    let received = socket.receive(&mut buffer, &mut fds, Deadline::Never);
    let Ok(Received::Datagram { len, sender }) = received else {
        panic!("{received:?}");
    };
    let whole = occ_sck::Assembler::default().push(&buffer[..len], fds);
    (
        whole.unwrap().unwrap(),
        sender.map(|Credentials { os_pid }| os_pid),
    )
}

#[test]
fn nobody_is_named_unless_it_was_asked_for() {
    let (a, b) = Socket::pair().unwrap();
    crate::send_bytes(&a, b"x");
    let received = b.receive(&mut [0; 10], &mut Vec::new(), Deadline::Now);
    assert_eq!(
        received.unwrap(),
        Received::Datagram {
            len: 1,
            sender: None
        }
    );
}

#[test]
fn the_sender_is_named_and_not_who_made_the_pair() {
    isolated!(|| {
        // Made here, so that the kernel knows both ends as ours (SO_PEERCRED).
        let (ours, theirs) = Socket::pair().unwrap();
        ours.ask_credentials().unwrap();
        let ours_too = Socket::from(rustix::io::fcntl_dupfd_cloexec(&ours, 0).unwrap());
        let mine = Socket::from(rustix::io::fcntl_dupfd_cloexec(&theirs, 0).unwrap());
        let mut peer = peer::start_with(Part::Pid, ours, theirs);

        let (envelope, sender) = next(&ours_too);
        assert_eq!(envelope.decode::<u32>().unwrap(), peer.child.id());
        assert_eq!(sender, Some(peer.child.id()));

        // A second holder of the same end is told apart from the first.
        Channel::new(mine, Limits::default()).send(&0_u32).unwrap();
        assert_eq!(next(&ours_too).1, Some(std::process::id()));

        peer.channel.close();
        occ_test_support::dead::how(&mut peer.child, occ_test_support::LIMIT);
    });
}

#[test]
fn the_sender_through_a_socket_that_was_passed_on_is_named() {
    isolated!(|| {
        let (ours, passed) = Socket::pair().unwrap();
        ours.ask_credentials().unwrap();
        let mut peer = peer::start(Part::PidThroughPassed);
        peer.channel.send_with(&(), &[passed.as_fd()]).unwrap();
        drop(passed);
        let (envelope, sender) = next(&ours);
        assert_eq!(envelope.decode::<u32>().unwrap(), peer.child.id());
        assert_eq!(sender, Some(peer.child.id()));
        assert!(peer.ends().success());
        let end = ours.receive(&mut [0; 10], &mut Vec::new(), Deadline::Never);
        assert_eq!(end.unwrap(), Received::Closed);
    });
}

#[test]
fn descriptors_and_the_sender_arrive_together() {
    isolated!(|| {
        let (ours, theirs) = Socket::pair().unwrap();
        ours.ask_credentials().unwrap();
        let files = vec![rustix::stdio::stderr(); occ_sck::MAX_FDS];
        let mut theirs = Channel::new(theirs, Limits::default());
        theirs.send_with(&1_u8, &files).unwrap();
        let (envelope, sender) = next(&ours);
        assert_eq!(envelope.fds.len(), occ_sck::MAX_FDS);
        assert_eq!(sender, Some(std::process::id()));
    });
}
