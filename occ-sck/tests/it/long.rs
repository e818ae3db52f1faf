//! Values of any length: encoded twice, sent in parts or in a memory file, and withdrawn where the second time is not the
//! first.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use occ_sck::{
    Assembler, Body, Bytes, Channel, ChannelError, Deadline, EncodeError, Envelope, Fd, Limits,
    MAX_DATAGRAM, MAX_FDS, PART, Packet, Received, SendError, Socket, kind,
};
use occ_test_support::fds::OpenFds;
use occ_test_support::{LIMIT, isolated, within};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fds::pipes;
use crate::values::of_encoded_size;
use crate::words;

/// As much of a value is kept by a packet.
const SHORT: usize = 1 << 20;

fn prepared<T: Serialize + 'static>(value: &T) -> Packet {
    let mut packet = Packet::new();
    packet.prepare(kind::USER, value).unwrap();
    packet
}

/// What a receiver has of the value, sent in parts; it looks meanwhile.
fn in_parts<T: Serialize + 'static>(packet: &Packet, value: &T) -> Vec<Envelope> {
    let (a, b) = Socket::pair().unwrap();
    let mut assembler = Assembler::default();
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut whole = Vec::new();
    packet
        .send_parts(value, |part| -> Result<(), EncodeError> {
            part.send(&a, Deadline::Now).unwrap();
            let mut fds = Vec::new();
            let received = b.receive(&mut buffer, &mut fds, Deadline::Now);
            let Ok(Received::Datagram { len, .. }) = received else {
                panic!("expected a part, got {received:?}");
            };
            whole.extend(assembler.push(&buffer[..len], fds).unwrap());
            Ok(())
        })
        .unwrap();
    assert!(!assembler.is_partial());
    whole
}

#[test]
fn values_around_every_limit_arrive_as_they_were_whichever_way() {
    let sizes = [
        SHORT - 1,
        SHORT,
        SHORT + 1,
        17 * PART - 1,
        17 * PART,
        17 * PART + 1,
        (16 << 20) - 1,
        16 << 20,
        (16 << 20) + 1,
        273 * PART,
    ];
    for size in sizes {
        let value = of_encoded_size(size);
        let packet = prepared(&value);
        assert_eq!(packet.is_long(), size > SHORT, "{size}");
        assert_eq!(
            (packet.len(), packet.parts()),
            (size as u64, size.div_ceil(PART) as u32)
        );

        let mut parts = in_parts(&packet, &value);
        assert_eq!(parts.len(), 1);
        let parts = parts.remove(0);
        let in_pieces = matches!(parts.body, Body::Segments(_));
        assert_eq!(in_pieces, size > 16 << 20, "{size}");

        let (a, b) = Socket::pair().unwrap();
        packet.send_value(&value, &a, &[], Deadline::Now).unwrap();
        let blob = Channel::new(b, Limits::default()).receive_any().unwrap();
        let to_oneself = packet.into_envelope_of(&value).unwrap();
        for envelope in [parts, blob.unwrap(), to_oneself] {
            assert_eq!(envelope.len(), size as u64);
            assert_eq!(envelope.type_name(), std::any::type_name::<Bytes>());
            assert_eq!(envelope.bytes().unwrap().len(), size);
            assert!(
                envelope.decode::<Bytes>().unwrap() == value,
                "{size}, at a look"
            );
            assert!(envelope.into_value::<Bytes>().unwrap() == value, "{size}");
        }
    }
}

/// Many small things, text that is formatted, and numbers, across the borders of parts and pieces.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mixed {
    numbers: Vec<u64>,
    shown: Vec<Shown>,
    last: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Shown(String);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}", self.0))
    }
}

#[test]
fn small_things_and_formatted_text_cross_every_border() {
    for lead in 0..4 {
        let value = Mixed {
            numbers: (0..600_000).map(|i| (i * i) >> lead).collect(),
            shown: (0..300)
                .map(|i| Shown("x".repeat(lead + i * i)))
                .chain([Shown("y".repeat(9 << 20))])
                .collect(),
            last: "the end".into(),
        };
        let packet = prepared(&value);
        let theirs = postcard::to_stdvec(&value).unwrap();
        let envelope = in_parts(&packet, &value).remove(0);
        assert!(matches!(envelope.body, Body::Segments(_)));
        assert!(envelope.bytes().unwrap() == theirs);
        assert!(envelope.decode::<Mixed>().unwrap() == value);
        assert!(envelope.into_value::<Mixed>().unwrap() == value);
        let blob = packet.blob(&value).unwrap();
        assert!(blob.read().unwrap() == theirs);
    }
}

/// What a [`Fickle`] does when it is encoded for the second time.
#[derive(Clone, Copy, Debug)]
enum Whim {
    None,
    Longer,
    Shorter,
    MuchLonger,
    Fails,
    Panics,
    MoreFds,
    FewerFds,
}

struct Fickle {
    /// How often it was encoded.
    times: Cell<u32>,
    whim: Whim,
    before: Bytes,
    fd: Fd,
    behind: Bytes,
}

impl Serialize for Fickle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let again = self.times.replace(self.times.get() + 1) > 0;
        let whim = if again { self.whim } else { Whim::None };
        let (fds, extra) = match whim {
            Whim::None => (vec![&self.fd], ""),
            Whim::Longer => (vec![&self.fd], "x"),
            // The first time it was not there either; a byte less is one of what comes behind.
            Whim::Shorter => {
                let shorter = Bytes(self.behind[1..].to_vec());
                return (&self.before, (vec![&self.fd], ""), &shorter).serialize(serializer);
            }
            Whim::MuchLonger => {
                let longer = Bytes(self.behind.repeat(3));
                return (&self.before, (vec![&self.fd], ""), &longer).serialize(serializer);
            }
            Whim::Fails => return Err(serde::ser::Error::custom("once was enough")),
            Whim::Panics => {
                return (&self.before, Panics).serialize(serializer);
            }
            Whim::MoreFds => (vec![&self.fd, &self.fd], ""),
            Whim::FewerFds => (vec![], ""),
        };
        (&self.before, (fds, extra), &self.behind).serialize(serializer)
    }
}

/// A tuple of two whose second is no value: it stands for what is behind the first parts.
struct Panics;

impl Serialize for Panics {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("the second time");
    }
}

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fickle, D::Error> {
        type Fields = (Bytes, (Vec<Fd>, String), Bytes);
        let (before, (mut fds, _), behind) = Fields::deserialize(deserializer)?;
        Ok(Fickle {
            times: Cell::new(0),
            whim: Whim::None,
            before,
            fd: fds.remove(0),
            behind,
        })
    }
}

fn fickle(whim: Whim, before: usize, behind: usize) -> (Fickle, crate::fds::Pipes) {
    let pipes = pipes(1);
    let fd = Fd(pipes.borrowed()[0].try_clone_to_owned().unwrap());
    let value = Fickle {
        times: Cell::new(0),
        whim,
        before: Bytes(vec![1; before]),
        fd,
        behind: Bytes(vec![2; behind]),
    };
    (value, pipes)
}

const WHIMS: [Whim; 7] = [
    Whim::Longer,
    Whim::Shorter,
    Whim::MuchLonger,
    Whim::Fails,
    Whim::Panics,
    Whim::MoreFds,
    Whim::FewerFds,
];

#[test]
fn a_message_that_encodes_otherwise_the_second_time_is_withdrawn_and_the_connection_goes_on() {
    isolated!(|| {
        within(LIMIT, || {
            // Which part the difference is in: the first, one in the middle, the last; and one whose last part is full.
            let places = [
                (0, 2 * SHORT),
                (SHORT, SHORT),
                (2 * SHORT, 0),
                (40 * PART - 10, 0),
            ];
            for (whim, (before, behind)) in WHIMS
                .into_iter()
                .flat_map(|whim| places.map(|at| (whim, at)))
            {
                if matches!(whim, Whim::Shorter | Whim::MuchLonger) && behind == 0 {
                    continue;
                }
                let open = OpenFds::now();
                let what = format!("{whim:?} after {before} bytes");
                let (value, pipes) = fickle(whim, before, behind);
                let (mut a, mut b) = Channel::pair().unwrap();
                let received =
                    std::thread::spawn(move || (b.receive::<String>(), b.receive_any(), b));
                match catch_unwind(AssertUnwindSafe(|| a.send(&value))) {
                    Err(_) => assert!(matches!(whim, Whim::Panics), "{what}"),
                    Ok(Err(ChannelError::Encode(error))) => {
                        assert_eq!(error.type_name, std::any::type_name::<Fickle>());
                        let said = words(&error);
                        assert!(said.contains("encoded twice"), "{what}: {said}");
                        let fails = matches!(whim, Whim::Fails);
                        assert_eq!(said.contains("once was enough"), fails, "{said}");
                    }
                    Ok(other) => panic!("{what}: {other:?}"),
                }
                a.send(&what).unwrap();
                drop(value);
                drop(a);
                let (next, end, b) = received.join().unwrap();
                assert_eq!(
                    next.unwrap().as_ref(),
                    Some(&what),
                    "nothing of the other one"
                );
                assert!(end.unwrap().is_none());
                drop(b);
                pipes.all_closed();
                let changes = open.changes(&OpenFds::now());
                assert!(changes.is_empty(), "{what}: {changes:?}");
            }
            // And one that does not change arrives.
            let (value, pipes) = fickle(Whim::None, SHORT, SHORT);
            let (mut a, mut b) = Channel::pair().unwrap();
            let received = std::thread::spawn(move || b.receive::<Fickle>().unwrap().unwrap());
            a.send(&value).unwrap();
            let received = received.join().unwrap();
            assert_eq!(received.behind.len(), SHORT);
            drop((received, value));
            pipes.all_closed();
        });
    });
}

#[test]
fn one_that_was_to_go_in_a_memory_file_or_to_oneself_is_an_error_and_nothing_is_sent() {
    isolated!(|| {
        for whim in WHIMS {
            let (value, pipes) = fickle(whim, SHORT, SHORT);
            let (mut a, mut b) = Channel::pair().unwrap();
            let sent = catch_unwind(AssertUnwindSafe(|| a.send_timeout(&value, LIMIT)));
            match sent {
                Err(_) => assert!(matches!(whim, Whim::Panics)),
                Ok(sent) => assert!(matches!(sent, Err(ChannelError::Encode(_))), "{sent:?}"),
            }
            value.times.set(0);
            let packet = prepared(&value);
            let kept = catch_unwind(AssertUnwindSafe(|| {
                packet.into_envelope_of(&value).map(drop)
            }));
            assert!(!matches!(kept, Ok(Ok(()))), "{whim:?}");
            a.send(&1_u8).unwrap();
            assert_eq!(b.receive().unwrap(), Some(1_u8));
            drop((value, a));
            pipes.all_closed();
        }
    });
}

/// The callback's own error is what is returned, and nothing is withdrawn: that is for whoever sends.
#[test]
fn an_error_of_whoever_sends_the_parts_ends_it_at_once() {
    #[derive(Debug)]
    struct Enough;
    impl From<EncodeError> for Enough {
        fn from(error: EncodeError) -> Enough {
            panic!("{error}");
        }
    }
    let value = of_encoded_size(3 * SHORT);
    for end in [0, 1, 5] {
        let seen = RefCell::new(Vec::new());
        let result = prepared(&value).send_parts(&value, |part| {
            seen.borrow_mut().push((part.index(), part.withdraws()));
            if part.index() == end {
                Err(Enough)
            } else {
                Ok(())
            }
        });
        assert!(matches!(result, Err(Enough)));
        let expected: Vec<_> = (0..=end).map(|index| (index, false)).collect();
        assert_eq!(seen.into_inner(), expected);
    }
}

#[test]
fn in_a_memory_file_there_is_room_for_252_and_one_more_is_an_error_that_names_the_type() {
    isolated!(|| {
        let (mut a, mut b) = Channel::pair().unwrap();
        for (number, fits) in [(MAX_FDS - 1, true), (MAX_FDS, false)] {
            let pipes = pipes(number);
            let ends = pipes.borrowed().into_iter();
            let ends: Vec<Fd> = ends
                .map(|end| Fd(end.try_clone_to_owned().unwrap()))
                .collect();
            let value = (Bytes(vec![1; 3 * PART]), ends);
            let sent = a.send_timeout(&value, LIMIT);
            if fits {
                sent.unwrap();
                let (bytes, ends) = b.receive::<(Bytes, Vec<Fd>)>().unwrap().unwrap();
                assert_eq!((bytes.len(), ends.len()), (3 * PART, number));
            } else {
                let said = words(&sent.unwrap_err());
                assert!(said.contains("Vec<occ_sck::fd::Fd>"), "{said}");
                assert!(said.contains("253 file") && said.contains("252"), "{said}");
            }
            drop(value);
            pipes.all_closed();
        }
        let value = of_encoded_size(3 * PART);
        let packet = prepared(&value);
        let many = pipes(MAX_FDS);
        let (c, _d) = Socket::pair().unwrap();
        let error = packet.send_value(&value, &c, &many.borrowed(), Deadline::Now);
        assert!(
            matches!(error, Err(SendError::TooManyFds { given: 254 })),
            "{error:?}"
        );
    });
}

#[test]
fn a_message_is_passed_on_as_it_came_with_all_that_came_with_it() {
    isolated!(|| {
        for size in [10, 3 * PART, 17 << 20] {
            let pipes = pipes(3);
            let ends = pipes.borrowed().into_iter();
            let mut ends = ends.map(|end| Fd(end.try_clone_to_owned().unwrap()));
            let value = (
                of_encoded_size(size),
                ends.next().unwrap(),
                ends.next().unwrap(),
            );
            let mut envelope = prepared(&value).into_envelope_of(&value).unwrap();
            envelope.fds.push(ends.next().unwrap().into_inner());
            drop((ends, value));
            let (mut last, first) = {
                let (a, b) = Socket::pair().unwrap();
                envelope.forward(&a, Deadline::Now).unwrap();
                (Channel::new(b, Limits::default()), envelope)
            };
            let forwarded = last.receive_any().unwrap().unwrap();
            assert_eq!(matches!(forwarded.body, Body::Blob(_)), size > PART);
            for envelope in [first, forwarded] {
                let (value, rest) = envelope.into_value_and_fds::<(Bytes, Fd, Fd)>().unwrap();
                assert!(value.0 == of_encoded_size(size));
                assert_eq!(rest.len(), 1);
                for (end, at) in [(&*value.1, 0), (&*value.2, 1), (&rest[0], 2)] {
                    rustix::io::write(end, b"x").unwrap();
                    rustix::io::read(&pipes.read[at], &mut [0; 1]).unwrap();
                }
            }
            pipes.all_closed();
        }
    });
}

/// A type that borrows its text for as long as it reads it.
#[derive(Debug, PartialEq)]
struct Borrowing(usize);

impl<'de> Deserialize<'de> for Borrowing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Borrowing, D::Error> {
        <&str>::deserialize(deserializer).map(|text| Borrowing(text.len()))
    }
}

impl Serialize for Borrowing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&"b".repeat(self.0))
    }
}

#[test]
fn a_type_that_borrows_while_it_is_read_is_read_up_to_16_mib() {
    for (len, fits) in [(3, true), (15 << 20, true), (17 << 20, false)] {
        let value = Borrowing(len);
        let packet = prepared(&value);
        let in_file = packet.blob(&value).unwrap();
        let (a, b) = Socket::pair().unwrap();
        packet.send_blob(&in_file, &a, &[], Deadline::Now).unwrap();
        let blob = Channel::new(b, Limits::default()).receive_any().unwrap();
        for envelope in [in_parts(&packet, &value).remove(0), blob.unwrap()] {
            match envelope.into_value::<Borrowing>() {
                Ok(value) => assert!(fits && value == Borrowing(len)),
                Err(error) => {
                    let said = words(&error);
                    assert!(!fits && said.contains("Borrowing"), "{said}");
                    assert!(said.contains("expected a borrowed string"), "{said}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "of a long value only the length is here")]
fn a_long_packet_is_not_sent_without_its_value() {
    let (a, _b) = Socket::pair().unwrap();
    let _ = prepared(&of_encoded_size(2 * SHORT)).send_part(0, &a, &[], Deadline::Now);
}
