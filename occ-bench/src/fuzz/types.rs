//! Types that messages are decoded as, whatever was sent.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use occ_core::protocol::{News, Reply, Request, ShortReport, Wanted};
use occ_sck::{Bytes, DecodeError, Envelope, Fd, TypeKey, decode, type_name_of};
use occasional::Pid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A type, as the corpus calls it.
pub(crate) struct Type {
    pub(crate) name: &'static str,
    pub(crate) type_name: &'static str,
    pub(crate) key: TypeKey,
    /// As another program calls it.
    pub(crate) by_name: TypeKey,
    /// Reads one from bytes.
    pub(crate) decode: fn(&[u8]) -> Result<(), DecodeError>,
    /// Reads one from a message, if it is of that type.
    pub(crate) decode_from: fn(&Envelope) -> Result<(), DecodeError>,
    /// Makes one of a message, and of what came with it.
    pub(crate) make_of: fn(Envelope) -> Result<(), DecodeError>,
}

/// Something of everything that the format has.
#[derive(Serialize, Deserialize)]
enum Odd {
    Nothing,
    Numbers(u8, i16, u32, i64, u128, f32, f64),
    Texts(Vec<String>, Option<char>, PathBuf),
    Deep {
        inner: Option<Box<Odd>>,
        pairs: Vec<(bool, Box<[u64]>)>,
    },
}

fn of<T: DeserializeOwned + 'static>(name: &'static str) -> Type {
    Type {
        name,
        type_name: type_name_of::<T>(),
        key: TypeKey::of::<T>(),
        by_name: TypeKey::by_name::<T>(),
        decode: |bytes| decode::<T>(bytes).map(drop),
        decode_from: |envelope| envelope.decode::<T>().map(drop),
        make_of: |envelope| envelope.into_value::<T>().map(drop),
    }
}

pub(crate) static ALL: LazyLock<Vec<Type>> = LazyLock::new(|| {
    vec![
        of::<()>("unit"),
        of::<u64>("u64"),
        of::<String>("string"),
        of::<Bytes>("bytes"),
        of::<Vec<u64>>("numbers"),
        of::<Vec<Vec<Bytes>>>("lists"),
        of::<HashMap<u64, String>>("map"),
        of::<Odd>("odd"),
        of::<Pid>("pid"),
        of::<Request>("request"),
        of::<Wanted>("wanted"),
        of::<Reply>("reply"),
        of::<News>("news"),
        of::<ShortReport>("report"),
        of::<(u64, Option<u32>)>("which"),
        of::<Vec<(u8, Fd)>>("fds"),
        of::<(Fd, String, Option<Fd<std::fs::File>>)>("open"),
    ]
});

pub(crate) fn named(name: &str) -> Option<&'static Type> {
    ALL.iter().find(|of| of.name == name)
}

pub(crate) fn of_key(key: &[u8]) -> Option<&'static Type> {
    ALL.iter().find(|of| of.key.to_bytes() == *key)
}
