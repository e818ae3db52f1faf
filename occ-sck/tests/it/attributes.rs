//! What serde's attributes ask for and the format cannot carry is an error that names the type.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use occ_sck::{Channel, ChannelError, Term, decode, encode_into};
use serde::{Deserialize, Serialize};

/// What sending `value` fails with; nothing of it was sent.
#[track_caller]
fn refused<T: Term>(value: &T) -> String {
    let (mut a, mut b) = Channel::pair().unwrap();
    let error = a.send(value).unwrap_err();
    assert!(matches!(error, ChannelError::Encode(_)), "{error:?}");
    a.send(&"after it".to_string()).unwrap();
    assert_eq!(b.receive::<String>().unwrap().unwrap(), "after it");

    let words = crate::words(&error);
    let name = std::any::type_name::<T>();
    assert!(
        words.starts_with(&format!("cannot encode a `{name}`: ")),
        "{words}"
    );

    let mut out = vec![1, 2];
    encode_into(value, &mut out).unwrap_err();
    assert_eq!(out, [1, 2], "what was written of it is taken back");
    words
}

/// What decoding `value`, which can be sent, fails with.
#[track_caller]
fn unreadable<T: Term>(value: &T) -> String {
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(value).unwrap();
    let Err(error) = b.receive::<T>() else {
        panic!("it was read");
    };
    assert!(matches!(error, ChannelError::Decode(_)), "{error:?}");
    let words = crate::words(&error);
    let name = std::any::type_name::<T>();
    assert!(
        words.starts_with(&format!("cannot decode a `{name}`: ")),
        "{words}"
    );
    words
}

#[track_caller]
fn arrives<T: Term + PartialEq + std::fmt::Debug>(value: &T) {
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(value).unwrap();
    assert_eq!(b.receive::<T>().unwrap().as_ref(), Some(value));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    id: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<u8>,
    more: Vec<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum SparseVariant {
    Full {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
    },
}

/// postcard writes what is left and reads it as something else, without a word.
#[test]
fn a_field_that_is_left_out_is_refused_when_sent_and_named() {
    let sparse = |note| Sparse {
        id: 1,
        note,
        more: vec![0],
    };
    let wrong: Sparse = postcard::from_bytes(&postcard::to_stdvec(&sparse(None)).unwrap())
        .unwrap_or_else(|_| sparse(Some(0)));
    assert_ne!(wrong, sparse(None));

    let words = refused(&sparse(None));
    assert!(
        words.contains("field `note` of `Sparse` is left out"),
        "{words}"
    );
    let words = refused(&vec![Some((1_u8, sparse(None)))]);
    assert!(
        words.contains("field `note` of `Sparse` is left out"),
        "{words}"
    );
    let words = refused(&SparseVariant::Full { list: vec![] });
    assert!(words.contains("field `list` of `SparseVariant`"), "{words}");

    // Only a value that leaves it out is refused.
    arrives(&sparse(Some(3)));
    arrives(&SparseVariant::Full { list: vec![1] });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[test]
fn a_length_that_is_not_known_beforehand_is_refused_when_sent() {
    let words = refused(&Flattened {
        id: 1,
        rest: BTreeMap::new(),
    });
    assert!(words.contains("does not know its length"), "{words}");
}

#[derive(Debug, Deserialize)]
struct Liar(Vec<u8>);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut seq = serializer.serialize_seq(Some(2))?;
        for byte in &self.0 {
            seq.serialize_element(byte)?;
        }
        seq.end()
    }
}

#[derive(Debug, Deserialize)]
struct LiarMap(BTreeMap<u8, u8>);

impl Serialize for LiarMap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[test]
fn a_length_that_is_not_true_is_refused_when_sent() {
    let words = refused(&Liar(vec![1, 2, 3]));
    assert!(words.contains("announced 2 elements and gave 3"), "{words}");
    let words = refused(&Liar(vec![]));
    assert!(words.contains("announced 2 elements and gave 0"), "{words}");
    let words = refused(&LiarMap(BTreeMap::from([(1, 1)])));
    assert!(words.contains("announced 2 elements and gave 1"), "{words}");
}

#[test]
fn a_path_that_is_no_text_is_refused_when_sent() {
    let bad = PathBuf::from(OsString::from_vec(b"/tmp/\xff".to_vec()));
    let words = refused(&bad);
    assert!(words.contains("UTF-8"), "{words}");
    refused(&(1_u8, Some(bad)));
    arrives(&PathBuf::from("/tmp/ä"));
    // For those who need all paths.
    arrives(&OsString::from_vec(b"/tmp/\xff".to_vec()));
}

#[test]
fn words_of_a_types_own_refusal_arrive_at_the_caller() {
    struct Stubborn;

    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not on a Sunday"))
        }
    }
    let error = encode_into(&Stubborn, &mut Vec::new()).unwrap_err();
    assert!(crate::words(&error).ends_with("not on a Sunday"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Unit,
    Struct { number: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
enum Adjacent {
    Unit,
    Newtype(u32),
    Tuple(u8, String),
    Struct { number: u32 },
}

#[test]
fn enums_that_do_not_number_their_variants_fail_when_received() {
    unreadable(&Untagged::Number(1));
    unreadable(&Untagged::Text("1".into()));
    unreadable(&Tagged::Unit);
    unreadable(&Tagged::Struct { number: 1 });
    unreadable(&vec![Some(Tagged::Unit)]);
    unreadable(&Adjacent::Unit);
    unreadable(&Adjacent::Newtype(7));
    unreadable(&Adjacent::Tuple(1, "x".into()));
    unreadable(&Adjacent::Struct { number: 3 });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skipping {
    kept: u8,
    #[serde(skip)]
    skipped: u8,
    #[serde(rename = "other", alias = "another", default)]
    renamed: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent(Vec<u8>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Converted(String);

impl From<Converted> for String {
    fn from(value: Converted) -> String {
        value.0
    }
}

impl TryFrom<String> for Converted {
    type Error = String;

    fn try_from(text: String) -> Result<Converted, String> {
        Ok(Converted(text))
    }
}

#[test]
fn attributes_that_do_not_depend_on_the_value_arrive() {
    arrives(&Transparent(vec![1, 2]));
    arrives(&Converted("x".into()));
    let mut bytes = Vec::new();
    let value = Skipping {
        kept: 1,
        skipped: 2,
        renamed: "r".into(),
    };
    encode_into(&value, &mut bytes).unwrap();
    let read: Skipping = decode(&bytes).unwrap();
    assert_eq!(
        read,
        Skipping {
            skipped: 0,
            ..value
        }
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Gap {
    First,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is there to be skipped")]
    Skipped,
    Second,
    Third,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OneSided {
    #[serde(skip_serializing, default)]
    read_only: u8,
    value: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unnamed(
    #[serde(skip_serializing_if = "Option::is_none")] Option<u8>,
    u8,
    u8,
);

/// The limits that the documentation names: nothing in the bytes tells.
#[test]
fn what_writer_and_reader_number_differently_is_not_noticed_when_sent() {
    arrives(&Gap::First);
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&Gap::Second).unwrap();
    assert_eq!(b.receive::<Gap>().unwrap(), Some(Gap::Third));
    unreadable(&Gap::Third);

    unreadable(&OneSided {
        read_only: 0,
        value: 1,
    });
    arrives(&Unnamed(Some(1), 2, 3));
    unreadable(&Unnamed(None, 2, 3));
    a.send(&Unnamed(None, 0, 3)).unwrap();
    assert!(b.receive::<Unnamed>().is_err());
}
