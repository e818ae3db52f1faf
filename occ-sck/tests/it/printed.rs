//! What is printed of a connection for people: what it is, and not what travels on it.

use occ_sck::{Assembler, EncodeError, Packet};
use occ_test_support::{LIMIT, isolated, within};

use crate::carriers::over_each;
use crate::datagrams;

const WORD: &str = "secret";

/// Neither as text nor as the numbers of its bytes, and in a few lines.
#[track_caller]
fn is_short_and_says_nothing(printed: &str) {
    let numbers = format!("{:?}", WORD.as_bytes());
    let numbers = numbers.trim_matches(['[', ']']);
    assert!(!printed.contains(WORD), "{printed}");
    assert!(!printed.contains(numbers), "{printed}");
    assert!(printed.len() < 1000, "{printed}");
}

#[test]
fn what_is_printed_of_a_channel_is_short_and_has_no_value_in_it() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|_, mut a, mut b| {
                for _ in 0..2 {
                    a.send(&WORD.repeat(1000)).unwrap();
                }
                let envelope = b.receive_any().unwrap().unwrap();
                is_short_and_says_nothing(&format!("{a:?}"));
                is_short_and_says_nothing(&format!("{b:?}"));
                is_short_and_says_nothing(&format!("{envelope:?}"));
            });
        });
    });
}

#[test]
fn nor_has_that_of_the_layers_below() {
    let value = WORD.repeat(20_000);
    let mut packet = Packet::new();
    packet.prepare(0, &value).unwrap();
    is_short_and_says_nothing(&format!("{packet:?}"));
    let each = packet.send_parts(&value, |part| {
        is_short_and_says_nothing(&format!("{part:?}"));
        Ok::<(), EncodeError>(())
    });
    each.unwrap();

    let mut assembler = Assembler::default();
    let first = &datagrams(&Packet::of(0, &value).unwrap())[0];
    assert!(assembler.push(first, Vec::new()).unwrap().is_none());
    is_short_and_says_nothing(&format!("{assembler:?}"));
}
