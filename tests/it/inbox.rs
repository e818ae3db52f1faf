//! Receiving: time limits, and selective receive between processes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use occ_test_support::takes;
use occasional::{
    Down, Pid, flush, inbox_fd, receive, receive_any_timeout, receive_map, receive_map_timeout,
    receive_timeout, receive_where, receive_where_timeout, self_pid, send, spawn, spawn_monitor,
    tick,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const NOW: Duration = Duration::ZERO;

/// Long enough for a message to arrive within it.
const LONG: Duration = Duration::from_secs(30);

/// A time limit in milliseconds, ten of which are no moment on a busy machine.
const LIMIT: u64 = 200;

pub(crate) fn assert_empty() -> anyhow::Result<()> {
    // What other processes have sent by now lies in a socket; what the coordinator has to say comes before its
    // reply.
    occasional::processes()?;
    let left = receive_any_timeout(NOW)?;
    anyhow::ensure!(left.is_none(), "{left:?}");
    Ok(())
}

/// Sends each text in its turn, when told to.
fn send_when_told(to: Pid, texts: Vec<String>) -> anyhow::Result<()> {
    for text in texts {
        receive::<()>()?;
        send(to, text)?;
    }
    Ok(())
}

/// Sends each text after so many milliseconds.
fn send_delayed(to: Pid, texts: Vec<(u64, String)>) -> anyhow::Result<()> {
    for (pause, text) in texts {
        receive_timeout::<()>(Duration::from_millis(pause))?;
        send(to, text)?;
    }
    Ok(())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn nothing_there() -> anyhow::Result<()> {
    assert_eq!(receive_timeout::<String>(NOW)?, None);
    assert_eq!(receive_where_timeout::<String>(NOW, |_| true)?, None);
    assert!(receive_any_timeout(NOW)?.is_none());
    assert_eq!(receive_map_timeout(NOW, |_| Some(()))?, None);
    Ok(())
}

/// IN-5
#[test]
fn a_limit_of_zero_finds_nothing_in_an_empty_inbox() {
    in_a_system!(nothing_there);
}

fn something_there() -> anyhow::Result<()> {
    let me = self_pid();
    for from in [me, spawn(send_when_told, (me, texts(&["other"])))?] {
        if from == me {
            send(me, "own".to_owned())?;
            assert_eq!(receive_timeout::<String>(NOW)?.as_deref(), Some("own"));
        } else {
            // It ends after it has sent, and its Down comes after what it has sent.
            occasional::monitor(from)?;
            send(from, ())?;
            receive::<Down>()?;
            assert_eq!(receive_timeout::<String>(NOW)?.as_deref(), Some("other"));
        }
    }
    Ok(())
}

/// IN-6
#[test]
fn a_limit_of_zero_finds_a_message_that_is_there() {
    in_a_system!(something_there);
}

fn too_late() -> anyhow::Result<()> {
    let limit = Duration::from_millis(LIMIT);
    let sender = spawn(send_when_told, (self_pid(), texts(&["late"])))?;
    let nothing = takes(limit, || receive_timeout::<String>(limit))?;
    assert_eq!(nothing, None);
    send(sender, ())?;
    assert_eq!(receive::<String>()?, "late");
    Ok(())
}

/// IN-7
#[test]
fn a_limit_passes_and_the_message_that_comes_later_is_received_later() {
    in_a_system!(too_late);
}

fn delayed() -> anyhow::Result<()> {
    spawn(
        send_delayed,
        (
            self_pid(),
            vec![(20, "first".to_owned()), (20, "second".to_owned())],
        ),
    )?;
    assert_eq!(receive::<String>()?, "first");
    assert_eq!(
        receive_timeout::<String>(Duration::MAX)?.as_deref(),
        Some("second")
    );
    Ok(())
}

/// IN-8
#[test]
fn a_receive_without_a_limit_and_one_without_an_end_wait_for_a_delayed_message() {
    in_a_system!(delayed);
}

fn in_an_event_loop() -> anyhow::Result<()> {
    let inbox = inbox_fd()?;
    let is_readable = |limit: Option<&Timespec>| -> anyhow::Result<bool> {
        let mut fds = [PollFd::new(&inbox, PollFlags::IN)];
        Ok(poll(&mut fds, limit)? == 1)
    };
    let now = Timespec::default();
    // It waits for the third: that it has ended would be news.
    let sender = spawn(
        send_when_told,
        (self_pid(), texts(&["one", "two", "three"])),
    )?;
    send(sender, ())?;
    // Its connection is news, too, and no message.
    let mut there = 0;
    while there == 0 {
        assert!(is_readable(None)?);
        there = tick()?;
    }
    assert_eq!(there, 1);
    assert_eq!(receive_timeout::<String>(NOW)?.as_deref(), Some("one"));
    assert_eq!((tick()?, is_readable(Some(&now))?), (0, false));
    send(sender, ())?;
    assert!(is_readable(None)?);
    assert_eq!(tick()?, 1);
    // What is in memory is not in the descriptor any more.
    assert!(!is_readable(Some(&now))?);
    assert_eq!(receive::<String>()?, "two");
    Ok(())
}

#[test]
fn a_process_waits_for_its_inbox_in_an_event_loop_of_its_own() {
    in_a_system!(in_an_event_loop);
}

fn read_all() -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    while let Some(text) = receive_timeout(NOW)? {
        all.push(text);
    }
    Ok(all)
}

fn reads_all() -> anyhow::Result<()> {
    let me = self_pid();
    // Three senders, and the Down of each comes after its message.
    for text in ["a", "b", "c"] {
        let (sender, _) = spawn_monitor(send_when_told, (me, texts(&[text])))?;
        send(sender, ())?;
    }
    for _ in 0..3 {
        receive::<Down>()?;
    }
    let all: BTreeSet<String> = read_all()?.into_iter().collect();
    assert_eq!(all, texts(&["a", "b", "c"]).into_iter().collect());
    assert_eq!(read_all()?, texts(&[]));
    Ok(())
}

/// IN-9
#[test]
fn all_that_is_there_can_be_read_once() {
    in_a_system!(reads_all);
}

fn flushes() -> anyhow::Result<()> {
    let me = self_pid();
    assert_eq!(flush()?, 0);
    let (sender, _) = spawn_monitor(send_delayed, (me, vec![(0, "a".to_owned()); 3]))?;
    receive_where::<Down>(|down| down.pid == sender)?;
    send(me, 1_u8)?;
    assert_eq!(flush()?, 4, "of every type");
    assert_empty()?;
    // The inbox works on.
    send(me, 2_u8)?;
    assert_eq!(receive::<u8>()?, 2);
    Ok(())
}

/// IN-10
#[test]
fn after_a_flush_nothing_is_there() {
    in_a_system!(flushes);
}

/// Three messages from another process, which has ended by now.
fn three() -> anyhow::Result<()> {
    let messages = vec![
        (0, "red 1".to_owned()),
        (0, "blue 2".to_owned()),
        (0, "red 3".to_owned()),
    ];
    spawn_monitor(send_delayed, (self_pid(), messages))?;
    receive::<Down>()?;
    Ok(())
}

fn red(message: &occasional::Message) -> Option<String> {
    let text = message.decode::<String>().ok()?;
    text.strip_prefix("red ")
        .map(|rest| format!("matched {rest}"))
}

fn selects() -> anyhow::Result<()> {
    three()?;
    assert_eq!(receive_map(red)?, "matched 1");
    assert_eq!(receive_map(red)?, "matched 3");
    assert_eq!(receive::<String>()?, "blue 2");
    assert_eq!(receive_map_timeout(NOW, red)?, None);
    assert_empty()
}

/// IN-11
#[test]
fn a_matcher_takes_what_it_wants_in_order_with_its_own_results_and_leaves_the_rest() {
    in_a_system!(selects);
}

fn handles_the_timeout() -> anyhow::Result<()> {
    let limit = Duration::from_millis(LIMIT);
    let answer = takes(limit, || receive_map_timeout(limit, red))?;
    assert_eq!(
        answer.unwrap_or_else(|| "timed out".to_owned()),
        "timed out"
    );
    assert_empty()
}

/// IN-12
#[test]
fn a_timeout_is_a_value_that_the_caller_makes_something_of() {
    in_a_system!(handles_the_timeout);
}

fn selects_what_is_delayed() -> anyhow::Result<()> {
    let me = self_pid();
    for text in ["skipped 1", "skipped 2"] {
        send(me, text.to_owned())?;
    }
    let sender = spawn(send_when_told, (me, texts(&["red delayed"])))?;
    assert_eq!(receive_map_timeout(NOW, red)?, None);
    send(sender, ())?;
    assert_eq!(
        receive_map_timeout(LONG, red)?.as_deref(),
        Some("matched delayed")
    );
    let second = receive_where::<String>(|text| text.ends_with('2'))?;
    assert_eq!(second, "skipped 2");
    assert_eq!(receive::<String>()?, "skipped 1");
    assert_empty()
}

/// IN-13
#[test]
fn a_delayed_match_is_taken_before_what_was_skipped() {
    in_a_system!(selects_what_is_delayed);
}

fn passes_with_an_unmatched_message() -> anyhow::Result<()> {
    let me = self_pid();
    let limit = Duration::from_millis(LIMIT);
    let is_2 = |text: &String| text == "2";

    send(me, "1".to_owned())?;
    assert_eq!(takes(limit, || receive_where_timeout(limit, is_2))?, None);
    assert_eq!(receive::<String>()?, "1");

    spawn(send_delayed, (me, vec![(5, "1".to_owned())]))?;
    assert_eq!(takes(limit, || receive_where_timeout(limit, is_2))?, None);
    assert_eq!(receive::<String>()?, "1");
    assert_empty()
}

/// IN-14
#[test]
fn a_limit_passes_with_a_message_that_does_not_match() {
    in_a_system!(passes_with_an_unmatched_message);
}

fn takes_the_second_first() -> anyhow::Result<()> {
    spawn(
        send_delayed,
        (self_pid(), vec![(10, "1".to_owned()), (10, "2".to_owned())]),
    )?;
    assert_eq!(receive_where::<String>(|text| text == "2")?, "2");
    assert_eq!(receive::<String>()?, "1");
    Ok(())
}

/// IN-15
#[test]
fn a_match_that_comes_second_is_received_first() {
    in_a_system!(takes_the_second_first);
}

/// Sends what does not match at 0.8, 1.6 and 2.4 units, and when told to what does.
fn send_unmatched_and_wait(to: Pid, unit: u64) -> anyhow::Result<()> {
    receive::<()>()?;
    for number in 1..=3 {
        receive_timeout::<()>(Duration::from_millis(unit * 8 / 10))?;
        send(to, format!("unmatched {number}"))?;
    }
    receive::<()>()?;
    send(to, "match".to_owned())?;
    Ok(())
}

fn is_not_stretched() -> anyhow::Result<()> {
    let unit = LIMIT / 2;
    let limit = Duration::from_millis(2 * unit);
    let sender = spawn(send_unmatched_and_wait, (self_pid(), unit))?;
    send(sender, ())?;
    let matches = |text: &String| text == "match";
    assert_eq!(
        takes(limit, || receive_where_timeout(limit, matches))?,
        None
    );

    // The first three are not told apart from a match by their time: told, it sends that last.
    assert_eq!(
        receive_where::<String>(|text| text == "unmatched 3")?,
        "unmatched 3"
    );
    send(sender, ())?;
    assert_eq!(receive_where(matches)?, "match");
    for text in ["unmatched 1", "unmatched 2"] {
        assert_eq!(receive::<String>()?, text);
    }
    assert_empty()
}

/// IN-16
#[test]
fn messages_that_do_not_match_do_not_stretch_a_limit() {
    in_a_system!(is_not_stretched);
}

fn send_without_end(to: Pid) -> anyhow::Result<()> {
    for number in 0_u64.. {
        send(to, number)?;
    }
    Ok(())
}

fn is_not_held_up() -> anyhow::Result<()> {
    let limit = Duration::from_millis(LIMIT);
    let flood = spawn(send_without_end, (self_pid(),))?;
    assert_eq!(receive::<u64>()?, 0, "it has begun");
    assert_eq!(takes(limit, || receive_timeout::<String>(limit))?, None);
    let mut offered = 0;
    let nothing = takes(limit, || {
        receive_where_timeout::<u64>(limit, |_| {
            offered += 1;
            false
        })
    })?;
    assert_eq!(nothing, None);
    occasional::kill(flood)?;
    for number in 1..=offered {
        assert_eq!(
            receive::<u64>()?,
            number,
            "nothing is lost and all is in order"
        );
    }
    Ok(())
}

/// IN-16
#[test]
fn a_flood_that_does_not_match_does_not_stretch_a_limit() {
    in_a_system!(is_not_held_up);
}

#[test]
fn limits_of_any_length_are_kept() {
    fn keeps() -> anyhow::Result<()> {
        for millis in [1, 3, 10, 40] {
            let limit = Duration::from_millis(millis);
            // What is late by less than a turn of the scheduler is not late.
            let before = Instant::now();
            assert_eq!(receive_timeout::<u8>(limit)?, None);
            let took = before.elapsed();
            assert!(took >= limit, "{took:?} for {limit:?}");
            assert!(
                took < (limit * 10).max(Duration::from_millis(10 * LIMIT)),
                "{took:?} for {limit:?}"
            );
        }
        for micros in [1, 50, 999] {
            let limit = Duration::from_micros(micros);
            let before = Instant::now();
            assert_eq!(receive_timeout::<u8>(limit)?, None);
            assert!(before.elapsed() >= limit, "early for {limit:?}");
        }
        Ok(())
    }
    in_a_system!(keeps);
}
