//! Whatever bytes arrive: no panic, no memory on their word, and no message that nobody sent.

use occ_sck::{
    Assembler, Bytes, HEADER, Header, Limits, MAX_NAME, PART, Packet, TypeKey, decode, kind,
};
use proptest::prelude::*;

use crate::allocations::largest;
use crate::malformed::{LIMIT, frame, header, part};

/// Memory that a header can cost before what it announces has come.
const ON_ITS_WORD: usize = (1 << 20) + PART + 2 * MAX_NAME;

#[test]
fn a_message_that_is_only_announced_takes_little_memory() {
    let total = 4_u64 << 30;
    let header = Header {
        total,
        parts: total.div_ceil(PART as u64) as u32,
        ..header()
    };
    let datagram = frame(header, &vec![0; PART]);
    let mut assembler = Assembler::default();
    let (pushed, largest) = largest(|| assembler.push(&datagram, Vec::new()));
    assert!(pushed.unwrap().is_none());
    assert!(assembler.is_partial());
    assert!(largest <= ON_ITS_WORD, "{largest} bytes at once");
}

fn any_header() -> impl Strategy<Value = Header> {
    // Numbers near those that mean something, and others.
    let small = prop_oneof![0..4_u32, any::<u32>()];
    let total = prop_oneof![
        0..200_u64,
        Just(PART as u64),
        Just(PART as u64 + 1),
        0..LIMIT * 2,
        any::<u64>()
    ];
    let name_len = prop_oneof![0..20_u16, any::<u16>()];
    (
        any::<u8>(),
        0..4_u8,
        name_len,
        0..3_u32,
        small.clone(),
        small,
        total,
        any::<[u8; 16]>(),
    )
        .prop_map(
            |(kind, flags, name_len, id, part, parts, total, key)| Header {
                kind,
                flags,
                name_len,
                id,
                part,
                parts,
                total,
                key: TypeKey::from_bytes(key),
            },
        )
}

/// Arbitrary bytes, and bytes behind a header that may be almost right.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any_header(), proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(header, rest)| frame(header, &rest)),
        (0..6_u32, any_header()).prop_map(|(number, like)| part(number.min(3), |header| {
            header.part = number;
            header.id = like.id;
        })),
    ]
}

/// Messages of one to four parts.
fn valid_traffic() -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    [0, 5, PART, 2 * PART + 1, 3 * PART + 5]
        .into_iter()
        .enumerate()
        .map(|(id, len)| {
            let bytes = vec![id as u8 + 1; len];
            let mut packet = Packet::of(kind::USER, &Bytes(bytes.clone())).unwrap();
            packet.set_id(id as u32);
            (bytes, crate::datagrams(&packet))
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Fault {
    Dropped(usize),
    Doubled(usize),
    Swapped(usize, usize),
    Cut(usize, usize),
    Flipped(usize, usize, u8),
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = any::<u16>().prop_map(usize::from);
    prop_oneof![
        at.clone().prop_map(Fault::Dropped),
        at.clone().prop_map(Fault::Doubled),
        (at.clone(), at.clone()).prop_map(|(a, b)| Fault::Swapped(a, b)),
        (at.clone(), at.clone()).prop_map(|(a, b)| Fault::Cut(a, b)),
        // In the header, where every byte means something but those of the type's key.
        (at, 0..24_usize, 1..=255_u8).prop_map(|(at, byte, bits)| Fault::Flipped(at, byte, bits)),
    ]
}

fn apply(fault: &Fault, traffic: &mut Vec<Vec<u8>>) {
    let count = traffic.len();
    if count == 0 {
        return;
    }
    match *fault {
        Fault::Dropped(at) => {
            traffic.remove(at % count);
        }
        Fault::Doubled(at) => traffic.insert(at % count, traffic[at % count].clone()),
        Fault::Swapped(a, b) => traffic.swap(a % count, b % count),
        Fault::Cut(at, len) => {
            let datagram = &mut traffic[at % count];
            datagram.truncate(len % (datagram.len() + 1));
        }
        Fault::Flipped(at, byte, bits) => {
            if let Some(byte) = traffic[at % count].get_mut(byte) {
                *byte ^= bits;
            }
        }
    }
}

proptest! {
    #[test]
    fn a_header_is_read_back_as_it_was_written(like in any_header(), name in "\\PC{0,40}", len in 0..3000_u64) {
        let header = Header {
            flags: 0,
            name_len: name.len() as u16,
            part: 0,
            parts: 1,
            total: len,
            ..like
        };
        let payload = vec![9; len as usize];
        let datagram = frame(header, &[name.as_bytes(), &payload].concat());
        prop_assert_eq!(Header::parse(&datagram), Ok((header, &name[..], &payload[..])));
        prop_assert_eq!(Header::parse_whole(&datagram), Some(header));
    }

    #[test]
    fn what_is_parsed_describes_exactly_the_bytes(datagram in any_datagram()) {
        if let Ok((header, name, payload)) = Header::parse(&datagram) {
            prop_assert_eq!(name.len(), usize::from(header.name_len));
            prop_assert_eq!(HEADER + name.len() + payload.len(), datagram.len());
            prop_assert_eq!(&datagram[..HEADER], &header.to_bytes());
        }
        let parsed = Header::parse(&datagram).ok().map(|(header, _, _)| header);
        let whole = parsed.filter(|header| (header.flags, header.parts) == (0, 1));
        prop_assert_eq!(Header::parse_whole(&datagram), whole);
    }

    #[test]
    fn arbitrary_datagrams_never_panic_nor_take_memory_beyond_the_limit(
        datagrams in proptest::collection::vec(any_datagram(), 1..12),
    ) {
        let mut assembler = Assembler::new(Limits { message: LIMIT });
        for datagram in &datagrams {
            let (pushed, largest) = largest(|| assembler.push(datagram, Vec::new()));
            prop_assert!(largest <= ON_ITS_WORD, "{} bytes at once", largest);
            if let Ok(Some(envelope)) = pushed {
                prop_assert!(envelope.len() <= LIMIT);
            }
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic_nor_take_memory_on_their_word(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        type Odd = (Vec<String>, Option<Vec<(u8, Box<[u64]>)>>, char, std::path::PathBuf);
        let (_, largest) = largest(|| {
            let _ = decode::<Odd>(&payload);
            let _ = decode::<Vec<u128>>(&payload);
            let _ = decode::<Vec<Vec<Bytes>>>(&payload);
            let _ = decode::<std::collections::HashMap<u64, String>>(&payload);
            let _ = decode::<Bytes>(&payload);
        });
        // What serde sets aside for a length that it was told, at most; a table rounds it up.
        prop_assert!(largest <= 4 << 20, "{} bytes at once", largest);
    }

    /// Whatever happens to the datagrams, what comes out is one of the messages that went in.
    #[test]
    fn faulty_traffic_gives_whole_messages_or_an_error(faults in proptest::collection::vec(fault(), 1..4)) {
        let messages = valid_traffic();
        let mut traffic: Vec<_> = messages.iter().flat_map(|(_, parts)| parts.clone()).collect();
        for fault in &faults {
            apply(fault, &mut traffic);
        }
        let mut assembler = Assembler::new(Limits { message: LIMIT });
        for datagram in &traffic {
            match assembler.push(datagram, Vec::new()) {
                Ok(None) => {}
                Ok(Some(envelope)) => {
                    // A name cut short moves bytes from it into the payload; the value then says so.
                    if let Ok(value) = envelope.decode::<Bytes>() {
                        prop_assert!(messages.iter().any(|(bytes, _)| *bytes == value.0));
                    }
                }
                Err(_) => break,
            }
        }
    }
}

#[test]
fn traffic_without_a_fault_gives_every_message() {
    let mut assembler = Assembler::default();
    for (bytes, datagrams) in valid_traffic() {
        for (at, datagram) in datagrams.iter().enumerate() {
            let pushed = assembler.push(datagram, Vec::new()).unwrap();
            assert_eq!(pushed.is_some(), at + 1 == datagrams.len());
            if let Some(envelope) = pushed {
                assert!(envelope.decode::<Bytes>().unwrap().0 == bytes);
            }
        }
    }
}
