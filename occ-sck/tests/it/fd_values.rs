//! Descriptors inside values: they arrive, and each is closed once, whatever becomes of the value.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use occ_sck::{
    Bytes, Channel, ChannelError, Deadline, DecodeError, EncodeError, Envelope, Fd, FdError,
    MAX_FDS, PART, Packet, SendError, Socket, TypeKey, decode, encode_into, kind,
};
use occ_test_support::fds::OpenFds;
use occ_test_support::fds::with_room_for;
use occ_test_support::isolated;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fds::pipes;
use crate::words;

/// Pipes' write ends as a value.
type Ends = Vec<Fd>;

fn value_of(pipes: &crate::fds::Pipes) -> Ends {
    let ends = pipes.borrowed().into_iter();
    ends.map(|end| Fd(end.try_clone_to_owned().unwrap()))
        .collect()
}

/// Runs `body`, after which nothing is open that was not before.
fn leaving_nothing(what: &str, body: impl FnOnce()) {
    let before = OpenFds::now();
    body();
    let changes = before.changes(&OpenFds::now());
    assert!(changes.is_empty(), "{what}: {changes:?}");
}

fn fd_error(error: &EncodeError) -> &FdError {
    error.source.downcast_ref().expect("of descriptors")
}

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    One(Fd<File>),
    Many {
        named: BTreeMap<String, Fd<UnixStream>>,
        maybe: Option<Box<Shape>>,
    },
}

#[test]
fn whatever_is_open_travels_wherever_it_is_in_a_value() {
    isolated!(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut tcp_peer, _) = listener.accept().unwrap();
        let (mut unix_peer, unix) = UnixStream::pair().unwrap();
        let (read, write) = std::io::pipe().unwrap();
        let (socket_peer, socket) = Socket::pair().unwrap();
        let value = (
            Shape::Many {
                named: BTreeMap::from([("unix".to_string(), Fd(unix))]),
                maybe: Some(Box::new(Shape::One(Fd(File::from(OwnedFd::from(write)))))),
            },
            "between",
            Fd(tcp),
            Fd(socket),
        );
        let packet = Packet::of(kind::USER, &value).unwrap();
        assert_eq!(packet.fds(), 4);
        // The packet has its own.
        drop(value);

        type There = (Shape, String, Fd<TcpStream>, Fd<Socket>);
        let envelope = Packet::raw(
            kind::USER,
            TypeKey::of::<There>(),
            "There",
            packet.payload(),
        );
        let (a, b) = Socket::pair().unwrap();
        let own = packet.into_envelope().fds;
        let own: Vec<_> = own.iter().map(AsFd::as_fd).collect();
        envelope.send_part(0, &a, &own, Deadline::Now).unwrap();
        drop(own);
        let mut b = Channel::new(b, occ_sck::Limits::default());
        let (shape, between, tcp, socket) = b.receive::<There>().unwrap().unwrap();
        assert_eq!(between, "between");
        let Shape::Many {
            mut named,
            maybe: Some(inner),
        } = shape
        else {
            panic!("{shape:?}");
        };
        let Shape::One(file) = *inner else {
            panic!("{inner:?}");
        };
        (&*file).write_all(b"file").unwrap();
        (&*tcp).write_all(b"tcp").unwrap();
        named.remove("unix").unwrap().write_all(b"unix").unwrap();
        crate::send_bytes(&socket, b"datagram");

        let mut four = [0; 4];
        (&read).read_exact(&mut four).unwrap();
        assert_eq!(&four, b"file");
        unix_peer.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"unix");
        tcp_peer.read_exact(&mut four[..3]).unwrap();
        assert_eq!(&four[..3], b"tcp");
        assert_eq!(crate::receive_bytes(&socket_peer).0, b"datagram");
    });
}

#[test]
fn as_many_as_a_message_takes_arrive_in_their_places_and_one_more_is_an_error_before_anything_is_sent()
 {
    isolated!(|| {
        leaving_nothing("all", || {
            let (mut a, mut b) = Channel::pair().unwrap();
            for number in [0, 1, 2, MAX_FDS] {
                let pipes = pipes(number);
                a.send(&value_of(&pipes)).unwrap();
                let ends: Ends = b.receive().unwrap().unwrap();
                assert_eq!(ends.len(), number);
                for (at, end) in ends.iter().enumerate() {
                    rustix::io::write(end, &[at as u8]).unwrap();
                    let mut byte = [0];
                    rustix::io::read(&pipes.read[at], &mut byte).unwrap();
                    assert_eq!(byte, [at as u8]);
                }
                drop(ends);
                pipes.all_closed();
            }
            for number in [MAX_FDS + 1, 300] {
                let pipes = pipes(number);
                let error = a.send(&value_of(&pipes)).unwrap_err();
                let said = words(&error);
                assert!(said.contains("Vec<occ_sck::fd::Fd>"), "{said}");
                assert!(said.contains(&format!("{number} file")), "{said}");
                pipes.all_closed();
            }
            a.send(&2_u8).unwrap();
            assert_eq!(b.receive().unwrap(), Some(2_u8));
        });
    });
}

#[test]
fn with_those_given_besides_there_are_no_more_than_a_message_takes() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let (ours, besides) = (pipes(3), pipes(2));
        a.send_with(&value_of(&ours), &besides.borrowed()).unwrap();
        let envelope = b.receive_any().unwrap().unwrap();
        assert_eq!(envelope.fds.len(), 5);
        let (ends, rest) = envelope.into_value_and_fds::<Ends>().unwrap();
        assert_eq!((ends.len(), rest.len()), (3, 2));
        rustix::io::write(&rest[1], b"!").unwrap();
        let mut byte = [0];
        rustix::io::read(&besides.read[1], &mut byte).unwrap();
        assert_eq!(&byte, b"!");
        drop((ends, rest));

        let many = pipes(MAX_FDS - 2);
        let error = a.send_with(&value_of(&ours), &many.borrowed()).unwrap_err();
        assert!(
            matches!(
                error,
                ChannelError::Send(SendError::TooManyFds { given: 254 })
            ),
            "{error:?}"
        );
        for pipes in [ours, besides, many] {
            pipes.all_closed();
        }
    });
}

/// What becomes of a value with descriptors at the receiver.
#[test]
fn they_are_closed_once_wherever_the_message_ends() {
    type End = fn(Channel);
    let ends: [(&str, End); 7] = [
        ("never received", drop),
        ("never received, and the connection closed", Channel::close),
        ("received, never decoded", |mut b| {
            drop(b.receive_any().unwrap());
        }),
        ("received and dropped", |mut b| {
            drop(b.receive::<Ends>().unwrap());
        }),
        ("looked at and dropped", |mut b| {
            let envelope = b.receive_any().unwrap().unwrap();
            assert_eq!(envelope.decode::<Ends>().unwrap().len(), 3);
            assert_eq!(envelope.decode::<Ends>().unwrap().len(), 3);
            assert_eq!(envelope.fds.len(), 3);
            assert_eq!(envelope.into_value::<Ends>().unwrap().len(), 3);
        }),
        ("received as another type", |mut b| {
            b.receive::<String>().unwrap_err();
        }),
        ("a panic while it is decoded", |mut b| {
            let mut envelope = b.receive_any().unwrap().unwrap();
            envelope.key = TypeKey::of::<(u8, Fd, Panics)>();
            let caught = catch_unwind(AssertUnwindSafe(|| {
                envelope.into_value::<(u8, Fd, Panics)>().map(drop)
            }));
            assert!(caught.is_err());
        }),
    ];
    isolated!(|| {
        for (how, end) in ends {
            leaving_nothing(how, || {
                let (mut a, b) = Channel::pair().unwrap();
                let pipes = pipes(3);
                a.send(&value_of(&pipes)).unwrap();
                end(b);
                // The sender, which lives, has closed those that it took.
                pipes.all_closed();
                drop(a);
            });
        }
    });
}

#[derive(Debug)]
struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("while it is encoded");
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Panics, D::Error> {
        panic!("while it is decoded");
    }
}

#[test]
fn a_packet_that_is_used_again_or_could_not_be_filled_has_closed_what_it_had() {
    isolated!(|| {
        let pipes = pipes(3);
        let value = value_of(&pipes);
        let mut packet = Packet::of(0, &value).unwrap();
        let open = OpenFds::now();
        packet.fill(0, &value).unwrap();
        assert!(open.changes(&OpenFds::now()).is_empty());
        assert_eq!(packet.fds(), 3);

        let caught = catch_unwind(AssertUnwindSafe(|| {
            packet.fill(0, &(value_of(&pipes), Panics))
        }));
        assert!(caught.is_err());
        packet.fill(0, &value).unwrap();
        packet.fill(0, &(value_of(&pipes), Unwilling)).unwrap_err();
        assert_eq!((packet.fds(), packet.payload()), (0, &[][..]));
        drop(value);
        pipes.all_closed();
    });
}

struct Unwilling;

impl Serialize for Unwilling {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not this one"))
    }
}

/// A `(Fd, Fd)` whose bytes are these, with this many descriptors.
fn forged(payload: &[u8], fds: usize) -> (Envelope, crate::fds::Pipes) {
    let pipes = pipes(fds);
    let key = TypeKey::of::<(Fd, Fd)>();
    let mut envelope = Packet::raw(0, key, "(Fd, Fd)", payload).into_envelope();
    let ends = value_of(&pipes).into_iter();
    envelope.fds = ends.map(Fd::into_inner).collect();
    (envelope, pipes)
}

#[test]
fn a_descriptor_that_is_missing_or_named_twice_is_an_error_and_all_are_closed() {
    isolated!(|| {
        let table: [(&[u8], usize, &str); 6] = [
            (&[0, 1], 0, "file descriptor 0 is missing: 0 came"),
            (&[0, 1], 1, "file descriptor 1 is missing: 1 came"),
            (&[1, 2], 2, "file descriptor 2 is missing: 2 came"),
            (
                &[0, 0xff, 0xff, 0xff, 0xff, 0xf],
                9,
                "file descriptor 4294967295 is missing: 9 came",
            ),
            (&[0, 0], 2, "file descriptor 0 is in the value twice"),
            (&[1, 1], 2, "file descriptor 1 is in the value twice"),
        ];
        for (payload, came, expected) in table {
            leaving_nothing(expected, || {
                let (envelope, pipes) = forged(payload, came);
                let look = envelope.decode::<(Fd, Fd)>().unwrap_err();
                let taken = envelope.into_value::<(Fd, Fd)>().unwrap_err();
                for error in [look, taken] {
                    assert!(matches!(error, DecodeError::Fds { .. }), "{error:?}");
                    let said = words(&error);
                    assert!(said.contains(expected) && said.contains("Fd"), "{said}");
                }
                pipes.all_closed();
            });
        }
        // In any order, and some left.
        let (envelope, pipes) = forged(&[2, 0], 3);
        let ((two, zero), rest) = envelope.into_value_and_fds::<(Fd, Fd)>().unwrap();
        assert_eq!(rest.len(), 1);
        for (end, at) in [(&*two, 2), (&*zero, 0), (&rest[0], 1)] {
            rustix::io::write(end, b"x").unwrap();
            rustix::io::read(&pipes.read[at], &mut [0; 1]).unwrap();
        }
        drop((two, zero, rest));
        pipes.all_closed();
    });
}

#[test]
fn without_room_for_a_duplicate_it_is_an_error_and_nothing_is_open_that_was_not() {
    isolated!(|| {
        let pipes = pipes(4);
        let value = value_of(&pipes);
        let (envelope, forged) = forged(&[0, 1], 2);
        let mut packet = Packet::new();
        for room in 0..4 {
            leaving_nothing("fill", || {
                let error = with_room_for(room, || packet.fill(0, &value).unwrap_err());
                let said = words(&error);
                assert!(
                    matches!(fd_error(&error), FdError::Duplicate { .. }),
                    "{said}"
                );
                assert!(said.contains("Too many open files"), "{said}");
                assert!(packet.payload().is_empty());
            });
            leaving_nothing("look", || {
                let look = with_room_for(room, || envelope.decode::<(Fd, Fd)>());
                match look {
                    Ok(_) => assert!(room >= 2),
                    Err(DecodeError::Fds {
                        source: FdError::Duplicate { .. },
                        ..
                    }) => assert!(room < 2),
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        // To have them needs no room.
        let had = with_room_for(0, || envelope.into_value::<(Fd, Fd)>());
        drop(had.unwrap());
        forged.all_closed();
        with_room_for(4, || packet.fill(0, &value)).unwrap();
        drop((packet, value));
        pipes.all_closed();
    });
}

#[test]
fn any_other_way_to_encode_one_is_an_error_that_says_so() {
    let (_, write) = std::io::pipe().unwrap();
    let value = ("before", Fd(write));
    let mut bytes = vec![1, 2];
    let error = encode_into(&value, &mut bytes).unwrap_err();
    let said = words(&error);
    assert!(said.contains("travels in a message only"), "{said}");
    assert_eq!(bytes, [1, 2]);
    let error = serde_json::to_string(&value).unwrap_err().to_string();
    assert!(error.contains("travels in a message only"), "{error}");
    decode::<Fd>(&[0]).unwrap_err();
    let error = serde_json::from_str::<Fd>("0").unwrap_err().to_string();
    assert!(error.contains("travels in a message only"), "{error}");
}

/// A format within the format.
struct AsJson<T>(T);

impl<T: Serialize> Serialize for AsJson<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&json)
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for AsJson<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AsJson<T>, D::Error> {
        let json = String::deserialize(deserializer)?;
        let value = serde_json::from_str(&json).map_err(serde::de::Error::custom)?;
        Ok(AsJson(value))
    }
}

#[test]
fn they_travel_through_a_format_within_the_format() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        let pipes = pipes(3);
        a.send(&AsJson(value_of(&pipes))).unwrap();
        let AsJson(ends) = b.receive::<AsJson<Ends>>().unwrap().unwrap();
        assert_eq!(ends.len(), 3);
        drop(ends);
        pipes.all_closed();
    });
}

/// A value that makes a message of its own while it is encoded, and one while it is decoded.
struct Nested(Fd, Cell<Option<Packet>>);

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let again = || Fd(self.0.try_clone().unwrap());
        let before = self.0.serialize(serializer);
        self.1
            .set(Some(Packet::of(0, &(again(), again())).unwrap()));
        Packet::of(0, &(again(), Unwilling)).unwrap_err();
        before
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Nested, D::Error> {
        // Another message without a descriptor does not find those of this one.
        let (inner, _) = forged(&[0, 1], 0);
        inner.into_value::<(Fd, Fd)>().unwrap_err();
        Ok(Nested(Fd::deserialize(deserializer)?, Cell::new(None)))
    }
}

#[test]
fn a_message_that_is_made_while_another_is_does_not_mix_with_it() {
    isolated!(|| {
        let pipes = pipes(1);
        let end = value_of(&pipes).remove(0);
        let value = (Nested(end, Cell::new(None)), 7_u8);
        let packet = Packet::of(0, &value).unwrap();
        let inner = value.0.1.take().unwrap();
        assert_eq!((packet.fds(), inner.fds()), (1, 2));
        let (nested, seven) = packet.into_envelope().into_value::<(Nested, u8)>().unwrap();
        assert_eq!(seven, 7);
        drop((nested, value, inner));
        pipes.all_closed();
    });
}

/// A value that goes on where it should have given up.
struct Careless(Vec<Fd>);

impl Serialize for Careless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Into another serializer, whose error nobody looks at.
        for fd in &self.0 {
            let _ = serde_json::to_string(fd);
        }
        serializer.serialize_u8(1)
    }
}

#[derive(Debug)]
struct CarelessReader;

impl<'de> Deserialize<'de> for CarelessReader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CarelessReader, D::Error> {
        let _ = u16::deserialize(deserializer)?;
        let _ = serde_json::from_str::<Fd>("5");
        Ok(CarelessReader)
    }
}

#[test]
fn an_error_that_a_type_swallows_is_an_error_all_the_same() {
    isolated!(|| {
        let pipes = pipes(2);
        let value = Careless(value_of(&pipes));
        let error = with_room_for(1, || Packet::of(0, &value).unwrap_err());
        assert!(
            matches!(fd_error(&error), FdError::Duplicate { .. }),
            "{error:?}"
        );
        drop(value);
        pipes.all_closed();

        let mut envelope = Packet::of(0, &5_u16).unwrap().into_envelope();
        envelope.key = TypeKey::of::<CarelessReader>();
        let error = envelope.decode::<CarelessReader>().unwrap_err();
        assert!(
            matches!(
                error,
                DecodeError::Fds {
                    source: FdError::Missing { index: 5, came: 0 },
                    ..
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn a_long_value_has_them_too_in_parts_and_in_a_memory_file() {
    isolated!(|| {
        leaving_nothing("all", || {
            let (a, b) = Socket::pair().unwrap();
            let mut b = Channel::new(b, occ_sck::Limits::default());
            for whole in [false, true] {
                let pipes = pipes(3);
                let value = (Bytes(vec![1; 3 * PART]), value_of(&pipes));
                let packet = Packet::of(kind::USER, &value).unwrap();
                if whole {
                    packet.send_whole(&a, &[], Deadline::Now).unwrap();
                } else {
                    for part in 0..packet.parts() {
                        packet.send_part(part, &a, &[], Deadline::Now).unwrap();
                    }
                }
                drop((packet, value));
                let (bytes, ends) = b.receive::<(Bytes, Ends)>().unwrap().unwrap();
                assert_eq!((bytes.len(), ends.len()), (3 * PART, 3));
                drop(ends);
                pipes.all_closed();
            }
            let pipes = pipes(MAX_FDS);
            let value = (Bytes(vec![1; 3 * PART]), value_of(&pipes));
            let packet = Packet::of(kind::USER, &value).unwrap();
            let error = packet.send_whole(&a, &[], Deadline::Now).unwrap_err();
            assert!(
                matches!(error, SendError::TooManyFds { given: 254 }),
                "{error:?}"
            );
            drop((packet, value));
            pipes.all_closed();
        });
    });
}
