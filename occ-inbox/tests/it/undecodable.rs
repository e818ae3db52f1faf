//! What cannot be decoded is consumed once, as an error that says whose it was and what; never a panic and never
//! silence.

use std::time::Duration;

use occ_inbox::{Deadline, ReceiveError};
use occ_sck::{HEADER, Header, MAX_DATAGRAM, Packet, TypeKey, kind, type_name_of};
use serde::{Deserialize, Serialize};

use crate::{assert_empty, one_and_two, pid, put, put_bytes};

const NOW: Duration = Duration::ZERO;

/// Bytes that are said to be a `T`.
fn claimed<T: 'static>(bytes: &[u8]) -> Packet {
    Packet::raw(kind::USER, TypeKey::of::<T>(), type_name_of::<T>(), bytes)
}

#[track_caller]
fn is_undecodable(error: &ReceiveError, expected: &str) {
    let ReceiveError::Undecodable {
        from, type_name, ..
    } = error
    else {
        panic!("expected an undecodable message, got {error:?}");
    };
    assert_eq!((*from, type_name.as_str()), (pid(2), expected));
    let words = error.to_string();
    assert!(
        words.contains("<0.2>") && words.contains(expected),
        "{words}"
    );
}

#[test]
fn a_message_that_is_no_value_of_its_type_is_an_error_once() {
    let string = type_name_of::<String>();
    // A length of 9, and one byte.
    for (bytes, name) in [
        (&[9, b'a'][..], string),
        (&[1, 0xff], string),
        (&[1, b'a', b'b'], string),
    ] {
        let (mut one, two) = one_and_two();
        put(&two, &"before".to_string());
        claimed::<String>(bytes)
            .send_part(0, &two, &[], Deadline::Now)
            .unwrap();
        put(&two, &"after".to_string());
        assert_eq!(one.receive::<String>().unwrap(), "before");
        is_undecodable(&one.receive::<String>().unwrap_err(), name);
        assert_eq!(one.receive::<String>().unwrap(), "after");
        assert_empty(&mut one);
    }
}

#[test]
fn a_matcher_is_not_shown_what_cannot_be_decoded_and_its_caller_is_told() {
    let (mut one, two) = one_and_two();
    put(&two, &"no".to_string());
    claimed::<String>(&[9])
        .send_part(0, &two, &[], Deadline::Now)
        .unwrap();
    put(&two, &"yes".to_string());
    let yes = |text: &String| text == "yes";
    let error = one.receive_where(yes).unwrap_err();
    is_undecodable(&error, type_name_of::<String>());
    assert_eq!(one.receive_where(yes).unwrap(), "yes");
    assert_eq!(
        one.receive_where_timeout(NOW, |_: &String| true)
            .unwrap()
            .as_deref(),
        Some("no")
    );
    assert_empty(&mut one);
}

#[test]
fn whoever_wants_another_type_does_not_stumble_over_it() {
    let (mut one, two) = one_and_two();
    claimed::<String>(&[9])
        .send_part(0, &two, &[], Deadline::Now)
        .unwrap();
    put(&two, &7_u8);
    assert_eq!(one.receive::<u8>().unwrap(), 7);
    // As a message it can be had, and looked at as often as one likes.
    let message = one.receive_any().unwrap();
    assert!(message.is::<String>());
    assert!(message.decode::<String>().is_err());
    assert!(message.decode::<String>().is_err());
    assert_empty(&mut one);
}

/// Two types that look alike and have one name are not taken for each other.
#[test]
fn a_type_of_the_same_name_is_another_type() {
    fn other() -> impl Serialize + serde::de::DeserializeOwned + 'static {
        #[derive(Serialize, Deserialize)]
        struct Same(u32);
        Same(1)
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Same(u32);
    let (mut one, two) = one_and_two();
    put(&two, &other());
    assert!(one.receive_timeout::<Same>(NOW).unwrap().is_none());
    put(&two, &Same(2));
    assert_eq!(one.receive::<Same>().unwrap().0, 2);
}

/// What no inbox sends ends the connection, and the receiver is told once, after what came before. Others are
/// not concerned.
#[test]
fn what_is_no_message_at_all_ends_the_connection_and_is_told_once() {
    let control = Packet::of(kind::SYSTEM, &"I am the coordinator".to_string()).unwrap();
    let no_key = TypeKey::from_bytes([0; 16]);
    let odd_frame = Header {
        kind: kind::USER,
        flags: 0xf0,
        name_len: 0,
        id: 0,
        part: 0,
        parts: 1,
        total: 0,
        key: no_key,
    };
    let part_of_nothing = Header {
        flags: 0,
        part: 1,
        parts: 2,
        total: 70_000,
        ..odd_frame
    };
    let mut part = part_of_nothing.to_bytes().to_vec();
    part.resize(HEADER + 70_000 - occ_sck::PART, 0);
    let odd: [(&str, Vec<u8>); 4] = [
        ("short", vec![1; 3]),
        ("flags", odd_frame.to_bytes().to_vec()),
        ("too long", vec![0; MAX_DATAGRAM + 1]),
        ("a part of nothing", part),
    ];
    for (what, bytes) in odd {
        let (mut one, two) = one_and_two();
        let three = one.connector().connect(3);
        put(&two, &1_u8);
        put_bytes(&two, &bytes);
        put(&two, &2_u8);
        breaks(&mut one, &two, &three, what);
    }
    let (mut one, two) = one_and_two();
    let three = one.connector().connect(3);
    put(&two, &1_u8);
    control.send_part(0, &two, &[], Deadline::Now).unwrap();
    put(&two, &2_u8);
    breaks(&mut one, &two, &three, "control");
}

fn breaks(
    one: &mut occ_inbox::Inbox<crate::script::Script>,
    two: &occ_inbox::Socket,
    three: &occ_inbox::Socket,
    what: &str,
) {
    assert_eq!(one.receive::<u8>().unwrap(), 1, "{what}");
    let error = one.receive_timeout::<u8>(NOW).unwrap_err();
    let ReceiveError::Broken { from, .. } = &error else {
        panic!("{what}: {error:?}");
    };
    assert_eq!(*from, pid(2));
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(one.receive_timeout::<u8>(NOW).unwrap(), None, "{what}");
    let packet = Packet::of(kind::USER, &3_u8).unwrap();
    let sent = packet.send_part(0, two, &[], Deadline::Now);
    assert!(
        matches!(sent, Err(occ_sck::SendError::Closed)),
        "{what}: {sent:?}"
    );
    put(three, &4_u8);
    assert_eq!(one.receive::<u8>().unwrap(), 4);
}
