//! Values arrive as they were sent, whatever their shape and size.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use occ_sck::{
    Assembler, Body, Bytes, Channel, Deadline, Envelope, Limits, MAX_DATAGRAM, PART, Packet,
    Received, Socket, TypeKey, decode, encode_into, kind,
};
use occ_test_support::{LIMIT, within};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    signed: (i8, i16, i32, i64, i128, isize),
    unsigned: (u8, u16, u32, u64, u128, usize),
    floats: [f64; 3],
    letter: char,
    text: String,
    bytes: Bytes,
    slow_bytes: Vec<u8>,
    nothing: (),
    some: Option<Box<Everything>>,
    result: Result<u8, String>,
    shapes: Vec<Shape>,
    map: HashMap<String, Vec<u16>>,
    address: IpAddr,
    path: PathBuf,
    wait: Duration,
    marker: Marker,
    wrapped: Wrapped,
    pair: Pair,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(u32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pair(String, i64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Unit,
    Bool(bool),
    Tiny(i8, u8),
    Numbers(i16, u16, i32, u32, i64, u64),
    Wide { signed: i128, unsigned: u128 },
    Floats(f32, f64),
    Char(char),
    Text(String),
    Bytes(Bytes),
    Maybe(Option<Box<Shape>>),
    Many(Vec<Shape>),
    Map(BTreeMap<u16, Shape>),
    Struct { first: Box<Shape>, second: Pair },
}

fn everything() -> Everything {
    Everything {
        flag: true,
        signed: (i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, -1),
        unsigned: (u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX),
        floats: [0.1, f64::INFINITY, -0.0],
        letter: '𝄞',
        text: "größer".into(),
        bytes: Bytes(vec![0, 128, 255]),
        slow_bytes: vec![0, 128, 255],
        nothing: (),
        some: None,
        result: Err("no".into()),
        shapes: vec![
            Shape::Unit,
            Shape::Wide {
                signed: -1,
                unsigned: 1 << 100,
            },
            Shape::Maybe(None),
        ],
        map: HashMap::from([("a".into(), vec![1, 2]), (String::new(), vec![])]),
        address: Ipv6Addr::LOCALHOST.into(),
        path: "/tmp/ä".into(),
        wait: Duration::new(3, 999_999_999),
        marker: Marker,
        wrapped: Wrapped(7),
        pair: Pair("p".into(), -7),
    }
}

#[test]
fn values_of_every_shape_arrive_as_they_were_sent() {
    let (mut a, mut b) = Channel::pair().unwrap();
    let value = Everything {
        some: Some(Box::new(everything())),
        ..everything()
    };
    a.send(&value).unwrap();
    assert_eq!(b.receive::<Everything>().unwrap(), Some(value));

    a.send(&()).unwrap();
    a.send(&Some(3_u8)).unwrap();
    b.send(&"and back".to_string()).unwrap();
    assert_eq!(b.receive().unwrap(), Some(()));
    assert_eq!(b.receive().unwrap(), Some(Some(3_u8)));
    assert_eq!(a.receive::<String>().unwrap().unwrap(), "and back");
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Unit),
        any::<bool>().prop_map(Shape::Bool),
        any::<(i8, u8)>().prop_map(|(a, b)| Shape::Tiny(a, b)),
        any::<(i16, u16, i32, u32, i64, u64)>()
            .prop_map(|(a, b, c, d, e, f)| Shape::Numbers(a, b, c, d, e, f)),
        any::<(i128, u128)>().prop_map(|(signed, unsigned)| Shape::Wide { signed, unsigned }),
        any::<(f32, f64)>().prop_map(|(a, b)| Shape::Floats(a, b)),
        any::<char>().prop_map(Shape::Char),
        any::<String>().prop_map(Shape::Text),
        any::<Vec<u8>>().prop_map(|bytes| Shape::Bytes(Bytes(bytes))),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::option::of(inner.clone().prop_map(Box::new)).prop_map(Shape::Maybe),
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Shape::Many),
            proptest::collection::btree_map(any::<u16>(), inner.clone(), 0..8).prop_map(Shape::Map),
            (inner, any::<String>(), any::<i64>()).prop_map(|(first, text, number)| {
                Shape::Struct {
                    first: Box::new(first),
                    second: Pair(text, number),
                }
            }),
        ]
    })
}

proptest! {
    #[test]
    fn encoded_bytes_are_postcards_and_are_read_back(value in shape()) {
        let mut bytes = vec![1, 2, 3];
        encode_into(&value, &mut bytes).unwrap();
        prop_assert_eq!(&bytes[..3], &[1, 2, 3], "what was there stays");
        prop_assert_eq!(&bytes[3..], &postcard::to_stdvec(&value).unwrap());
        prop_assert_eq!(decode::<Shape>(&bytes[3..]).unwrap(), value);
    }
}

/// Encoded through `Display`, whose length is known last.
#[derive(Debug)]
struct Shown(String);

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("<{}>", self.0))
    }
}

#[test]
fn text_that_is_made_as_it_is_written_has_its_length_first() {
    for len in [0, 1, 125, 126, 127, 128, 20_000] {
        let value = Shown("x".repeat(len));
        let mut bytes = vec![9];
        encode_into(&value, &mut bytes).unwrap();
        assert_eq!(bytes[1..], postcard::to_stdvec(&value).unwrap());
        assert_eq!(
            decode::<String>(&bytes[1..]).unwrap(),
            format!("<{}>", value.0)
        );
    }
}

/// A value whose encoding has exactly this many bytes, one of them at the least.
pub(crate) fn of_encoded_size(size: usize) -> Bytes {
    let prefix = match size {
        0 => panic!("its length takes a byte"),
        1..=0x80 => 1,
        0x81..=0x4001 => 2,
        0x4002..=0x20_0002 => 3,
        _ => 4,
    };
    let bytes = (0..size - prefix).map(|at| (at % 251) as u8).collect();
    Bytes(bytes)
}

#[test]
fn values_around_the_size_of_a_part_arrive_whole() {
    within(LIMIT, || {
        let sizes = [
            1,
            2,
            PART - 1,
            PART,
            PART + 1,
            2 * PART - 1,
            2 * PART,
            2 * PART + 1,
            (5 << 20) + 3,
        ];
        for size in sizes {
            let value = of_encoded_size(size);
            let packet = Packet::of(kind::USER, &value).unwrap();
            assert_eq!(packet.payload().len(), size);
            assert_eq!(packet.parts() as usize, size.div_ceil(PART));

            let (mut a, mut b) = Channel::pair().unwrap();
            let received = std::thread::scope(|scope| {
                scope.spawn(|| a.send(&value).unwrap());
                b.receive::<Bytes>().unwrap().unwrap()
            });
            assert!(received == value, "{size} bytes differ");
        }
    });
}

#[test]
fn a_value_without_a_byte_is_one_part() {
    let packet = Packet::of(kind::USER, &()).unwrap();
    assert_eq!((packet.payload().len(), packet.parts()), (0, 1));
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&()).unwrap();
    let envelope = b.receive_any().unwrap().unwrap();
    assert!(envelope.is_empty());
    envelope.decode::<()>().unwrap();
}

/// SK-17: what is sent in pieces arrives in one.
#[test]
fn a_value_sent_part_by_part_arrives_once_and_whole() {
    let (sender, receiver) = Socket::pair().unwrap();
    let mut receiver = Channel::new(receiver, Limits::default());
    let value = of_encoded_size(3 * PART + 5);
    let packet = Packet::of(kind::USER, &value).unwrap();
    for part in 0..packet.parts() {
        let waiting = receiver.receive_timeout::<Bytes>(Duration::ZERO);
        assert!(waiting.is_err(), "whole before part {part}: {waiting:?}");
        packet
            .send_part(part, &sender, &[], Deadline::Never)
            .unwrap();
    }
    assert_eq!(receiver.receive().unwrap(), Some(value));
}

#[test]
fn parts_of_two_connections_do_not_mix() {
    let connections = [Socket::pair().unwrap(), Socket::pair().unwrap()];
    let packets = [1_u8, 2].map(|fill| Packet::of(0, &Bytes(vec![fill; 2 * PART])).unwrap());
    let mut assemblers = [Assembler::default(), Assembler::default()];
    let mut whole: [Option<Envelope>; 2] = [None, None];
    let mut buffer = vec![0; MAX_DATAGRAM];

    for part in 0..packets[0].parts() {
        for (at, (sender, receiver)) in connections.iter().enumerate() {
            // One after the other into one buffer, with the same message id.
            packets[at]
                .send_part(part, sender, &[], Deadline::Now)
                .unwrap();
            let received = receiver.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
            let Ok(Received::Datagram { len, .. }) = received else {
                panic!("{received:?}");
            };
            assert!(whole[at].is_none());
            whole[at] = assemblers[at].push(&buffer[..len], Vec::new()).unwrap();
        }
    }
    for (at, fill) in [1, 2].into_iter().enumerate() {
        let value: Bytes = whole[at].as_ref().unwrap().decode().unwrap();
        assert!(value == Bytes(vec![fill; 2 * PART]));
        assert!(!assemblers[at].is_partial());
    }
}

#[test]
fn a_value_of_another_type_is_consumed_and_the_next_is_received() {
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&"text".to_string()).unwrap();
    a.send(&7_u32).unwrap();
    let error = b.receive::<u32>().unwrap_err();
    assert_eq!(
        crate::words(&error),
        "expected a `u32`, and this is a `alloc::string::String`"
    );
    assert_eq!(b.receive().unwrap(), Some(7_u32));
}

#[test]
fn bytes_that_are_no_value_of_their_type_name_it() {
    let mut channels = Channel::pair().unwrap();
    let send = |channel: &Channel, payload: &[u8]| {
        let packet = Packet::raw(0, TypeKey::of::<(u8, bool)>(), "(u8, bool)", payload);
        let socket = Socket::from(rustix::io::fcntl_dupfd_cloexec(channel, 0).unwrap());
        packet.send_part(0, &socket, &[], Deadline::Now).unwrap();
    };
    for (payload, expected) in [
        (&[1][..], "cannot decode a `(u8, bool)`: "),
        (&[1, 9], "cannot decode a `(u8, bool)`: "),
        (
            &[1, 1, 1],
            "cannot decode a `(u8, bool)`: 1 of 3 bytes are left over",
        ),
    ] {
        send(&channels.0, payload);
        let error = channels.1.receive::<(u8, bool)>().unwrap_err();
        let words = crate::words(&error);
        assert!(words.starts_with(expected), "{words}");
    }
    send(&channels.0, &[1, 1]);
    assert_eq!(channels.1.receive().unwrap(), Some((1_u8, true)));
}

/// Nothing in a payload makes it control: only the kind in the header counts, and a user has no say in it.
#[test]
fn a_user_message_shaped_like_a_control_frame_stays_payload() {
    let (mut a, mut b) = Channel::pair().unwrap();
    for kind in [kind::USER, 1, kind::SPAWN, kind::SYSTEM, 255] {
        let control = Packet::of(kind, &("stop".to_string(), 9_u64)).unwrap();
        for datagram in crate::datagrams(&control) {
            a.send(&Bytes(datagram.clone())).unwrap();
            let envelope = b.receive_any().unwrap().unwrap();
            assert_eq!(envelope.kind, kind::USER);
            assert_eq!(envelope.decode::<Bytes>().unwrap().0, datagram);
        }
    }
    a.send(&("stop".to_string(), 9_u64)).unwrap();
    assert_eq!(b.receive_any().unwrap().unwrap().kind, kind::USER);
}

#[test]
fn a_name_too_long_is_cut_between_letters() {
    let name = "ä".repeat(1000);
    let packet = Packet::raw(0, TypeKey::of::<u8>(), &format!("x{name}"), &[5]);
    assert_eq!(packet.type_name().len(), 1023);
    let (a, b) = Socket::pair().unwrap();
    packet.send_part(0, &a, &[], Deadline::Now).unwrap();
    let envelope = Channel::new(b, Limits::default()).receive_any().unwrap();
    let envelope = envelope.unwrap();
    assert_eq!(envelope.type_name(), packet.type_name());
    assert_eq!(envelope.decode::<u8>().unwrap(), 5);
}

#[test]
fn a_packet_is_an_envelope_without_a_way_through_the_kernel() {
    let value = of_encoded_size(PART + 9);
    let packet = Packet::of(kind::SYSTEM, &value).unwrap();
    let envelope = packet.into_envelope();
    assert_eq!(envelope.kind, kind::SYSTEM);
    assert_eq!(envelope.len(), PART as u64 + 9);
    assert!(matches!(envelope.body, Body::Inline { .. }));
    assert_eq!(envelope.decode::<Bytes>().unwrap(), value);
}

#[test]
fn a_packet_that_failed_to_encode_is_empty_and_can_be_used_again() {
    let mut packet = Packet::of(0, &1_u8).unwrap();
    let bad = PathBuf::from(OsString::from_vec(vec![0xff]));
    packet.fill(0, &bad).unwrap_err();
    assert!(packet.payload().is_empty());
    packet.fill(0, &"good".to_string()).unwrap();
    assert_eq!(packet.into_envelope().decode::<String>().unwrap(), "good");
}

/// What stood in a packet before leaves no trace in what stands there now.
#[test]
fn a_packet_that_is_filled_again_is_as_one_that_is_new() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_some(&1_u8)?;
            Err(serde::ser::Error::custom("no"))
        }
    }
    let mut packet = Packet::new();
    let mut numbers = 0_u32..;
    let mut same = |packet: &Packet, fresh: &Packet| {
        numbers.next();
        assert_eq!(
            crate::datagrams(packet),
            crate::datagrams(fresh),
            "{numbers:?}"
        );
    };
    let text = "x".repeat(PART);
    for _ in 0..2 {
        for repeats in [1, 3] {
            for number in 0..repeats {
                packet.fill(kind::USER, &number).unwrap();
                same(&packet, &Packet::of(kind::USER, &number).unwrap());
            }
            packet.fill(kind::SYSTEM, &repeats).unwrap();
            same(&packet, &Packet::of(kind::SYSTEM, &repeats).unwrap());
            packet.fill(kind::USER, &text).unwrap();
            packet.set_id(7);
            assert_eq!(packet.parts(), 2);
            for text in ["", "y", &text] {
                packet.fill(kind::USER, &text.to_owned()).unwrap();
                same(&packet, &Packet::of(kind::USER, &text.to_owned()).unwrap());
                packet.fill(kind::USER, &Fails).unwrap_err();
                assert!(packet.is_empty() && packet.parts() == 1);
            }
            packet.key_by_name();
            packet.fill(kind::USER, &text).unwrap();
            same(&packet, &Packet::of(kind::USER, &text).unwrap());
        }
    }
}

#[test]
fn what_is_one_plain_datagram_is_sent_at_once_and_nothing_else() {
    let (a, b) = Socket::pair().unwrap();
    let short = Packet::of(kind::USER, &1_u8).unwrap();
    assert!(short.send_at_once(&a));
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut long = Packet::new();
    long.prepare(kind::USER, &Bytes(vec![0; 2 << 20])).unwrap();
    for other in [
        Packet::of(kind::USER, &occ_sck::Fd(reader)).unwrap(),
        Packet::of(kind::USER, &Bytes(vec![0; 2 * PART])).unwrap(),
        long,
    ] {
        assert!(!other.send_at_once(&a));
    }
    while short.send_at_once(&a) {}
    let again = short.send_part(0, &a, &[], Deadline::Now);
    assert!(matches!(again, Err(occ_sck::SendError::Full)), "{again:?}");
    drop(b);
    assert!(!short.send_at_once(&a));
}
