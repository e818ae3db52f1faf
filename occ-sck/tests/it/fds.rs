//! File descriptors arrive or are an error, and each is closed once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_sck::{
    Bytes, Channel, ChannelError, Deadline, FrameError, MAX_FDS, PART, ReceiveError, SendError,
    Socket,
};
use occ_test_support::fds::{OpenFds, with_room_for};
use occ_test_support::isolated;
use rustix::io::FdFlags;

/// Pipes whose write ends go on a journey: the end of file comes when the last copy is closed.
pub(crate) struct Pipes {
    pub(crate) read: Vec<OwnedFd>,
    write: Vec<OwnedFd>,
}

pub(crate) fn pipes(number: usize) -> Pipes {
    let pipe = |_| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (read, write) = (0..number).map(pipe).unzip();
    Pipes { read, write }
}

impl Pipes {
    pub(crate) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.write.iter().map(AsFd::as_fd).collect()
    }

    /// All copies are closed: a read of a pipe that has a writer and no data would block for ever.
    pub(crate) fn all_closed(mut self) {
        self.write.clear();
        for read in &self.read {
            rustix::io::ioctl_fionbio(read, true).unwrap();
            assert_eq!(rustix::io::read(read, &mut [0; 1]), Ok(0), "still open");
        }
    }
}

#[test]
fn descriptors_arrive_open_in_order_and_close_on_exec() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        for number in [0, 1, 2, MAX_FDS] {
            let pipes = pipes(number);
            a.send_with(&number, &pipes.borrowed()).unwrap();
            let envelope = b.receive_any().unwrap().unwrap();
            assert_eq!(envelope.decode::<usize>().unwrap(), number);
            assert_eq!(envelope.fds.len(), number);
            for (at, fd) in envelope.fds.iter().enumerate() {
                let flags = rustix::io::fcntl_getfd(fd).unwrap();
                assert!(flags.contains(FdFlags::CLOEXEC));
                rustix::io::write(fd, &[at as u8]).unwrap();
                let mut byte = [0];
                rustix::io::read(&pipes.read[at], &mut byte).unwrap();
                assert_eq!(byte, [at as u8]);
            }
            drop(envelope);
            pipes.all_closed();
        }
    });
}

#[test]
fn descriptors_travel_with_a_long_value_too() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let pipes = pipes(MAX_FDS);
        let value = Bytes(vec![1; 3 * PART]);
        a.send_with(&value, &pipes.borrowed()).unwrap();
        let envelope = b.receive_any().unwrap().unwrap();
        assert_eq!(envelope.fds.len(), MAX_FDS);
        assert_eq!(envelope.decode::<Bytes>().unwrap(), value);
        drop(envelope);
        pipes.all_closed();
    });
}

#[test]
fn more_descriptors_than_the_kernel_takes_are_an_error_and_send_nothing() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let pipes = pipes(MAX_FDS + 1);
        let error = a.send_with(&1_u8, &pipes.borrowed()).unwrap_err();
        assert!(
            matches!(
                error,
                ChannelError::Send(SendError::TooManyFds { given: 254 })
            ),
            "{error:?}"
        );
        pipes.all_closed();
        a.send(&2_u8).unwrap();
        assert_eq!(b.receive().unwrap(), Some(2_u8));
    });
}

/// A long value that may not wait travels in a descriptor of its own, which counts.
#[test]
fn a_value_in_a_memory_file_leaves_room_for_one_descriptor_less() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        let mut b = Channel::new(b, occ_sck::Limits::default());
        let packet = occ_sck::Packet::of(0, &Bytes(vec![1; 2 * PART])).unwrap();
        let pipes = pipes(MAX_FDS);
        let error = packet.send_whole(&a, &pipes.borrowed(), Deadline::Now);
        assert!(
            matches!(error, Err(SendError::TooManyFds { given: 254 })),
            "{error:?}"
        );
        packet
            .send_whole(&a, &pipes.borrowed()[1..], Deadline::Now)
            .unwrap();
        let envelope = b.receive_any().unwrap().unwrap();
        assert_eq!(envelope.fds.len(), MAX_FDS - 1);
        for (at, fd) in envelope.fds.iter().enumerate() {
            rustix::io::write(fd, &[at as u8]).unwrap();
            let mut byte = [0];
            rustix::io::read(&pipes.read[at + 1], &mut byte).unwrap();
            assert_eq!(byte, [at as u8], "their order has changed");
        }
        assert_eq!(envelope.decode::<Bytes>().unwrap().len(), 2 * PART);
        drop(envelope);
        pipes.all_closed();
    });
}

#[test]
fn descriptors_are_closed_once_wherever_their_message_ends() {
    type End = fn(Channel);
    let ends: [(&str, End); 5] = [
        ("never received", drop),
        ("never received, and the connection closed", Channel::close),
        ("received, never decoded", |mut b| {
            drop(b.receive_any().unwrap());
        }),
        ("received as its type, without a wish for them", |mut b| {
            assert_eq!(b.receive().unwrap(), Some(7_u8));
        }),
        ("received as another type", |mut b| {
            b.receive::<String>().unwrap_err();
        }),
    ];
    isolated!(|| {
        for (how, end) in ends {
            let before = OpenFds::now();
            let (mut a, b) = Channel::pair().unwrap();
            let pipes = pipes(3);
            a.send_with(&7_u8, &pipes.borrowed()).unwrap();
            end(b);
            pipes.all_closed();
            drop(a);
            let changes = before.changes(&OpenFds::now());
            assert!(changes.is_empty(), "{how}: {changes:?}");
        }
    });
}

#[test]
fn descriptors_that_find_no_room_are_lost_and_the_next_message_is_fine() {
    isolated!(|| {
        for room in 0..5 {
            let (mut a, mut b) = Channel::pair().unwrap();
            let pipes = pipes(5);
            let before = OpenFds::now();
            a.send_with(&1_u8, &pipes.borrowed()).unwrap();
            a.send(&2_u8).unwrap();
            a.send_with(&3_u8, &pipes.borrowed()[..1]).unwrap();

            let error = with_room_for(room, || b.receive_any().unwrap_err());
            assert!(
                matches!(
                    error,
                    ChannelError::Receive(ReceiveError::Frame(FrameError::FdsLost))
                ),
                "{error:?}"
            );
            let changes = before.changes(&OpenFds::now());
            assert!(changes.is_empty(), "room for {room}: {changes:?}");

            // Without descriptors there is nothing to lose, and with room for them they arrive.
            let next = with_room_for(0, || b.receive::<u8>().unwrap());
            assert_eq!(next, Some(2));
            let third = b.receive_any().unwrap().unwrap();
            assert_eq!(third.decode::<u8>().unwrap(), 3);
            assert_eq!(third.fds.len(), 1);
            drop(third);
            pipes.all_closed();
        }
    });
}

/// One that lost its first part: the rest is of no message, and the connection ends there.
#[test]
fn a_long_value_whose_descriptors_are_lost_ends_the_connection() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let pipes = pipes(2);
        a.send_with(&Bytes(vec![1; 2 * PART]), &pipes.borrowed())
            .unwrap();
        let error = with_room_for(1, || b.receive_any().unwrap_err());
        assert_eq!(
            crate::words(&error),
            crate::words(&ReceiveError::from(FrameError::FdsLost))
        );
        let error = crate::words(&b.receive_any().unwrap_err());
        assert!(error.contains("expected part 0"), "{error}");
        assert!(b.receive_any().unwrap().is_none());
        assert!(a.send(&1_u8).is_err());
        pipes.all_closed();
    });
}

#[test]
fn a_pair_that_finds_no_room_is_an_error() {
    isolated!(|| {
        let errors = with_room_for(1, || (Socket::pair().err(), Channel::pair().err()));
        let expected = Some(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(errors.0.unwrap().raw_os_error(), expected);
        assert_eq!(errors.1.unwrap().raw_os_error(), expected);
    });
}

/// Whoever made a socket may have asked the kernel for a pidfd with each datagram (`SO_PASSPIDFD`, Linux 6.5).
#[test]
#[expect(unsafe_code, reason = "rustix has no such option")]
fn a_pidfd_that_comes_unasked_is_closed() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let on: libc::c_int = 1;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&b.as_fd());
        let (value, len) = (&raw const on, size_of_val(&on) as u32);
        // SAFETY: the value is an int that lives, of the length given.
        let done = unsafe {
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_PASSPIDFD, value.cast(), len)
        };
        if done != 0 {
            return;
        }
        let before = OpenFds::now();
        let pipes = pipes(1);
        a.send(&1_u8).unwrap();
        a.send_with(&2_u8, &pipes.borrowed()).unwrap();
        for (number, fds) in [(1_u8, 0), (2, 1)] {
            let envelope = b.receive_any().unwrap().unwrap();
            assert_eq!(envelope.decode::<u8>().unwrap(), number);
            assert_eq!(envelope.fds.len(), fds);
        }
        pipes.all_closed();
        let changes = before.changes(&OpenFds::now());
        assert!(changes.is_empty(), "{changes:?}");
    });
}

/// Who receives bytes alone needs no room for descriptors, and keeps none.
#[test]
fn who_receives_bytes_alone_is_told_of_them_and_of_the_end_and_gets_no_descriptor() {
    isolated!(|| {
        let (a, b) = Socket::pair().unwrap();
        let before = OpenFds::now();
        let pipes = pipes(3);
        let (mut buffer, slice) = ([0; 8], |bytes| [std::io::IoSlice::new(bytes)]);
        assert_eq!(
            b.receive_bytes(&mut buffer).unwrap(),
            occ_sck::Received::Nothing
        );
        a.send(&slice(b"with"), &pipes.borrowed(), Deadline::Now)
            .unwrap();
        a.send(&slice(b"too long for it"), &[], Deadline::Now)
            .unwrap();
        a.send(&slice(b"without!"), &[], Deadline::Now).unwrap();
        let datagram = |len| occ_sck::Received::Datagram { len, sender: None };
        assert_eq!(b.receive_bytes(&mut buffer).unwrap(), datagram(4));
        assert_eq!(&buffer[..4], b"with");
        pipes.all_closed();
        assert!(before.changes(&OpenFds::now()).is_empty());

        let error = b.receive_bytes(&mut buffer).unwrap_err();
        let too_long = matches!(
            error,
            ReceiveError::Frame(FrameError::Oversized { limit: 8 })
        );
        assert!(too_long, "{error:?}");
        assert_eq!(b.receive_bytes(&mut buffer).unwrap(), datagram(8));
        assert_eq!(&buffer, b"without!");

        rustix::net::send(&a, b"", rustix::net::SendFlags::empty()).unwrap();
        let error = b.receive_bytes(&mut buffer).unwrap_err();
        let empty = matches!(error, ReceiveError::Frame(FrameError::Short { len: 0, .. }));
        assert!(empty, "{error:?}");
        a.send(&slice(b"last"), &[], Deadline::Now).unwrap();
        a.close();
        assert_eq!(b.receive_bytes(&mut buffer).unwrap(), datagram(4));
        for _ in 0..2 {
            assert_eq!(
                b.receive_bytes(&mut buffer).unwrap(),
                occ_sck::Received::Closed
            );
        }
    });
}
