//! A type's key tells it apart from every other, in all processes of one image.

use std::any::type_name;
use std::collections::HashMap;

use occ_sck::{Channel, TypeKey};
use serde::{Deserialize, Serialize};

/// Two types that share a name, because they are local to one function.
macro_rules! twin {
    () => {{
        #[derive(Debug, Serialize, Deserialize)]
        struct Twin(u8);
        (Twin(1), type_name::<Twin>(), TypeKey::of::<Twin>())
    }};
}

#[test]
fn two_types_of_one_name_have_different_keys() {
    let (first, first_name, first_key) = twin!();
    let (second, second_name, second_key) = twin!();
    assert_eq!(first_name, second_name);
    assert_ne!(first_key, second_key);

    fn receive_as<T: occ_sck::Term>(_: &T, channel: &mut Channel) -> bool {
        channel.receive::<T>().is_ok()
    }
    let (mut a, mut b) = Channel::pair().unwrap();
    a.send(&first).unwrap();
    a.send(&first).unwrap();
    assert!(!receive_as(&second, &mut b), "one was decoded as the other");
    assert!(receive_as(&first, &mut b));
    assert_eq!((first.0, second.0), (1, 1));
}

#[test]
fn types_that_look_alike_have_different_keys() {
    let keys = [
        TypeKey::of::<u8>(),
        TypeKey::of::<i8>(),
        TypeKey::of::<(u8,)>(),
        TypeKey::of::<[u8; 1]>(),
        TypeKey::of::<Vec<u8>>(),
        TypeKey::of::<Vec<i8>>(),
        TypeKey::of::<Option<u8>>(),
        TypeKey::of::<str>(),
        TypeKey::of::<String>(),
        TypeKey::of::<HashMap<u8, Vec<Option<String>>>>(),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{key:?} is there twice");
        assert_eq!(TypeKey::from_bytes(key.to_bytes()), *key);
    }
}

/// What another process of this image is asked for.
pub(crate) fn all() -> Vec<[u8; 16]> {
    let (_, _, twin) = twin!();
    vec![
        TypeKey::of::<u64>().to_bytes(),
        TypeKey::of::<HashMap<String, Option<Vec<u8>>>>().to_bytes(),
        twin.to_bytes(),
    ]
}

#[test]
fn keys_agree_between_processes_of_one_image() {
    occ_test_support::isolated!(|| {
        let mut peer = crate::peer::start(crate::peer::Part::TypeKeys);
        let theirs: Vec<[u8; 16]> = peer.channel.receive().unwrap().unwrap();
        assert_eq!(theirs, all());
        assert!(peer.ends().success());
    });
}
