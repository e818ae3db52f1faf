//! What is taken is the oldest that matches; what is not stays, in order.

use std::thread;
use std::time::Duration;

use occ_inbox::{Inbox, Socket};
use occ_test_support::{LIMIT, takes, within};
use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::{assert_empty, drain, one_and_two, put};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Apple(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pear(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plum(u32);

const NOW: Duration = Duration::ZERO;

/// What a matcher makes of an apple or a pear.
fn apple_or_pear(message: &occ_inbox::Message) -> Option<String> {
    if let Ok(Apple(number)) = message.decode() {
        return Some(format!("apple {number}"));
    }
    let Pear(number) = message.decode().ok()?;
    Some(format!("pear {number}"))
}

/// Sends from a thread, when the test is about to wait.
fn later(socket: Socket, send: impl FnOnce(&Socket) + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || send(&socket))
}

/// IN-9
#[test]
fn what_has_come_is_read_at_once_and_only_once() {
    let (mut one, two) = one_and_two();
    for number in 0..3 {
        put(&two, &Apple(number));
    }
    assert_eq!(drain::<Apple, _>(&mut one), [Apple(0), Apple(1), Apple(2)]);
    assert_eq!(drain::<Apple, _>(&mut one), []);
}

/// IN-10
#[test]
fn flush_throws_away_what_is_in_memory_and_what_is_in_the_kernel() {
    let (mut one, two) = one_and_two();
    put(&two, &Apple(0));
    assert_eq!(one.receive_timeout::<Pear>(NOW).unwrap(), None);
    assert_eq!(one.len(), 1);
    put(&two, &Pear(1));
    put(&two, &Plum(2));
    assert_eq!(one.flush().unwrap(), 3);
    assert!(one.is_empty());
    assert_empty(&mut one);
    assert_eq!(one.flush().unwrap(), 0);
    put(&two, &Plum(3));
    assert_eq!(one.receive::<Plum>().unwrap(), Plum(3));
}

/// IN-11
#[test]
fn a_matcher_takes_two_kinds_in_order_and_its_own_words_come_back() {
    let (mut one, two) = one_and_two();
    put(&two, &Apple(1));
    put(&two, &Plum(2));
    put(&two, &Pear(3));
    assert_eq!(one.receive_map(apple_or_pear).unwrap(), "apple 1");
    assert_eq!(one.receive_map(apple_or_pear).unwrap(), "pear 3");
    assert_eq!(one.receive_map_timeout(NOW, apple_or_pear).unwrap(), None);
    let plum = one.receive_any().unwrap();
    assert_eq!(plum.decode::<Plum>().unwrap(), Plum(2));
    assert_eq!(one.receive_map_timeout(NOW, apple_or_pear).unwrap(), None);
    assert_empty(&mut one);
}

/// IN-12
#[test]
fn whoever_receives_says_what_a_timeout_means() {
    let (mut one, two) = one_and_two();
    put(&two, &Apple(1));
    let mut received = || {
        let found = one.receive_map_timeout(NOW, apple_or_pear).unwrap();
        found.unwrap_or_else(|| "nothing in time".to_owned())
    };
    assert_eq!(received(), "apple 1");
    assert_eq!(received(), "nothing in time");
    assert_empty(&mut one);
}

/// IN-13
#[test]
fn a_match_that_comes_late_is_taken_before_older_ones_that_do_not_match() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        put(&two, &Apple(1));
        put(&two, &Pear(2));
        assert_eq!(one.receive_timeout::<Plum>(NOW).unwrap(), None);
        let sender = later(two, |two| put(two, &Plum(3)));
        assert_eq!(one.receive::<Plum>().unwrap(), Plum(3));
        assert_eq!(one.receive::<Pear>().unwrap(), Pear(2));
        assert_eq!(
            one.receive_any().unwrap().decode::<Apple>().unwrap(),
            Apple(1)
        );
        assert_empty(&mut one);
        sender.join().unwrap();
    });
}

/// IN-14
#[test]
fn a_timeout_leaves_what_does_not_match() {
    let limit = Duration::from_millis(100);
    let (mut one, two) = one_and_two();
    let two_only = |number: &u32| *number == 2;

    put(&two, &1_u32);
    let found = takes(limit, || {
        one.receive_where_timeout(limit, two_only).unwrap()
    });
    assert_eq!(found, None);
    assert_eq!(one.receive::<u32>().unwrap(), 1);

    // It comes during the wait: the matcher of the message before it sends it.
    put(&two, &0_u32);
    let mut sent = false;
    let found = takes(limit, || {
        let found = one.receive_where_timeout(limit, |number| {
            if !sent {
                put(&two, &1_u32);
                sent = true;
            }
            two_only(number)
        });
        found.unwrap()
    });
    assert_eq!(found, None);
    assert_eq!(drain::<u32, _>(&mut one), [0, 1]);
}

/// IN-15
#[test]
fn what_came_before_the_match_is_received_after_it() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        let sender = later(two, |two| {
            put(two, &1_u32);
            put(two, &2_u32);
        });
        assert_eq!(one.receive_where(|number: &u32| *number == 2).unwrap(), 2);
        assert_eq!(one.receive::<u32>().unwrap(), 1);
        sender.join().unwrap();
    });
}

#[test]
fn types_are_told_apart_and_each_keeps_its_order() {
    let (mut one, two) = one_and_two();
    for number in 0..10 {
        put(&two, &Apple(number));
        put(&two, &Pear(number));
    }
    let pears: Vec<Pear> = drain(&mut one);
    let apples: Vec<Apple> = drain(&mut one);
    assert_eq!(pears, (0..10).map(Pear).collect::<Vec<_>>());
    assert_eq!(apples, (0..10).map(Apple).collect::<Vec<_>>());
}

#[test]
fn a_matcher_is_offered_each_message_once_in_a_receive() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        for number in 0..100_u32 {
            put(&two, &number);
        }
        assert_empty_of_strings(&mut one);
        let mut offered = Vec::new();
        let sender = later(two, |two| {
            (100..200_u32).for_each(|number| put(two, &number))
        });
        let last = one.receive_where(|number: &u32| {
            offered.push(*number);
            *number == 199
        });
        assert_eq!(last.unwrap(), 199);
        assert_eq!(offered, (0..200).collect::<Vec<_>>());
        assert_eq!(drain::<u32, _>(&mut one), (0..199).collect::<Vec<_>>());
        sender.join().unwrap();
    });
}

fn assert_empty_of_strings(inbox: &mut Inbox<Script>) {
    assert_eq!(inbox.receive_timeout::<String>(NOW).unwrap(), None);
}

#[test]
fn a_value_that_was_looked_at_in_vain_is_received_as_another_type_or_any() {
    let (mut one, two) = one_and_two();
    put(&two, &7_u32);
    let no = |_: &u32| false;
    assert_eq!(one.receive_where_timeout(NOW, no).unwrap(), None);
    assert_eq!(one.receive_timeout::<String>(NOW).unwrap(), None);
    let message = one.receive_any().unwrap();
    assert_eq!(message.from, crate::pid(2));
    assert_eq!(message.type_name(), "u32");
    assert_eq!(message.decode::<u32>().unwrap(), 7);
    assert!(message.decode::<i32>().is_err());
}

#[test]
fn retain_takes_out_what_is_not_wanted_and_keeps_the_order() {
    let (mut one, two) = one_and_two();
    (0..10_u32).for_each(|number| put(&two, &number));
    assert_empty_of_strings(&mut one);
    assert_eq!(one.len(), 10);
    one.retain(|message| message.decode::<u32>().is_ok_and(|number| number % 3 == 0));
    assert_eq!(drain::<u32, _>(&mut one), [0, 3, 6, 9]);
}

#[test]
fn an_inbox_is_readable_when_something_has_arrived() {
    let (mut one, two) = one_and_two();
    let readable = |one: &Inbox<Script>| {
        let mut fds = [rustix::event::PollFd::new(
            one,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() > 0
    };
    assert!(!readable(&one));
    put(&two, &1_u8);
    assert!(readable(&one));
    assert_eq!(one.receive::<u8>().unwrap(), 1);
    assert!(!readable(&one));
}
