//! Limits are kept: never early, and late only by what a busy machine costs.

use std::time::{Duration, Instant};

use occ_sck::{
    Bytes, Channel, ChannelError, Deadline, Limits, MAX_DATAGRAM, PART, Packet, Received,
    SendError, Socket,
};
use occ_test_support::{LIMIT, takes, within};

/// Long enough for ten times as much to be late for on a machine with much else to do.
const SHORT: Duration = Duration::from_millis(250);

#[test]
fn a_sender_to_a_full_peer_is_told_so_in_time_and_never_early() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let sent = crate::fill(&a, 100);
        assert!(
            sent > 278,
            "the default buffer holds as many of the smallest"
        );

        let packet = Packet::of(0, &Bytes(vec![1; 100])).unwrap();
        let error = takes(SHORT, || {
            packet.send_part(0, &a, &[], Deadline::after(SHORT))
        });
        assert!(matches!(error, Err(SendError::Full)), "{error:?}");
        let error = packet.send_part(0, &a, &[], Deadline::after(Duration::ZERO));
        assert!(matches!(error, Err(SendError::Full)), "{error:?}");

        // All of what was accepted is there, and nothing of what was refused.
        let mut buffer = [0; 1000];
        let mut next = || b.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
        for _ in 0..sent {
            assert!(matches!(next().unwrap(), Received::Datagram { .. }));
        }
        assert_eq!(next().unwrap(), Received::Nothing);
    });
}

#[test]
fn a_sender_goes_on_when_the_peer_makes_room() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let sent = crate::fill(&a, 1000);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let packet = Packet::of(0, &Bytes(vec![1; 1000])).unwrap();
                packet.send_part(0, &a, &[], Deadline::after(LIMIT))
            });
            let mut buffer = [0; 2000];
            for _ in 0..=sent {
                b.receive(&mut buffer, &mut Vec::new(), Deadline::Never)
                    .unwrap();
            }
            sender.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_receiver_of_nothing_is_told_so_in_time_and_never_early() {
    let (a, b) = Socket::pair().unwrap();
    let mut buffer = [0; 10];
    let mut receive = |deadline| b.receive(&mut buffer, &mut Vec::new(), deadline).unwrap();
    assert_eq!(receive(Deadline::Now), Received::Nothing);
    assert_eq!(
        takes(SHORT, || receive(Deadline::after(SHORT))),
        Received::Nothing
    );
    let past = Deadline::At(Instant::now());
    assert_eq!(receive(past), Received::Nothing);
    // What is there is received however late it is.
    crate::send_bytes(&a, b"late");
    assert!(matches!(receive(past), Received::Datagram { len: 4, .. }));

    let mut b = Channel::new(b, Limits::default());
    let error = takes(SHORT, || b.receive_timeout::<u8>(SHORT)).unwrap_err();
    assert!(matches!(error, ChannelError::TimedOut), "{error:?}");
    drop(a);
    assert_eq!(b.receive_timeout::<u8>(SHORT).unwrap(), None);
}

#[test]
fn zero_takes_what_is_there_already() {
    let (mut a, mut b) = Channel::pair().unwrap();
    let error = b.receive_timeout::<Bytes>(Duration::ZERO).unwrap_err();
    assert!(matches!(error, ChannelError::TimedOut), "{error:?}");
    let value = Bytes(vec![3; 3 * PART]);
    a.send(&value).unwrap();
    assert_eq!(b.receive_timeout(Duration::ZERO).unwrap(), Some(value));
}

/// A limit that has passed after the first part: what had been read of the value stays.
#[test]
fn parts_that_keep_coming_do_not_stretch_a_limit() {
    let (a, b) = Socket::pair().unwrap();
    let also_b = Socket::from(rustix::io::fcntl_dupfd_cloexec(&b, 0).unwrap());
    let mut b = Channel::new(b, Limits::default());
    let value = Bytes(vec![3; 4 * PART]);
    let packet = Packet::of(0, &value).unwrap();
    assert_eq!(packet.parts(), 5);
    for part in 0..packet.parts() {
        packet.send_part(part, &a, &[], Deadline::Now).unwrap();
    }
    let error = b.receive_timeout::<Bytes>(Duration::from_nanos(1));
    assert!(matches!(error, Err(ChannelError::TimedOut)), "{error:?}");
    assert_eq!(b.receive_timeout(Duration::ZERO).unwrap(), Some(value));
    let mut buffer = vec![0; MAX_DATAGRAM];
    let rest = also_b.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
    assert_eq!(rest.unwrap(), Received::Nothing);
}

#[test]
fn a_long_value_that_found_no_room_in_time_leaves_nothing_half_sent() {
    within(LIMIT, || {
        let (a, b) = Socket::pair().unwrap();
        let sent = crate::fill(&a, 1000);
        let mut a = Channel::new(a, Limits::default());
        let mut b = Channel::new(b, Limits::default());
        let long = Bytes(vec![5; 4 << 20]);

        let error = takes(SHORT, || a.send_timeout(&long, SHORT)).unwrap_err();
        assert!(
            matches!(error, ChannelError::Send(SendError::Full)),
            "{error:?}"
        );

        for _ in 0..sent {
            let small: Bytes = b.receive_timeout(Duration::ZERO).unwrap().unwrap();
            assert_eq!(small.len(), 1000);
        }
        let rest = b.receive_timeout::<Bytes>(Duration::ZERO).unwrap_err();
        assert!(matches!(rest, ChannelError::TimedOut), "{rest:?}");

        // The same value again, with room: one datagram, so that it needs no reader.
        a.send_timeout(&long, Duration::ZERO).unwrap();
        a.send(&"after it".to_string()).unwrap();
        assert!(b.receive::<Bytes>().unwrap() == Some(long));
        assert_eq!(b.receive::<String>().unwrap().unwrap(), "after it");
    });
}

#[test]
fn a_limit_too_long_for_the_clock_is_none() {
    assert_eq!(Deadline::after(Duration::MAX), Deadline::Never);
    assert_eq!(Deadline::after(Duration::ZERO), Deadline::Now);
    assert_eq!(Deadline::from(None), Deadline::Never);
    assert_eq!(Deadline::Never.left(), None);
    assert!(Deadline::Never.timespec().is_none());
    assert!(Deadline::Now.passed());

    // A century fits the clock, and poll(2) must take it.
    let century = Duration::from_secs(100 * 365 * 86_400);
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&1_u8).unwrap();
    assert_eq!(b.receive_timeout(century).unwrap(), Some(1_u8));
    drop(a);
    assert_eq!(b.receive_timeout::<u8>(century).unwrap(), None);
}
