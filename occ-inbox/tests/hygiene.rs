//! What `receive!` takes, in a crate that lets no lint pass and has names of its own.
#![cfg(test)]
#![deny(warnings, clippy::pedantic, clippy::all)]

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Names of the prelude are somebody else's here, as with `use anyhow::Ok`.
mod shadowed {
    use super::{Duration, Inbox};

    #[allow(non_snake_case, reason = "it is called as what it stands before")]
    pub(super) fn Ok(value: u32) -> u32 {
        value + 1
    }

    #[derive(Debug, PartialEq)]
    pub(super) enum Mine {
        Some,
        None,
        Err,
    }

    use Mine::{Err, None, Some};

    pub(super) const MINE: [Mine; 3] = [Some, None, Err];

    pub(super) fn next(inbox: &mut Inbox) -> Result<u32, occ_inbox::ReceiveError> {
        let mark = inbox.make_ref();
        inbox.send(inbox.pid(), &1_u8).unwrap();
        let first = occ_inbox::receive! { inbox; since mark;
            number: u8 if number > 0 => u32::from(number),
            after Duration::ZERO => 0,
        }?;
        occ_inbox::receive! { inbox;
            _: String => 0,
            after Duration::ZERO => Ok(first),
        }
    }
}

type Inbox = occ_inbox::Inbox<occ_inbox::Wired>;

/// What is nested in another.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Inner {
    A(u32),
    B(u32),
    C,
}

#[derive(Debug, Serialize, Deserialize)]
enum Outer {
    One(Inner),
    Two { inner: Inner, list: Vec<u32> },
    Pair(String, Option<String>),
}

fn inbox() -> Inbox {
    let me = occ_inbox::Pid {
        node: 0,
        incarnation: 0,
        serial: 1,
    };
    Inbox::new(me, occ_inbox::Wired::new([]).unwrap()).unwrap()
}

fn put<T: occ_inbox::Term>(inbox: &mut Inbox, value: &T) {
    inbox.send(inbox.pid(), value).unwrap();
}

#[test]
fn it_needs_no_name_of_the_prelude() {
    assert_eq!(shadowed::next(&mut inbox()).unwrap(), shadowed::Ok(1));
    assert_eq!(shadowed::MINE.len(), 3);
}

#[test]
fn its_own_names_are_not_seen() {
    let mut i = inbox();
    let (value, arm, taken, range, keys, look, offer, matches, error) =
        (1_u32, 2_u32, 3, 4, 5, 6, 7, 8, 9);
    put(&mut i, &10_u32);
    let got = occ_inbox::receive! { i;
        matches: u32 if matches == value => 0,
        offer: u32 if offer == 10 && arm == 2 => offer + value + arm + taken + range + keys + look + matches + error,
    }
    .unwrap();
    assert_eq!(got, 10 + 1 + 2 + 3 + 4 + 5 + 6 + 8 + 9);
    let _ = offer;
}

#[test]
fn patterns_and_types_are_those_of_a_match() {
    let mut i = inbox();
    put(&mut i, &Outer::One(Inner::C));
    put(&mut i, &Outer::One(Inner::B(3)));
    put(
        &mut i,
        &Outer::Two {
            inner: Inner::A(5),
            list: vec![1, 2, 3],
        },
    );
    put(&mut i, &Outer::Pair("a".into(), Some("b".into())));
    put(&mut i, &'x');
    put(&mut i, &-5_i64);
    let map: HashMap<String, Vec<u8>> = [("k".to_owned(), vec![1])].into();
    put(&mut i, &map);
    put(&mut i, &[(1_u8, "t".to_owned())]);
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..8 {
        occ_inbox::receive! { i;
            Outer::One(Inner::A(n) | Inner::B(n)): Outer => seen.push(format!("n {n}")),
            Outer::One(c @ Inner::C): Outer => { seen.push(format!("{c:?}")); }
            Outer::Two { inner: Inner::A(1..=9), mut list }: Outer if !list.is_empty() => {
                list.push(4);
                seen.push(format!("{list:?}"));
            }
            Outer::Pair(ref a, Some(ref b)): Outer if a != b => seen.push(format!("{a}{b}")),
            _: Outer => unreachable!(),
            'a'..='z': char => seen.push("lower".to_owned()),
            -5: i64 => seen.push("minus".into()),
            whole: HashMap<String, Vec<u8>> => seen.push(format!("{whole:?}")),
            [(1, text)]: [(u8, String); 1] => seen.push(text[0..].to_string()),
            after Duration::from_secs(5) => panic!("nothing"),
        }
        .unwrap();
    }
    assert_eq!(
        seen,
        [
            "C",
            "n 3",
            "[1, 2, 3, 4]",
            "ab",
            "lower",
            "minus",
            "{\"k\": [1]}",
            "t"
        ]
    );
}

#[test]
fn one_may_stand_in_another_and_blocks_need_no_commas() -> Result<(), occ_inbox::ReceiveError> {
    let mut i = inbox();
    let mut j = inbox();
    put(&mut i, &1_u8);
    put(&mut i, &2_u16);
    put(&mut j, &3_u32);
    let sum = occ_inbox::receive! { i;
        one: u8 if occ_inbox::receive! { j; three: u32 => three == 3, after Duration::ZERO => false }.unwrap() => {
            let two = occ_inbox::receive! { i; two: u16 => two }?;
            u16::from(one) + two
        }
        _: u32 => { 0 }
        after { Duration::from_secs(1) } => { 9 }
    }?;
    assert_eq!(sum, 3);
    let none: Option<u8> =
        occ_inbox::receive!(i; some: u8 => Some(some), after Duration::ZERO => None)?;
    assert_eq!(none, None);
    occ_inbox::receive! { i; _: u8 => (), after Duration::ZERO => () }?;
    occ_inbox::receive! { i; (): () => (), after Duration::ZERO => {} }?;
    Ok(())
}

#[test]
fn many_arms_stay_under_the_recursion_limit() {
    let mut i = inbox();
    put(&mut i, &7_u8);
    let got = occ_inbox::receive! { i;
        Outer::One(Inner::A(n)): Outer if n > 1 => n,
        Outer::One(Inner::B(n)): Outer if n > 1 => n,
        Outer::One(Inner::C): Outer => 1,
        Outer::Two { inner: Inner::A(n), .. }: Outer => n,
        Outer::Two { inner: Inner::B(n), .. }: Outer => n,
        Outer::Two { inner: Inner::C, list }: Outer if list.is_empty() => 0,
        Outer::Pair(a, None): Outer if a.is_empty() => 0,
        Outer::Pair(_, Some(b)): Outer if b.is_empty() => 0,
        (from, Some(number)): (occ_inbox::Pid, Option<u32>) if from.serial == 1 => number,
        (from, text): (occ_inbox::Pid, String) if from.serial == 2 => text.len().try_into().unwrap(),
        map: HashMap<String, Vec<u8>> => map.len().try_into().unwrap(),
        list: Vec<std::collections::BTreeMap<String, (u8, u16)>> => list.len().try_into().unwrap(),
        Err(text): Result<String, String> => text.len().try_into().unwrap(),
        Some(std::net::IpAddr::V4(_)): Option<std::net::IpAddr> => 4,
        Some(std::net::IpAddr::V6(_)): Option<std::net::IpAddr> => 6,
        number: u8 => u32::from(number),
        after Duration::ZERO => 0,
    };
    assert_eq!(got.unwrap(), 7);
}
