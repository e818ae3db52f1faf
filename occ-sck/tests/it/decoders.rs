//! The decoders of headers and values: what is taken is what was said, what is refused is wrong, and neither takes memory on the word of
//! a length.

use std::collections::HashMap;
use std::path::PathBuf;

use occ_sck::{
    Assembler, Bytes, DecodeError, HEADER, Header, MAX_DATAGRAM, PART, Packet, TypeKey, decode,
    kind,
};
use proptest::prelude::*;

use crate::allocations::largest;
use crate::malformed::{LIMIT, frame};

/// Bit 0 of the flags.
const IN_BLOB: u8 = 1;

fn any_key() -> impl Strategy<Value = TypeKey> {
    any::<[u8; 16]>().prop_map(TypeKey::from_bytes)
}

/// A header whose numbers need not agree.
fn any_header() -> impl Strategy<Value = Header> {
    (
        (any::<u8>(), any::<u8>(), any::<u16>(), any::<u32>()),
        (any::<u32>(), any::<u32>(), any::<u64>(), any_key()),
    )
        .prop_map(
            |((kind, flags, name_len, id), (part, parts, total, key))| Header {
                kind,
                flags,
                name_len,
                id,
                part,
                parts,
                total,
                key,
            },
        )
}

/// How many bytes of payload a part carries, if the header's numbers agree: said in another way than the decoder does.
fn payload_of(header: &Header) -> Option<usize> {
    if header.flags == IN_BLOB {
        return (header.part == 0 && header.parts == 1).then_some(0);
    }
    let total = u128::from(header.total);
    let (first, part) = (u128::from(header.part) * PART as u128, PART as u128);
    let last = header.part.checked_add(1)? == header.parts;
    let fits = if last {
        // The last ends with the message, and only that of no bytes is empty.
        first <= total && total <= first + part && (total > first || header.parts == 1)
    } else {
        header.part < header.parts
            && total > (u128::from(header.parts) - 1) * part
            && total <= u128::from(header.parts) * part
    };
    fits.then(|| usize::try_from((total - first).min(part)).unwrap())
}

/// A header that makes sense or nearly does, and as many bytes as it wants.
fn near_datagram() -> impl Strategy<Value = Vec<u8>> {
    let total = prop_oneof![
        0..300_u64,
        PART as u64 - 2..PART as u64 + 3,
        2 * PART as u64 - 2..2 * PART as u64 + 3,
        Just(LIMIT),
        LIMIT + 1..LIMIT * 3,
        any::<u64>(),
    ];
    let off_by = prop_oneof![8 => Just(0_i64), 1 => Just(-1), 1 => Just(1)];
    (
        any_header(),
        "\\PC{0,20}",
        total,
        0..4_u32,
        off_by.clone(),
        off_by,
        0..20_u8,
    )
        .prop_map(|(like, name, total, part, parts_off, len_off, flags)| {
            let parts = total.div_ceil(PART as u64).max(1);
            let mut header = Header {
                flags: flags.min(3) % 3,
                part: part.min(parts as u32),
                parts: (parts as u32).wrapping_add(parts_off as u32),
                total,
                ..like
            };
            let name = if header.part == 0 { &name[..] } else { "" };
            header.name_len = name.len() as u16;
            let payload = payload_of(&header).unwrap_or(7) as i64 + len_off;
            let payload = vec![0xab; payload.max(0) as usize];
            frame(header, &[name.as_bytes(), &payload].concat())
        })
}

proptest! {
    /// Whatever stands in a header, it stands there once it is written.
    #[test]
    fn a_header_keeps_every_number(header in any_header()) {
        let bytes = header.to_bytes();
        prop_assert_eq!(bytes[0], header.kind);
        prop_assert_eq!(bytes[1], header.flags);
        prop_assert_eq!(bytes[2..4].to_vec(), header.name_len.to_le_bytes());
        prop_assert_eq!(bytes[4..8].to_vec(), header.id.to_le_bytes());
        prop_assert_eq!(bytes[8..12].to_vec(), header.part.to_le_bytes());
        prop_assert_eq!(bytes[12..16].to_vec(), header.parts.to_le_bytes());
        prop_assert_eq!(bytes[16..24].to_vec(), header.total.to_le_bytes());
        prop_assert_eq!(bytes[24..].to_vec(), header.key.to_bytes());
    }

    /// It is taken if its numbers agree with each other and with its length, and refused if not; and it takes no memory.
    #[test]
    fn a_datagram_is_parsed_exactly_if_its_numbers_agree(datagram in near_datagram()) {
        let (parsed, taken) = largest(|| Header::parse(&datagram));
        prop_assert_eq!(taken, 0);
        let mut head = [0; HEADER];
        head.copy_from_slice(&datagram[..HEADER]);
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let header = Header {
            kind: head[0],
            flags: head[1],
            name_len: u16::from_le_bytes([head[2], head[3]]),
            id: number(4),
            part: number(8),
            parts: number(12),
            total: u64::from(number(16)) | u64::from(number(20)) << 32,
            key: TypeKey::from_bytes(head[24..].try_into().unwrap()),
        };
        let name_len = usize::from(header.name_len);
        let named = HEADER + name_len;
        let agrees = header.flags <= IN_BLOB
            && (header.part == 0 || name_len == 0)
            && payload_of(&header).is_some_and(|payload| named + payload == datagram.len());
        match parsed {
            Ok((found, name, payload)) => {
                prop_assert!(agrees, "{:?} was taken", header);
                prop_assert_eq!(found, header);
                prop_assert_eq!(found.to_bytes(), head);
                prop_assert_eq!(name.as_bytes(), &datagram[HEADER..named]);
                prop_assert_eq!(payload, &datagram[named..]);
            }
            Err(error) => prop_assert!(!agrees, "{:?} was refused: {}", header, error),
        }
    }
}

type Deep = (
    Vec<(bool, String)>,
    Option<Box<[u32]>>,
    HashMap<u8, PathBuf>,
);

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Odd {
    Nothing,
    One(i64),
    Two { text: String, bytes: Bytes },
    Many(Vec<Odd>),
}

fn odd() -> impl Strategy<Value = Odd> {
    let leaf = prop_oneof![
        Just(Odd::Nothing),
        any::<i64>().prop_map(Odd::One),
        ("\\PC{0,20}", proptest::collection::vec(any::<u8>(), 0..50)).prop_map(|(text, bytes)| {
            Odd::Two {
                text,
                bytes: Bytes(bytes),
            }
        }),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        proptest::collection::vec(inner, 0..5).prop_map(Odd::Many)
    })
}

/// A change to the bytes of a value.
fn damage() -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4)
}

/// What serde sets aside for a length that it was told, at most, and a table rounds up; and what comes.
const OF_A_VALUE: usize = 4 << 20;

proptest! {
    #[test]
    fn a_value_comes_out_of_its_packet_and_is_of_no_other_type(value in odd(), id in any::<u32>()) {
        let mut packet = Packet::of(kind::USER, &value).unwrap();
        packet.set_id(id);
        let mut assembler = Assembler::default();
        let mut envelope = None;
        for datagram in crate::datagrams(&packet) {
            prop_assert!(datagram.len() <= MAX_DATAGRAM && envelope.is_none());
            let (header, _, _) = Header::parse(&datagram).unwrap();
            prop_assert_eq!(header.id, id);
            envelope = assembler.push(&datagram, Vec::new()).unwrap();
        }
        let envelope = envelope.unwrap();
        prop_assert_eq!(envelope.decode::<Odd>().unwrap(), value);
        let other = envelope.decode::<Deep>();
        let refused = matches!(other, Err(DecodeError::WrongType { .. }));
        prop_assert!(refused, "{:?}", other);
        // What is sent on without being decoded is the same.
        let bytes = envelope.bytes().unwrap();
        let again = Packet::raw(envelope.kind, envelope.key, envelope.type_name(), &bytes).into_envelope();
        prop_assert_eq!(again.decode::<Odd>().unwrap(), envelope.decode::<Odd>().unwrap());
        prop_assert_eq!(again.type_name(), envelope.type_name());
    }

    /// Bytes that were those of a value are one of its type, or an error, with little memory; and what is read is what they say.
    #[test]
    fn a_damaged_value_is_another_or_an_error(value in odd(), damage in damage(), cut in any::<Option<u8>>()) {
        let packet = Packet::of(kind::USER, &value).unwrap();
        let mut bytes = packet.payload().to_vec();
        for (at, byte) in damage {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(usize::from(cut));
        }
        let (decoded, taken) = largest(|| decode::<Odd>(&bytes));
        prop_assert!(taken <= OF_A_VALUE, "{} bytes at once", taken);
        if let Ok(decoded) = decoded {
            let mut again = Vec::new();
            occ_sck::encode_into(&decoded, &mut again).unwrap();
            prop_assert_eq!(decode::<Odd>(&again).unwrap(), decoded);
        }
        let (_, taken) = largest(|| {
            drop(decode::<Deep>(&bytes));
            drop(decode::<HashMap<u64, Vec<Bytes>>>(&bytes));
            drop(decode::<Vec<Option<String>>>(&bytes));
            drop(decode::<(u128, i128, f64, char)>(&bytes));
        });
        prop_assert!(taken <= OF_A_VALUE, "{} bytes at once", taken);
    }
}
