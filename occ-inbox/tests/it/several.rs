//! `receive!`: the oldest message that any arm takes, whatever its type; what is not taken stays, in order.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use occ_inbox::{Deadline, Event, Inbox, Message, Receive, ReceiveError, receive};
use occ_sck::{DecodeError, Packet, TypeKey, kind};
use occ_test_support::{LIMIT, takes, within};
use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::{assert_empty, drain, one_and_two, pid, put};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Greet {
    name: String,
    times: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    Go(u32),
    Stop { reason: String },
}

/// What only the system can send.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Notice(u32);

impl Receive for Notice {
    fn from_message(message: &Message) -> Result<Notice, DecodeError> {
        message.decode_system()
    }
}

const NOW: Duration = Duration::ZERO;

fn greet(name: &str, times: u32) -> Greet {
    let name = name.to_owned();
    Greet { name, times }
}

/// What is received by arms of three types, in words.
fn next(inbox: &mut Inbox<Script>, least: u32) -> Result<String, ReceiveError> {
    receive! { inbox;
        Greet { name, times }: Greet if times >= least => format!("{times} times {name}"),
        Order::Stop { reason }: Order => {
            reason + "!"
        }
        Order::Go(number): Order if number >= least => format!("go {number}"),
        Notice(number): Notice => format!("notice {number}"),
        after NOW => "nothing".to_owned(),
    }
}

#[test]
fn the_oldest_message_that_any_arm_takes_is_received_and_the_others_stay_in_order() {
    let (mut one, two) = one_and_two();
    put(&two, &"nobody asks for this".to_owned());
    put(&two, &Order::Go(3));
    put(&two, &greet("Ada", 9));
    put(&two, &greet("Grace", 4));
    put(&two, &Order::Go(8));
    let reason = "enough".to_owned();
    put(&two, &Order::Stop { reason });
    // What the connector says later is younger.
    assert_eq!(one.receive_timeout::<u8>(NOW).unwrap(), None);
    one.connector()
        .say(Event::Message(Message::about_end(pid(7), Notice(7))));

    let mut least_5 = || next(&mut one, 5).unwrap();
    assert_eq!(least_5(), "9 times Ada");
    assert_eq!(least_5(), "go 8");
    assert_eq!(least_5(), "enough!");
    assert_eq!(least_5(), "notice 7");
    assert_eq!(least_5(), "nothing");

    assert_eq!(one.len(), 3);
    assert_eq!(next(&mut one, 0).unwrap(), "go 3");
    assert_eq!(next(&mut one, 0).unwrap(), "4 times Grace");
    assert_eq!(
        drain::<String, _>(&mut one),
        ["nobody asks for this".to_owned()]
    );
}

#[test]
fn of_two_arms_that_would_take_a_message_the_first_does() {
    let (mut one, two) = one_and_two();
    for number in [1_u32, 10, 100] {
        put(&two, &number);
    }
    let mut words = Vec::new();
    for _ in 0..3 {
        let word = receive! { one;
            100: u32 => "a hundred".to_owned(),
            number @ 10..: u32 => format!("{number}, a lot"),
            number: u32 => number.to_string(),
        };
        words.push(word.unwrap());
    }
    assert_eq!(words, ["1", "10, a lot", "a hundred"]);
}

#[test]
fn a_limit_is_kept_and_what_no_arm_takes_does_not_stretch_it() {
    let (mut one, two) = one_and_two();
    let limit = Duration::from_millis(30);
    thread::scope(|scope| {
        let flood = crate::Flood::on(&two, scope);
        let outcome = takes(limit, || {
            receive! { one;
                text: String => text,
                number: u64 if number == u64::MAX => number.to_string(),
                after limit => "late".to_owned(),
            }
        });
        assert_eq!(outcome.unwrap(), "late");
        let sent = flood.stop();
        assert_eq!(drain::<u64, _>(&mut one), (0..sent).collect::<Vec<_>>());
    });
}

#[test]
fn without_a_limit_it_waits_for_one_that_an_arm_takes() {
    let (mut one, two) = one_and_two();
    thread::scope(|scope| {
        scope.spawn(|| {
            put(&two, &1_u8);
            put(&two, &2_u32);
            put(&two, &3_u64);
        });
        let three = within(LIMIT, || {
            receive! { one;
                number: u64 => number,
                _: String => 0,
            }
        });
        assert_eq!(three.unwrap(), 3);
    });
    assert_eq!(one.len(), 2);
}

/// Three arms that refuse, in a wait in which messages arrive one by one.
#[test]
fn each_message_is_offered_to_each_arm_once_in_a_wait() {
    let (mut one, two) = one_and_two();
    let offered = RefCell::new(Vec::new());
    let refuse = |number: u32| {
        offered.borrow_mut().push(number);
        false
    };
    for number in 0..50_u32 {
        put(&two, &number);
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 50..100_u32 {
                put(&two, &number);
            }
            put(&two, &());
        });
        let found = within(LIMIT, || {
            receive! { one;
                number: u32 if refuse(number) => number,
                (): () => 1000,
                number: u32 if refuse(number) => number,
            }
        });
        assert_eq!(found.unwrap(), 1000);
    });
    let twice: Vec<u32> = (0..100).flat_map(|number| [number, number]).collect();
    assert_eq!(offered.into_inner(), twice);
    assert_eq!(one.len(), 100);
}

#[test]
fn a_body_may_return_break_and_receive_again() {
    fn first_text(inbox: &mut Inbox<Script>) -> Result<Option<String>, ReceiveError> {
        loop {
            receive! { inbox;
                text: String => return Ok(Some(text)),
                more: u32 => {
                    for _ in 0..more {
                        let _: u8 = inbox.receive()?;
                    }
                    continue;
                }
                (): () => break,
            }?
        }
        Ok(None)
    }

    let (mut one, two) = one_and_two();
    put(&two, &1_u8);
    put(&two, &2_u32);
    put(&two, &2_u8);
    put(&two, &"text".to_owned());
    put(&two, &());
    assert_eq!(first_text(&mut one).unwrap().as_deref(), Some("text"));
    assert_eq!(first_text(&mut one).unwrap(), None);
    assert_empty(&mut one);
}

#[test]
fn an_arm_that_ends_in_a_block_needs_no_comma() {
    /// What each arm makes of what comes.
    fn next(inbox: &mut Inbox<Script>, limit: u32) -> Result<String, ReceiveError> {
        let mut sum = 0;
        receive! { inbox;
            Greet { name, times }: Greet if times > 90 => { name }
            (a, b): (u32, u32) => if a > limit {
                "more".to_owned()
            } else if let (1, c) | (c, 1) = (a, b) {
                format!("one and {c}")
            } else {
                format!("{a} and {b}")
            }
            [a, b]: [i8; 2] => match (a, b) {
                (1, _) => "first".to_owned(),
                _ => "other".to_owned(),
            }
            -1: i16 => loop {
                break "minus one".to_owned();
            }
            1..: i16 => 'outer: loop {
                while let Some(Greet { times, .. }) = Some(greet("", limit)) {
                    if times == limit {
                        break 'outer times.to_string();
                    }
                }
            }
            Greet { name, .. }: Greet => if let Greet { name, times: 0 } = greet(&name, 0) && limit < 99 {
                name
            } else {
                unreachable!()
            }
            _: u8 => unsafe { String::from_utf8_unchecked(vec![b'8']) }
            order: Order => match order {
                Order::Go(number) => number,
                Order::Stop { reason } => reason.len() as u32,
            }.to_string(),
            flag: bool => if flag { 1_u32 } else { 2 }.to_string() + if flag { "yes" } else { "no" },
            numbers: Vec<u32> => if unsafe { numbers.get_unchecked(0) == &7 } {
                for Greet { times, .. } in numbers.iter().map(|times| greet("", *times)) {
                    sum += times;
                }
                sum.to_string()
            } else { String::new() }
            after NOW => if limit > 0 { "nothing".to_owned() } else { String::new() }
        }
    }

    let (mut one, two) = one_and_two();
    put(&two, &greet("of 91", 91));
    put(&two, &(9_u32, 0_u32));
    put(&two, &(1_u32, 5_u32));
    put(&two, &(2_u32, 3_u32));
    put(&two, &[1_i8, 2]);
    put(&two, &[2_i8, 2]);
    put(&two, &-1_i16);
    put(&two, &3_i16);
    put(&two, &greet("of 2", 2));
    put(&two, &8_u8);
    put(&two, &Order::Go(12));
    put(&two, &true);
    put(&two, &vec![7_u32, 8]);
    for expected in [
        "of 91",
        "more",
        "one and 5",
        "2 and 3",
        "first",
        "other",
        "minus one",
        "8",
        "of 2",
        "8",
        "12",
        "1yes",
        "15",
        "nothing",
    ] {
        assert_eq!(next(&mut one, 8).unwrap(), expected);
    }
    assert_empty(&mut one);
}

/// Bodies that are of no use but for what they do.
#[test]
fn an_arm_may_be_a_loop_without_a_comma() {
    let (mut one, two) = one_and_two();
    put(&two, &3_u32);
    put(&two, &4_u8);
    let mut seen = Vec::new();
    for _ in 0..3 {
        receive! { one;
            most: u32 => for number in 0..most {
                seen.push(number);
            }
            most: u8 => while seen.len() < usize::from(most) {
                seen.push(7);
            }
            after NOW => seen.push(9)
        }
        .unwrap();
    }
    assert_eq!(seen, [0, 1, 2, 7, 9]);
}

#[test]
fn a_guard_that_panics_loses_nothing() {
    occ_test_support::isolated!(|| {
        let (mut one, two) = one_and_two();
        for number in 0..40_u32 {
            put(&two, &number);
            put(&two, &number.to_string());
        }
        std::panic::set_hook(Box::new(|_| {}));
        for at in [0, 1, 39] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                receive! { one;
                    text: String if text.is_empty() => text,
                    number: u32 if { assert_ne!(number, at, "trapped"); false } => number.to_string(),
                    after NOW => String::new(),
                }
            }));
            caught.unwrap_err();
        }
        let _ = std::panic::take_hook();
        let texts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(drain::<u32, _>(&mut one), (0..40).collect::<Vec<_>>());
        assert_eq!(drain::<String, _>(&mut one), texts);
    });
}

#[test]
fn a_message_for_an_arm_that_cannot_be_decoded_is_an_error_once() {
    let (mut one, two) = one_and_two();
    let key = TypeKey::of::<Greet>();
    let broken = Packet::raw(kind::USER, key, "Greet", &[200]);
    broken.send_part(0, &two, &[], Deadline::Now).unwrap();
    put(&two, &greet("Ada", 1));
    // Nobody asks for its type: it is not looked at.
    let none = receive! { one; number: u8 => number, after NOW => 0 };
    assert_eq!(none.unwrap(), 0);
    match next(&mut one, 0) {
        Err(ReceiveError::Undecodable {
            from, type_name, ..
        }) => assert_eq!((from, type_name.as_str()), (pid(2), "Greet")),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut one, 0).unwrap(), "1 times Ada");
    assert_empty(&mut one);
}

#[test]
fn since_a_reference_only_what_has_come_later_is_looked_at() {
    let (mut one, two) = one_and_two();
    for number in 0..100_u32 {
        put(&two, &number);
    }
    assert_eq!(one.receive_timeout::<String>(NOW).unwrap(), None);
    let question = one.make_ref();
    put(&two, &100_u32);

    let mut offered = Vec::new();
    let mut look = |number: u32| {
        offered.push(number);
        false
    };
    let none = receive! { one; since question;
        number: u32 if look(number) => number,
        after NOW => 0,
    };
    assert_eq!(none.unwrap(), 0);
    let none = one
        .since(question)
        .receive_where_timeout(NOW, |number| look(*number));
    assert_eq!(none.unwrap(), None);
    assert_eq!(offered, [100, 100]);

    assert_eq!(one.since(question).receive::<u32>().unwrap(), 100);
    assert_eq!(
        one.since(question).receive_timeout::<u32>(NOW).unwrap(),
        None
    );
    assert_eq!(one.receive::<u32>().unwrap(), 0);
}

#[test]
fn a_reference_of_another_process_says_nothing_of_this_inbox() {
    let (mut one, two) = one_and_two();
    put(&two, &1_u32);
    assert_eq!(one.receive_timeout::<String>(NOW).unwrap(), None);
    let theirs = Script::inbox(3).make_ref();
    assert_eq!(one.since(theirs).receive::<u32>().unwrap(), 1);
}

#[test]
fn no_two_references_are_alike() {
    let (mut one, mut three) = (Script::inbox(1), Script::inbox(3));
    let mut all: Vec<_> = (0..100)
        .flat_map(|_| [one.make_ref(), three.make_ref()])
        .collect();
    assert!(all[0].to_string().starts_with("#Ref<0.1."), "{}", all[0]);
    let packed = Packet::of(kind::USER, &all[7]).unwrap().into_envelope();
    assert_eq!(packed.decode::<occ_inbox::Ref>().unwrap(), all[7]);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200);
}
