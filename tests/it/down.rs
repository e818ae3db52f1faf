//! A Down comes after the last message of the process that it is about.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use occ_test_support::stress;
use occasional::{
    Down, ExitReason, Pid, kill, monitor, receive, receive_any, receive_any_timeout, self_pid,
    send, spawn, spawn_monitor,
};
use rustix::process::{Signal, getpid, kill_process};

use crate::sys;

/// Sends, and ends in one of several ways without a moment in between.
fn send_and_end(to: Pid, count: u32, way: u32) -> anyhow::Result<()> {
    for number in 0..count {
        send(to, number)?;
    }
    match way % 5 {
        0 => {}
        1 => anyhow::bail!("on purpose"),
        2 => sys::exit(3),
        3 => kill_process(getpid(), Signal::KILL)?,
        _ => occasional::exit("a value".to_owned()),
    }
    Ok(())
}

fn ended_so(way: u32, reason: &ExitReason) -> bool {
    match way % 5 {
        0 => matches!(reason, ExitReason::Value(value) if value.is::<()>()),
        1 => matches!(reason, ExitReason::Error(_)),
        2 => matches!(reason, ExitReason::Code(3)),
        3 => matches!(reason, ExitReason::Signal(signal) if signal.name() == Some("SIGKILL")),
        _ => matches!(reason, ExitReason::Value(value) if value.is::<String>()),
    }
}

fn comes_last() -> anyhow::Result<()> {
    let me = self_pid();
    for way in 0..200 {
        let count = way % 7;
        let (child, monitor) = spawn_monitor(send_and_end, (me, count, way))?;
        for expected in 0..count {
            let message = receive_any()?;
            let number: u32 = message.decode()?;
            assert_eq!((message.from, number), (child, expected), "way {way}");
        }
        let down: Down = receive_any()?.decode()?;
        assert_eq!((down.pid, down.monitor), (child, monitor));
        assert!(ended_so(way, &down.reason), "way {way}: {:?}", down.reason);
        assert!(
            receive_any_timeout(Duration::ZERO)?.is_none(),
            "there is one"
        );
    }
    Ok(())
}

#[test]
fn a_down_comes_after_the_last_message() {
    in_a_system!(comes_last);
}

/// As above, of some that run at the same time.
fn come_last(ways: Range<u32>, count: impl Fn(u32) -> u32) -> anyhow::Result<()> {
    let me = self_pid();
    let mut awaited = HashMap::new();
    for way in ways {
        let (child, _) = spawn_monitor(send_and_end, (me, count(way), way))?;
        awaited.insert(child, (0_u32, way));
    }
    while !awaited.is_empty() {
        let message = receive_any()?;
        if let Ok(down) = message.decode::<Down>() {
            let (next, way) = awaited.remove(&down.pid).expect("one Down for each");
            assert_eq!(next, count(way), "{} {}", down.pid, down.reason);
            assert!(ended_so(way, &down.reason), "{}", down.reason);
        } else {
            let (next, _) = awaited
                .get_mut(&message.from)
                .expect("nothing after the Down");
            assert_eq!(message.decode::<u32>()?, *next);
            *next += 1;
        }
    }
    assert!(receive_any_timeout(Duration::ZERO)?.is_none());
    Ok(())
}

fn two_thousand() -> anyhow::Result<()> {
    for round in 0..u32::try_from(stress::times(100))? {
        come_last(round * 20..(round + 1) * 20, |way| way % 7)?;
    }
    Ok(())
}

#[test]
fn two_thousand_downs_come_each_after_the_last_message_of_its_own() {
    in_a_system!(two_thousand);
}

fn fifty_with_much_to_say() -> anyhow::Result<()> {
    come_last(0..50, |_| 100)
}

#[test]
fn the_downs_of_many_come_each_after_the_last_message_of_its_own() {
    in_a_system!(fifty_with_much_to_say);
}

/// Long messages, the last of which is on its way when the process dies.
fn send_long(to: Pid, way: u32) -> anyhow::Result<()> {
    for number in 0..3_u32 {
        send(to, (number, "x".repeat(300_000)))?;
    }
    send_and_end(to, 0, way)
}

fn comes_after_long_ones() -> anyhow::Result<()> {
    for way in 0..u32::try_from(stress::times(50))? {
        let (child, _) = spawn_monitor(send_long, (self_pid(), way))?;
        for expected in 0..3 {
            let message = receive_any()?;
            assert_eq!(message.from, child);
            let (number, text): (u32, String) = message.decode()?;
            assert_eq!((number, text.len()), (expected, 300_000));
        }
        assert_eq!(receive_any()?.decode::<Down>()?.pid, child);
    }
    Ok(())
}

#[test]
fn a_down_comes_after_a_last_message_of_many_parts() {
    in_a_system!(comes_after_long_ones);
}

fn send_for_ever(to: Pid) -> anyhow::Result<()> {
    for number in 0_u64.. {
        send(to, (number, "x".repeat(200_000)))?;
    }
    Ok(())
}

fn is_cut_off() -> anyhow::Result<()> {
    for _ in 0..stress::times(30) {
        let (child, _) = spawn_monitor(send_for_ever, (self_pid(),))?;
        receive::<(u64, String)>()?;
        kill(child)?;
        let mut next = 1;
        loop {
            let message = receive_any()?;
            let Ok((number, text)) = message.decode::<(u64, String)>() else {
                assert_eq!(message.decode::<Down>()?.pid, child);
                break;
            };
            assert_eq!((number, text.len()), (next, 200_000), "whole, and in order");
            next += 1;
        }
        assert!(receive_any_timeout(Duration::ZERO)?.is_none());
    }
    Ok(())
}

#[test]
fn what_a_killed_process_had_not_sent_whole_never_arrives() {
    in_a_system!(is_cut_off);
}

fn told_by_a_third(to: Pid) -> anyhow::Result<()> {
    send(to, "before the end".to_owned())?;
    Ok(())
}

fn watched_without_a_word() -> anyhow::Result<()> {
    // The monitor is made when the message may be on its way already, or the process gone.
    for _ in 0..stress::times(200) {
        let child = spawn(told_by_a_third, (self_pid(),))?;
        monitor(child)?;
        let message = receive_any()?;
        assert_eq!(message.decode::<String>()?, "before the end");
        assert_eq!(receive_any()?.decode::<Down>()?.pid, child);
    }
    Ok(())
}

#[test]
fn a_down_comes_after_the_last_message_however_late_one_begins_to_watch() {
    in_a_system!(watched_without_a_word);
}
