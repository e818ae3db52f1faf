//! The assembler against a model of it: valid parts and invalid ones, in any order, and it says what the model says, and never holds
//! more than it may.

use std::sync::LazyLock;

use occ_sck::{
    Assembler, Body, Bytes, Deadline, Envelope, FrameError, Header, Limits, MAX_DATAGRAM, MAX_NAME,
    PART, Packet, Received, Socket, TypeKey, decode, kind,
};
use proptest::prelude::*;

use crate::allocations::largest;
use crate::malformed::{LIMIT, frame};

/// Memory that a header can cost before what it announces has come.
const ON_ITS_WORD: usize = (1 << 20) + PART + 2 * MAX_NAME;

/// A part of one of a few messages, as it was sent, or with something about it that is not.
#[derive(Clone, Debug)]
enum Piece {
    /// Part so many of message so many.
    Part(usize, usize),
    /// The same, with a change to its header.
    Changed(usize, usize, Change),
    /// Bytes that are no frame.
    Junk(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Kind,
    Id,
    Key,
    Total,
    Name,
    Flags,
}

/// What was sent: an id, and payload of as many bytes, which say whose they are.
struct Message {
    header: Header,
    payload: Vec<u8>,
}

const NAME: &str = "name";

static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
    let lengths = [
        0,
        1,
        40,
        PART,
        PART + 1,
        2 * PART,
        3 * PART + 300,
        LIMIT as usize,
        LIMIT as usize + 1,
    ];
    let message = |(id, len): (usize, usize)| Message {
        header: Header {
            kind: kind::USER,
            flags: 0,
            name_len: NAME.len() as u16,
            id: id as u32,
            part: 0,
            parts: len.div_ceil(PART).max(1) as u32,
            total: len as u64,
            key: TypeKey::of::<Bytes>(),
        },
        payload: (0..len).map(|at| (at / 7 + id * 31) as u8).collect(),
    };
    lengths.into_iter().enumerate().map(message).collect()
});

impl Message {
    fn part(&self, number: usize) -> Vec<u8> {
        let number = number % self.header.parts as usize;
        let payload = self.payload.chunks(PART).nth(number).unwrap_or_default();
        let header = Header {
            part: number as u32,
            name_len: if number == 0 { self.header.name_len } else { 0 },
            ..self.header
        };
        let name = if number == 0 { NAME } else { "" };
        frame(header, &[name.as_bytes(), payload].concat())
    }
}

/// Those of [`MESSAGES`] that are long. In the middle of a message of several parts there is most to be wrong.
const LONG: [usize; 6] = [4, 6, 6, 6, 7, 8];

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => (0..9_usize, 0..4_usize).prop_map(|(of, part)| Piece::Part(of, part)),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Piece::Junk),
    ]
}

/// The parts of a message from its first on, in order, and something about one of them that is not as it was sent.
fn run() -> impl Strategy<Value = Vec<Piece>> {
    let change = prop_oneof![
        Just(Change::Kind),
        Just(Change::Id),
        Just(Change::Key),
        Just(Change::Total),
        Just(Change::Name),
        Just(Change::Flags),
    ];
    let fault = proptest::option::weighted(0.8, (0..3_usize, change));
    (proptest::sample::select(&LONG[..]), 2..5_usize, fault).prop_map(|(of, parts, fault)| {
        let piece = |part| match fault {
            Some((at, change)) if at == part => Piece::Changed(of, part, change),
            _ => Piece::Part(of, part),
        };
        (0..parts).map(piece).collect()
    })
}

/// Pieces, among which some messages are whole.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let some = prop_oneof![
        6 => run(),
        3 => piece().prop_map(|piece| vec![piece]),
        // All of the longest that is let in.
        1 => Just((0..17).map(|part| Piece::Part(7, part)).collect()),
    ];
    proptest::collection::vec(some, 1..6).prop_map(|runs| runs.concat())
}

fn change(datagram: &mut [u8], change: Change) {
    let at = match change {
        Change::Kind => 0,
        Change::Flags => 1,
        Change::Name => 2,
        Change::Id => 4,
        Change::Total => 16,
        Change::Key => 24,
    };
    datagram[at] ^= 0x40;
}

/// The assembler, said in another way: it keeps all datagrams of what has begun, and looks at each of them again.
#[derive(Default)]
struct Model {
    begun: Vec<Vec<u8>>,
}

enum Expected {
    Part,
    Message {
        kind: u8,
        id_parts: u32,
        key: TypeKey,
        name: String,
        payload: Vec<u8>,
    },
    Refused,
}

impl Model {
    fn push(&mut self, datagram: &[u8]) -> Expected {
        let before = std::mem::take(&mut self.begun);
        let Ok((header, _, _)) = Header::parse(datagram) else {
            return Expected::Refused;
        };
        // Nothing here has a descriptor, so no memory file.
        if header.total > LIMIT || header.flags != 0 || header.part as usize != before.len() {
            return Expected::Refused;
        }
        let same = |other: &Vec<u8>| {
            let (other, _, _) = Header::parse(other).unwrap();
            (other.kind, other.id, other.parts, other.total, other.key)
                == (
                    header.kind,
                    header.id,
                    header.parts,
                    header.total,
                    header.key,
                )
        };
        if !before.iter().all(same) {
            return Expected::Refused;
        }
        let mut all = before;
        all.push(datagram.to_vec());
        if all.len() < header.parts as usize {
            self.begun = all;
            return Expected::Part;
        }
        let parsed: Vec<_> = all
            .iter()
            .map(|part| Header::parse(part).unwrap())
            .collect();
        Expected::Message {
            kind: header.kind,
            id_parts: header.parts,
            key: header.key,
            name: parsed[0].1.to_owned(),
            payload: parsed
                .iter()
                .flat_map(|(_, _, payload)| payload.to_vec())
                .collect(),
        }
    }
}

fn held(envelope: &Envelope) -> usize {
    match &envelope.body {
        Body::Inline { bytes, .. } => bytes.capacity(),
        Body::Segments(segments) => segments.len() as usize,
        Body::Blob(_) => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Valid parts and invalid ones, in any order: part for part it says what the model says, and an error forgets what had begun.
    #[test]
    fn the_assembler_is_its_model(pieces in pieces()) {
        let messages = &MESSAGES[..];
        let mut assembler = Assembler::new(Limits { message: LIMIT });
        let mut model = Model::default();
        for piece in &pieces {
            let datagram = match piece {
                Piece::Part(of, part) => messages[*of].part(*part),
                Piece::Changed(of, part, how) => {
                    let mut datagram = messages[*of].part(*part);
                    change(&mut datagram, *how);
                    datagram
                }
                Piece::Junk(bytes) => bytes.clone(),
            };
            let (pushed, taken) = largest(|| assembler.push(&datagram, Vec::new()));
            prop_assert!(taken <= ON_ITS_WORD, "{} bytes at once", taken);
            match (pushed, model.push(&datagram)) {
                (Ok(None), Expected::Part) => prop_assert!(assembler.is_partial()),
                (Err(_), Expected::Refused) => prop_assert!(!assembler.is_partial()),
                (Ok(Some(envelope)), Expected::Message { kind, id_parts, key, name, payload }) => {
                    prop_assert!(!assembler.is_partial());
                    prop_assert_eq!((envelope.kind, envelope.key), (kind, key));
                    prop_assert_eq!(envelope.type_name(), name);
                    prop_assert!(*envelope.bytes().unwrap() == payload[..], "{} parts", id_parts);
                    // No more than was announced, and what is set aside beforehand.
                    prop_assert!(held(&envelope) <= ON_ITS_WORD, "{} bytes", held(&envelope));
                }
                (pushed, _) => prop_assert!(false, "{:?} gave {:?}", piece, pushed),
            }
        }
    }
}

/// The model gives messages at all: what compares it with the assembler is no comparison of refusals.
#[test]
fn of_the_parts_of_a_message_in_order_the_model_makes_the_message() {
    for message in MESSAGES
        .iter()
        .filter(|message| message.header.total <= LIMIT)
    {
        let mut model = Model::default();
        let last = message.header.parts as usize - 1;
        for part in 0..=last {
            match model.push(&message.part(part)) {
                Expected::Part => assert!(part < last),
                Expected::Message { payload, name, .. } => {
                    assert!(part == last && payload == message.payload && name == NAME);
                }
                Expected::Refused => panic!("part {part} of {}", message.header.total),
            }
        }
    }
}

/// A limit holds for what is announced, at the first part, and for a message of exactly the limit it does not.
#[test]
fn what_is_over_the_limit_is_refused_at_its_first_part() {
    let [.., most, too_much] = &MESSAGES[..] else {
        panic!("messages of the limit and over it")
    };
    let mut assembler = Assembler::new(Limits { message: LIMIT });
    assert!(assembler.push(&most.part(0), Vec::new()).unwrap().is_none());
    let mut assembler = Assembler::new(Limits { message: LIMIT });
    let error = assembler.push(&too_much.part(0), Vec::new()).unwrap_err();
    let over = FrameError::OverLimit {
        total: LIMIT + 1,
        limit: LIMIT,
    };
    assert_eq!(error, over);
}

/// The memory that a message of several parts is put together in, where some was lent before.
#[test]
fn memory_that_is_lent_is_used_for_a_message_of_several_parts_and_for_no_other() {
    let put = |assembler: &mut Assembler, len: usize| {
        let packet = Packet::of(0, &Bytes(vec![7; len])).unwrap();
        let (a, b) = Socket::pair().unwrap();
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut whole = None;
        for part in 0..packet.parts() {
            packet.send_part(part, &a, &[], Deadline::Now).unwrap();
            let Received::Datagram { len, .. } = b
                .receive(&mut buffer, &mut Vec::new(), Deadline::Now)
                .unwrap()
            else {
                panic!("a part was sent");
            };
            whole = assembler.push(&buffer[..len], Vec::new()).unwrap();
        }
        match whole.unwrap().body {
            Body::Inline { bytes, at } => {
                let value: Bytes = decode(&bytes[at..]).unwrap();
                assert_eq!(value, Bytes(vec![7; len]));
                bytes.as_ptr()
            }
            other => panic!("{other:?}"),
        }
    };
    let mut assembler = Assembler::default();
    // What was in it before is not in the message.
    let memory = vec![1; 1 << 20];
    let place = memory.as_ptr();
    assembler.lend(memory);
    assert_ne!(put(&mut assembler, 10), place);
    assert_eq!(put(&mut assembler, 3 * PART), place);
    assert_ne!(put(&mut assembler, 3 * PART), place);
}
