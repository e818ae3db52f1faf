//! What is wrong on a stream is told to both sides, ends the connection, and nothing else: the next one works.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use occ_sck::{
    Bytes, Channel, ChannelError, FrameError, HEADER, Limits, Listener, MAX_DATAGRAM, Packet,
    ReceiveError, kind,
};
use occ_test_support::fds::OpenFds;
use occ_test_support::fds::with_room_for;
use occ_test_support::{LIMIT, isolated, within};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::carriers::{KINDS, Kind, Place, is_closed, wait_until_gone};
use crate::cutting::{framed, stream_of};

/// Bytes as they are, past all framing.
fn send_raw(channel: &Channel, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(10))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let sent = rustix::net::sendmsg(
        channel,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
    assert_eq!(sent, Ok(bytes.len()));
}

fn is_frame_error(result: Result<Option<Bytes>, ChannelError>, expected: &FrameError) -> bool {
    match result {
        Err(ChannelError::Receive(ReceiveError::Frame(error))) => error == *expected,
        _ => false,
    }
}

/// How many there are; which, is looked at once the test is over.
fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    /// So many descriptors come with them.
    fds: usize,
    expected: FrameError,
}

fn cases() -> Vec<Case> {
    let case = |what, bytes, fds, expected| Case {
        what,
        bytes,
        fds,
        expected,
    };
    let head =
        |len: usize, fds: u16| [&(len as u32).to_le_bytes()[..], &fds.to_le_bytes()].concat();
    let good = stream_of(&Bytes(vec![1; 100]), 1);
    let mut flags = good.clone();
    flags[7] = 0xf0;
    let mut total = good.clone();
    total[22] ^= 1;
    let mut name = good.clone();
    name[8..10].copy_from_slice(&2000_u16.to_le_bytes());
    let (limit, expected) = (MAX_DATAGRAM, HEADER);
    let count = |announced, found| FrameError::FdCount { announced, found };
    let payload = good.len() - 6 - HEADER - std::any::type_name::<Bytes>().len();
    vec![
        case(
            "letters",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            0,
            FrameError::TooLong {
                len: 0x2054_4547,
                limit,
            },
        ),
        case(
            "a length over the limit",
            head(limit + 1, 0),
            0,
            FrameError::TooLong {
                len: limit + 1,
                limit,
            },
        ),
        case(
            "a length of nothing",
            head(0, 0),
            0,
            FrameError::Short { len: 0, expected },
        ),
        case(
            "a length below a header's",
            framed(&[0; HEADER - 1], 0),
            0,
            FrameError::Short {
                len: HEADER - 1,
                expected,
            },
        ),
        case(
            "flags that mean nothing",
            flags,
            0,
            FrameError::Flags { flags: 0xf0 },
        ),
        case(
            "a total that is not the length",
            total,
            0,
            FrameError::Parts {
                part: 0,
                parts: 1,
                len: payload,
                total: payload as u64 ^ 1,
            },
        ),
        case(
            "a name that is too long",
            name,
            0,
            FrameError::Name { len: 2000 },
        ),
        case(
            "descriptors that did not come",
            head(HEADER, 3),
            0,
            count(3, 0),
        ),
        case(
            "fewer descriptors than announced",
            head(HEADER, 2),
            1,
            count(2, 1),
        ),
        case(
            "more descriptors than announced",
            head(HEADER, 1),
            2,
            count(1, 2),
        ),
    ]
}

/// SK-11 to SK-14, from each side, each over a new connection with the same listener.
#[test]
fn each_malformed_frame_is_told_as_what_it_is_and_ends_the_connection_for_both() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in [Kind::UnixPath, Kind::UnixAbstract, Kind::Tcp4, Kind::Tcp6] {
                let Some(place) = Place::new(kind) else {
                    continue;
                };
                let listener = Listener::bind(&place.address).unwrap();
                for case in cases() {
                    if case.fds > 0 && kind.is_tcp() {
                        continue;
                    }
                    for from_client in [true, false] {
                        let before = open_fds();
                        let client = Channel::connect(listener.address()).unwrap();
                        let server = listener.accept().unwrap().unwrap();
                        let (mut from, mut to) = match from_client {
                            true => (client, server),
                            false => (server, client),
                        };
                        let at = format!("{kind}: {}", case.what);
                        from.send(&Bytes(vec![1])).unwrap();
                        let open = open_fds();
                        send_raw(&from, &case.bytes, &vec![from.as_fd(); case.fds]);
                        // What came before is received.
                        assert!(to.receive::<Bytes>().unwrap().is_some(), "{at}");
                        let error = to.receive::<Bytes>();
                        let told = format!("{at}: {error:?}");
                        assert!(is_frame_error(error, &case.expected), "{told}");
                        assert_eq!(open_fds(), open, "{at}: what came is closed");
                        assert_eq!(to.receive::<Bytes>().unwrap(), None, "{at}");
                        wait_until_gone(&from);
                        assert_eq!(from.receive::<Bytes>().unwrap(), None, "{at}");
                        assert!(is_closed(&from.send(&1_u8)), "{at}");
                        assert!(is_closed(&to.send(&1_u8)), "{at}");
                        drop((from, to));
                        assert_eq!(open_fds(), before, "{at}");
                    }
                }
            }
        });
    });
}

/// SK-13, SK-14: well framed, and no value of its type. It is consumed, and the connection goes on.
#[test]
fn a_frame_that_is_no_value_is_an_error_and_the_next_is_fine() {
    isolated!(|| {
        within(LIMIT, || {
            crate::carriers::over_each_way(|kind, a, mut b| {
                if kind.starts_with("pair") || kind.starts_with("Seqpacket") {
                    return;
                }
                let mut a = a;
                let name = std::any::type_name::<String>();
                let key = occ_sck::TypeKey::by_name::<String>();
                let packet = Packet::raw(kind::USER, key, name, b"\x09not nine");
                for datagram in crate::datagrams(&packet) {
                    send_raw(&a, &framed(&datagram, 0), &[]);
                }
                let error = b.receive::<String>().unwrap_err();
                assert!(
                    matches!(error, ChannelError::Decode(_)),
                    "{kind}: {error:?}"
                );
                a.send(&"a text".to_string()).unwrap();
                assert_eq!(b.receive().unwrap(), Some("a text".to_string()), "{kind}");
            });
        });
    });
}

/// The author's cuts: in the length, in the count, in the header, in the name, in the payload, and right at the end; and then the
/// end of the one that sent it. Half a frame is none.
#[test]
fn a_stream_that_ends_anywhere_in_a_frame_gives_what_was_whole_and_then_the_end() {
    isolated!(|| {
        within(LIMIT, || {
            let whole = stream_of(&Bytes(vec![2; 50]), 1);
            for kind in KINDS.into_iter().filter(|kind| kind.is_stream()) {
                let Some(place) = Place::new(kind) else {
                    continue;
                };
                let listener = Listener::bind(&place.address).unwrap();
                for cut in 0..=whole.len() {
                    let mut client = Channel::connect(listener.address()).unwrap();
                    let mut server = listener.accept().unwrap().unwrap();
                    client.send(&Bytes(vec![1])).unwrap();
                    if cut > 0 {
                        send_raw(&client, &whole[..cut], &[]);
                    }
                    drop(client);
                    assert_eq!(server.receive().unwrap(), Some(Bytes(vec![1])), "{kind}");
                    if cut == whole.len() {
                        assert_eq!(
                            server.receive().unwrap(),
                            Some(Bytes(vec![2; 50])),
                            "{kind}"
                        );
                    }
                    assert_eq!(
                        server.receive::<Bytes>().unwrap(),
                        None,
                        "{kind}, cut at {cut}"
                    );
                }
            }
        });
    });
}

/// SK-17, at every byte: nothing is there until all is.
#[test]
fn a_frame_that_comes_in_two_pieces_arrives_once_both_have() {
    isolated!(|| {
        within(LIMIT, || {
            let whole = stream_of(&Bytes(vec![2; 50]), 1);
            for kind in [Kind::UnixPath, Kind::Tcp4] {
                let (client, mut server) = crate::carriers::connected(kind).unwrap();
                for cut in 1..whole.len() {
                    send_raw(&client, &whole[..cut], &[]);
                    let nothing = server.receive_timeout::<Bytes>(Duration::ZERO);
                    assert!(
                        matches!(nothing, Err(ChannelError::TimedOut)),
                        "{kind}, {cut}"
                    );
                    send_raw(&client, &whole[cut..], &[]);
                    assert_eq!(
                        server.receive().unwrap(),
                        Some(Bytes(vec![2; 50])),
                        "{kind}, {cut}"
                    );
                }
            }
        });
    });
}

/// The author's "1 MB whole and broken": a byte of each frame's head or header is another.
#[test]
fn a_long_value_is_whole_or_broken_at_any_frame() {
    isolated!(|| {
        within(LIMIT, || {
            let value = Bytes((0..1 << 20).map(|at| (at % 251) as u8).collect());
            let whole = stream_of(&value, 1);
            let frame = 6 + MAX_DATAGRAM - 1024;
            let name = std::any::type_name::<Bytes>().len();
            let parts = (1 << 20) / (frame - 6 - HEADER) + 1;
            let mut broken = vec![(None, whole.clone())];
            for part in 0..parts {
                let at = part * frame + if part > 0 { name } else { 0 };
                // Length, count, flags, part, total.
                for (byte, bits) in [(3, 1), (4, 1), (7, 2), (14, 1), (22, 1)] {
                    let mut bytes = whole.clone();
                    bytes[at + byte] ^= bits;
                    broken.push((Some((part, byte)), bytes));
                }
            }
            let place = Place::new(Kind::UnixAbstract).unwrap();
            let listener = Listener::bind(&place.address).unwrap();
            for (at, bytes) in broken {
                let mut client = Channel::connect(listener.address()).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                std::thread::scope(|scope| {
                    let stream = std::os::unix::net::UnixStream::from(
                        rustix::io::fcntl_dupfd_cloexec(&client, 0).unwrap(),
                    );
                    // It fails once the receiver has closed.
                    let sender = scope.spawn(move || (&stream).write_all(&bytes).is_ok());
                    let got = server.receive::<Bytes>();
                    match at {
                        None => assert!(got.unwrap().unwrap() == value),
                        Some(_) => {
                            let error = got.unwrap_err();
                            assert!(
                                matches!(error, ChannelError::Receive(ReceiveError::Frame(_))),
                                "{at:?}: {error:?}"
                            );
                            assert_eq!(client.receive::<Bytes>().unwrap(), None, "{at:?}");
                        }
                    }
                    drop(server);
                    sender.join().unwrap();
                });
            }
        });
    });
}

#[test]
fn descriptors_that_find_no_room_are_lost_and_the_next_message_is_fine() {
    isolated!(|| {
        within(LIMIT, || {
            let (mut a, mut b) = crate::carriers::connected(Kind::UnixPath).unwrap();
            let before = OpenFds::now();
            let fd = rustix::io::fcntl_dupfd_cloexec(&a, 0).unwrap();
            a.send(&0_u8).unwrap();
            a.send_with(&1_u8, &[fd.as_fd(); 5]).unwrap();
            a.send(&2_u8).unwrap();
            a.send_with(&3_u8, &[fd.as_fd()]).unwrap();
            drop(fd);

            // The kernel brings the descriptors of the second together with the bytes of the first.
            let (first, lost) = with_room_for(2, || (b.receive(), b.receive_any()));
            assert_eq!(first.unwrap(), Some(0_u8));
            let error = lost.unwrap_err();
            assert!(
                matches!(
                    &error,
                    ChannelError::Receive(ReceiveError::Frame(FrameError::FdsLost))
                ),
                "{error:?}"
            );
            assert_eq!(b.receive().unwrap(), Some(2_u8));
            let third = b.receive_any().unwrap().unwrap();
            assert_eq!((third.decode::<u8>().unwrap(), third.fds.len()), (3, 1));
            drop(third);
            let changes = before.changes(&OpenFds::now());
            assert!(changes.is_empty(), "{changes:?}");
            a.send(&4_u8).unwrap();
            assert_eq!(b.receive().unwrap(), Some(4_u8));
        });
    });
}

/// A receiver that asks for more than a peer may send costs it nothing: what is only announced takes no memory.
#[test]
fn what_is_announced_and_does_not_come_takes_no_memory() {
    within(LIMIT, || {
        let (client, server) = crate::carriers::connected(Kind::Tcp4).unwrap();
        let mut server = server.with_limits(Limits::default());
        let head = [&(MAX_DATAGRAM as u32).to_le_bytes()[..], &[0, 0]].concat();
        send_raw(&client, &head, &[]);
        let (nothing, largest) =
            crate::allocations::largest(|| server.receive_timeout::<Bytes>(Duration::ZERO));
        assert!(
            matches!(nothing, Err(ChannelError::TimedOut)),
            "{nothing:?}"
        );
        assert!(largest <= 256 * 1024, "{largest}");
    });
}

/// The limit is that of the whole value and not of the silence in between; what has come by then is not lost.
#[test]
fn a_peer_that_sends_a_byte_at_a_time_does_not_stretch_the_limit() {
    const SHORT: Duration = Duration::from_millis(100);
    isolated!(|| {
        within(LIMIT, || {
            for kind in [Kind::UnixPath, Kind::Tcp4] {
                let (client, mut server) = crate::carriers::connected(kind).unwrap();
                let value = Bytes(vec![1; 1 << 20]);
                let bytes = stream_of(&value, 1);
                let enough = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut sent = 0;
                        while !enough.load(Ordering::Relaxed) && sent < bytes.len() {
                            send_raw(&client, &bytes[sent..=sent], &[]);
                            sent += 1;
                        }
                        let copy = rustix::io::fcntl_dupfd_cloexec(&client, 0).unwrap();
                        let mut stream = std::os::unix::net::UnixStream::from(copy);
                        stream.write_all(&bytes[sent..]).unwrap();
                    });
                    for _ in 0..2 {
                        let begun = Instant::now();
                        let nothing = server.receive_timeout::<Bytes>(SHORT);
                        let took = begun.elapsed();
                        assert!(matches!(nothing, Err(ChannelError::TimedOut)), "{kind}");
                        assert!(SHORT <= took && took < 10 * SHORT, "{kind}: {took:?}");
                    }
                    enough.store(true, Ordering::Relaxed);
                    assert!(
                        server.receive::<Bytes>().unwrap().unwrap() == value,
                        "{kind}"
                    );
                });
            }
        });
    });
}

/// Each is told of the other's fault, or of the end that this had; and the next connection is fine.
#[test]
fn both_sides_may_be_malformed_at_once() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in KINDS {
                let Some(place) = Place::new(kind) else {
                    continue;
                };
                let listener = Listener::bind(&place.address).unwrap();
                for _ in 0..20 {
                    let client = Channel::connect(listener.address()).unwrap();
                    let server = listener.accept().unwrap().unwrap();
                    send_raw(&client, &[0xff; 50], &[]);
                    send_raw(&server, &[0xff; 50], &[]);
                    std::thread::scope(|scope| {
                        for mut side in [client, server] {
                            scope.spawn(move || {
                                let first = side.receive::<Bytes>();
                                let faulty = matches!(
                                    first,
                                    Err(ChannelError::Receive(ReceiveError::Frame(_)))
                                );
                                assert!(faulty || matches!(first, Ok(None)), "{kind}: {first:?}");
                                assert_eq!(side.receive::<Bytes>().unwrap(), None, "{kind}");
                            });
                        }
                    });
                }
                let mut client = Channel::connect(listener.address()).unwrap();
                client.send(&1_u8).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                assert_eq!(server.receive().unwrap(), Some(1_u8), "{kind}");
            }
        });
    });
}
