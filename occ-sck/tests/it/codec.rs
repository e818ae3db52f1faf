//! The decoder reads what postcard writes, and refuses what postcard refuses.

use std::collections::{BTreeMap, HashMap};

use occ_sck::{Bytes, DecodeError, decode, encode_into};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::allocations::largest;
use crate::values::{Shape, shape};
use crate::words;

/// Every kind of thing but a character, of which postcard takes the first where there are two.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Thing {
    Unit,
    Signed(i8, i16, i32, i64, i128),
    Unsigned(u8, u16, u32, u64, u128),
    Flag(bool),
    Many(Vec<Thing>),
    Map(BTreeMap<String, Option<u16>>),
    Text { text: String, bytes: Bytes },
}

/// Both have the same to say of these bytes.
fn agree<T: DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let theirs = match postcard::take_from_bytes::<T>(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    };
    let ours = decode::<T>(bytes);
    assert_eq!(ours.as_ref().ok(), theirs.as_ref(), "{ours:?} of {bytes:?}");
}

fn agree_on_all(bytes: &[u8]) {
    agree::<Thing>(bytes);
    agree::<Vec<Thing>>(bytes);
    agree::<(bool, Option<u8>)>(bytes);
    agree::<u16>(bytes);
    agree::<i32>(bytes);
    agree::<u64>(bytes);
    agree::<i128>(bytes);
    agree::<String>(bytes);
    agree::<[u32; 3]>(bytes);
    agree::<HashMap<u8, Vec<i16>>>(bytes);
    agree::<Result<(), Box<str>>>(bytes);
}

proptest! {
    #[test]
    fn what_postcard_writes_is_read(value in shape()) {
        let bytes = postcard::to_stdvec(&value).unwrap();
        prop_assert_eq!(decode::<Shape>(&bytes).unwrap(), value);
    }

    #[test]
    fn what_we_write_is_read_by_postcard(value in shape()) {
        let mut bytes = Vec::new();
        encode_into(&value, &mut bytes).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Shape>(&bytes).unwrap(), value);
    }

    #[test]
    fn of_arbitrary_bytes_both_say_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        agree_on_all(&bytes);
    }

    /// Small numbers are lengths and variants that mean something.
    #[test]
    fn of_bytes_that_are_nearly_right_both_say_the_same(
        bytes in proptest::collection::vec(prop_oneof![0..8_u8, 0x78..0x88_u8, any::<u8>()], 0..40),
    ) {
        agree_on_all(&bytes);
    }

    #[test]
    fn of_a_value_with_a_fault_both_say_the_same(
        value in shape().prop_filter("without a character", |shape| !format!("{shape:?}").contains("Char")),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = postcard::to_stdvec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        // What the fault has made a character may be two.
        if !bytes.starts_with(&[6]) && !bytes.contains(&6) {
            let theirs = match postcard::take_from_bytes::<Shape>(&bytes) {
                Ok((value, [])) => Some(format!("{value:?}")),
                _ => None,
            };
            prop_assert_eq!(decode::<Shape>(&bytes).ok().map(|value| format!("{value:?}")), theirs);
        }
    }
}

#[test]
fn what_is_no_value_is_refused_and_why() {
    fn refused<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8], why: &str) {
        let said = words(&decode::<T>(bytes).unwrap_err());
        assert!(said.contains(why), "{bytes:?}: {said}");
        assert!(said.contains(std::any::type_name::<T>()), "{said}");
    }
    refused::<bool>(&[2], "2 is neither true nor false");
    refused::<Option<u8>>(&[2, 0], "2 is neither none nor some");
    refused::<String>(&[2, 0xc3, 0x28], "a text of 2 bytes is no UTF-8");
    refused::<String>(&[3, b'a'], "expected 3 more bytes, and 1 are left");
    refused::<u8>(&[], "expected 1 more bytes, and 0 are left");
    refused::<f64>(&[1, 2], "expected 8 more bytes, and 2 are left");
    refused::<u16>(&[0xff, 0xff, 4], "does not fit 16 bits");
    refused::<u16>(&[0x80, 0x80, 0x80, 0], "does not fit 16 bits");
    refused::<u32>(&[0xff, 0xff, 0xff, 0xff, 0x10], "does not fit 32 bits");
    refused::<u64>(&[0xff; 11], "does not fit 64 bits");
    refused::<u128>(&[0xff; 20], "does not fit 128 bits");
    refused::<u8>(&[1, 2], "1 of 2 bytes are left over");
    refused::<Result<u8, u8>>(&[2, 2], "expected `Ok` or `Err`");
    // One character, neither none nor two.
    assert_eq!(decode::<char>(&[2, 0xc3, 0xa4]).unwrap(), 'ä');
    for bytes in [&[0][..], &[2, b'a', b'b'], &[1, 0xff], &[5, 1, 2, 3, 4, 5]] {
        refused::<char>(bytes, "a character of");
    }
}

/// The words of a type's own `Deserialize` are not lost.
#[derive(Debug)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Picky, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!(
            "{number} is not to my taste"
        )))
    }
}

#[test]
fn what_a_type_says_against_a_value_is_told() {
    let said = words(&decode::<(u8, Picky)>(&[1, 7]).unwrap_err());
    assert!(said.contains("7 is not to my taste"), "{said}");
}

#[test]
fn a_length_that_cannot_be_true_takes_no_memory() {
    /// 2^60, and some bytes.
    const LONG: [u8; 20] = [
        0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ];
    fn refused<T: DeserializeOwned>(most: usize) {
        for bytes in [&LONG[..], &LONG[..9]] {
            let (decoded, largest) = largest(|| decode::<T>(bytes).map(drop));
            let error = decoded.unwrap_err();
            assert!(matches!(error, DecodeError::Bytes { .. }), "{error:?}");
            assert!(
                largest <= most,
                "{largest} bytes at once: {}",
                words(&error)
            );
        }
    }
    refused::<Vec<u8>>(1000);
    refused::<Vec<u64>>(1000);
    refused::<Vec<[u64; 32]>>(20_000);
    refused::<Vec<()>>(1000);
    refused::<Vec<Vec<()>>>(1000);
    refused::<String>(1000);
    refused::<Box<str>>(1000);
    refused::<Bytes>(1000);
    refused::<HashMap<u64, u64>>(1000);
    refused::<BTreeMap<(), ()>>(1000);
    refused::<std::path::PathBuf>(1000);
}

/// Elements that have no bytes are counted, and there may be many.
#[test]
fn a_sequence_of_nothing_is_as_long_as_it_was() {
    let mut bytes = Vec::new();
    encode_into(&vec![(); 1_000_000], &mut bytes).unwrap();
    assert_eq!(bytes.len(), 3);
    assert_eq!(decode::<Vec<()>>(&bytes).unwrap().len(), 1_000_000);
}
