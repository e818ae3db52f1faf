//! Who ends a connection, and for whom.

use std::time::Duration;

use occ_sck::{Bytes, Channel, ChannelError, Limits, PART, SendError, Socket};
use occ_test_support::{LIMIT, within};
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::set_socket_send_buffer_size;

/// A second holder of the same end, as a fork or whoever it was sent to would be.
fn second(socket: &Socket) -> Channel {
    let again = Socket::from(rustix::io::fcntl_dupfd_cloexec(socket, 0).unwrap());
    Channel::new(again, Limits::default())
}

#[test]
fn detach_leaves_the_connection_to_a_second_holder() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let mut other = second(&a);
        let mut b = Channel::new(b, Limits::default());
        a.detach();
        let nothing = b.receive_timeout::<u8>(Duration::ZERO).unwrap_err();
        assert!(matches!(nothing, ChannelError::TimedOut), "{nothing:?}");
        other.send(&1_u8).unwrap();
        b.send(&2_u8).unwrap();
        assert_eq!(b.receive().unwrap(), Some(1_u8));
        assert_eq!(other.receive().unwrap(), Some(2_u8));

        other.detach();
        assert_eq!(b.receive::<u8>().unwrap(), None, "that was the last");
    });
}

#[test]
fn close_ends_the_connection_for_a_second_holder_too() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let mut other = second(&a);
        let mut b = Channel::new(b, Limits::default());
        other.send(&1_u8).unwrap();
        b.send(&2_u8).unwrap();
        a.close();

        // What was sent before arrives, on both sides; then both are told.
        assert_eq!(b.receive().unwrap(), Some(1_u8));
        assert_eq!(other.receive().unwrap(), Some(2_u8));
        for end in [&mut b, &mut other] {
            assert_eq!(end.receive::<u8>().unwrap(), None);
            let error = end.send(&3_u8).unwrap_err();
            assert!(
                matches!(error, ChannelError::Send(SendError::Closed)),
                "{error:?}"
            );
        }
    });
}

#[test]
fn closing_after_the_peer_is_no_error() {
    let (a, b) = Channel::pair().unwrap();
    a.close();
    b.close();
}

#[test]
fn a_channel_reads_no_further_than_the_value_it_gives() {
    within(LIMIT, || {
        let (mut a, mut b) = Channel::pair().unwrap();
        for number in 0..3_u8 {
            a.send(&number).unwrap();
        }
        assert_eq!(b.receive().unwrap(), Some(0_u8));
        let mut again = Channel::new(b.into_socket().unwrap(), Limits::default());
        assert_eq!(again.receive().unwrap(), Some(1_u8));
        again.send(&"back".to_string()).unwrap();
        assert_eq!(again.receive().unwrap(), Some(2_u8));
        assert_eq!(a.receive::<String>().unwrap().unwrap(), "back");
    });
}

/// What fails is not the peer but a system call of our own, after some parts have been sent.
#[test]
fn a_value_that_fails_half_way_ends_the_connection() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let also_a = rustix::io::fcntl_dupfd_cloexec(&a, 0).unwrap();
        let mut a = Channel::new(a, Limits::default());
        let mut b = Channel::new(b, Limits::default());
        // More than any buffer here holds.
        let long = Bytes(vec![1; 256 * PART]);
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                let error = a.send(&long).unwrap_err();
                (a, error)
            });
            // The first part is there, the last cannot be; and now the parts are too long (EMSGSIZE).
            rustix::event::poll(&mut [PollFd::new(&b, PollFlags::IN)], None).unwrap();
            set_socket_send_buffer_size(&also_a, 1).unwrap();
            assert_eq!(b.receive::<Bytes>().unwrap(), None);

            let (mut a, error) = sender.join().unwrap();
            assert!(
                matches!(
                    error,
                    ChannelError::Send(SendError::Io { op: "sendmsg", .. })
                ),
                "{error:?}"
            );
            let error = a.send(&1_u8).unwrap_err();
            assert!(matches!(error, ChannelError::Send(SendError::Closed)));
        });
    });
}
