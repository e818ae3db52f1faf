//! Connections, which nobody sees: one for each pair of processes, and nothing lost while it is made.

use std::fs;

use occ_test_support::stress::times;
use occasional::{
    Down, ExitReason, Pid, processes, receive, receive_any, self_pid, send, spawn, spawn_monitor,
};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a clock that all processes share.
fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// How many sockets this process has open.
fn sockets() -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

const EACH: u32 = 10;

/// At the moment that it is told, sends to its peer; then receives from it, and says how many sockets it has.
fn meet(parent: Pid) -> anyhow::Result<()> {
    let (peer, at): (Pid, i64) = receive()?;
    // Spins, because no two processes wake up at one instant.
    while now() < at {
        std::hint::spin_loop();
    }
    for number in 0..EACH {
        send(peer, number)?;
    }
    for expected in 0..EACH {
        let message = receive_any()?;
        anyhow::ensure!(message.from == peer, "from {} and not {peer}", message.from);
        let number: u32 = message.decode()?;
        anyhow::ensure!(
            number == expected,
            "{number} came where {expected} was next"
        );
    }
    // What the coordinator had to say comes before its reply.
    processes()?;
    send(parent, sockets())?;
    // The connections are there for as long as both are.
    receive::<()>()?;
    Ok(())
}

fn meets_often() -> anyhow::Result<()> {
    for _ in 0..times(200) {
        let (a, _) = spawn_monitor(meet, (self_pid(),))?;
        let (b, _) = spawn_monitor(meet, (self_pid(),))?;
        let at = now() + 1_000_000;
        send(a, (b, at))?;
        send(b, (a, at))?;
        for _ in 0..2 {
            let message = receive_any()?;
            if let Ok(down) = message.decode::<Down>() {
                anyhow::bail!("{} {}", down.pid, down.reason);
            }
            // One to the coordinator, one to this process, and one between the two.
            assert_eq!(message.decode::<usize>()?, 3, "{}", message.from);
        }
        send(a, ())?;
        send(b, ())?;
        both_have_returned()?;
    }
    processes()?;
    assert_eq!(sockets(), 1, "the connections with the dead are closed");
    Ok(())
}

#[test]
fn two_processes_that_first_send_at_the_same_instant_have_one_connection() {
    in_a_system!(meets_often);
}

fn echo() -> anyhow::Result<()> {
    let (from, number): (Pid, usize) = receive()?;
    send(from, number)?;
    Ok(())
}

fn sends_at_once() -> anyhow::Result<()> {
    let number_of = times(500);
    for number in 0..number_of {
        let child = spawn(echo, ())?;
        send(child, (self_pid(), number))?;
    }
    let mut answers = (0..number_of)
        .map(|_| receive())
        .collect::<Result<Vec<usize>, _>>()?;
    answers.sort_unstable();
    assert_eq!(answers, (0..number_of).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn what_is_sent_the_instant_that_spawn_returns_arrives() {
    in_a_system!(sends_at_once);
}

fn greet(from: Pid) -> anyhow::Result<()> {
    // The other way round: the child is first, while its parent is still in `spawn`.
    send(from, self_pid())?;
    Ok(())
}

fn is_greeted() -> anyhow::Result<()> {
    for _ in 0..times(200) {
        let child = spawn(greet, (self_pid(),))?;
        assert_eq!(receive::<Pid>()?, child);
    }
    Ok(())
}

#[test]
fn what_a_process_sends_first_of_all_arrives() {
    in_a_system!(is_greeted);
}

const FLOOD: u64 = 20_000;

fn flood() -> anyhow::Result<()> {
    let peer: Pid = receive()?;
    for number in 0..FLOOD {
        send(peer, number)?;
    }
    for expected in 0..FLOOD {
        let number: u64 = receive()?;
        anyhow::ensure!(
            number == expected,
            "{number} came where {expected} was next"
        );
    }
    Ok(())
}

/// With messages that take many datagrams each.
fn flood_with_long_ones() -> anyhow::Result<()> {
    let peer: Pid = receive()?;
    let long = |number: u8| char::from(b'a' + number).to_string().repeat(1 << 20);
    for number in 0..20 {
        send(peer, long(number))?;
    }
    for number in 0..20 {
        anyhow::ensure!(
            receive::<String>()? == long(number),
            "another came where {number} was next"
        );
    }
    Ok(())
}

/// Two that are watched, whichever is first.
fn both_have_returned() -> anyhow::Result<()> {
    for _ in 0..2 {
        let down: Down = receive()?;
        anyhow::ensure!(
            matches!(down.reason, ExitReason::Value(_)),
            "{}",
            down.reason
        );
    }
    Ok(())
}

fn introduce(a: Pid, b: Pid) -> anyhow::Result<()> {
    send(a, b)?;
    send(b, a)?;
    both_have_returned()?;
    Ok(())
}

fn floods() -> anyhow::Result<()> {
    introduce(spawn_monitor(flood, ())?.0, spawn_monitor(flood, ())?.0)
}

fn floods_with_long_ones() -> anyhow::Result<()> {
    introduce(
        spawn_monitor(flood_with_long_ones, ())?.0,
        spawn_monitor(flood_with_long_ones, ())?.0,
    )
}

#[test]
fn two_processes_that_flood_each_other_do_not_wait_for_ever() {
    in_a_system!(floods);
}

#[test]
fn two_processes_that_flood_each_other_with_long_messages_do_not_wait_for_ever() {
    in_a_system!(floods_with_long_ones);
}

fn say_all(to: Pid, name: u8, count: u32) -> anyhow::Result<()> {
    for number in 0..count {
        send(to, (name, number))?;
    }
    Ok(())
}

fn hears_many() -> anyhow::Result<()> {
    for name in 0..10_u8 {
        spawn(say_all, (self_pid(), name, 1_000_u32))?;
    }
    let mut next = [0_u32; 10];
    for _ in 0..10_000 {
        let (name, number): (u8, u32) = receive()?;
        let next = &mut next[usize::from(name)];
        assert_eq!(number, *next, "of sender {name}");
        *next += 1;
    }
    Ok(())
}

#[test]
fn what_each_of_many_sends_keeps_its_order() {
    in_a_system!(hears_many);
}
