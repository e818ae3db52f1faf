//! A receiver that does not look: how its senders notice, and what it finds when it does.

use std::time::Duration;

use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, takes};
use occasional::{
    Down, ExitReason, Pid, SendError, receive, receive_timeout, self_pid, send, send_timeout,
    spawn, spawn_monitor, try_send,
};

use crate::gate::{Gate, Place};

/// Looks into its inbox only when the gate opens; gives the lengths of what it finds.
fn look_late(gate: String, ready: String) -> anyhow::Result<Vec<(u32, usize)>> {
    let place = Place::before(&gate);
    Say::open(&ready).ready();
    place.wait();
    let mut found = Vec::new();
    while let Some((number, text)) = receive_timeout::<(u32, String)>(Duration::ZERO)? {
        found.push((number, text.len()));
    }
    Ok(found)
}

struct Late {
    pid: Pid,
    gate: Gate,
}

impl Late {
    fn new() -> anyhow::Result<Late> {
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let (pid, _) = spawn_monitor(look_late, (gate.address(), say.address()))?;
        ready.wait(LIMIT);
        Ok(Late { pid, gate })
    }

    /// What it found once it looked.
    fn found(self) -> anyhow::Result<Vec<(u32, usize)>> {
        drop(self.gate);
        let down: Down = receive()?;
        assert_eq!(down.pid, self.pid);
        let ExitReason::Value(found) = down.reason else {
            anyhow::bail!("{}", down.reason)
        };
        Ok(found.get()?)
    }
}

/// Sends messages of this length until there is no room; gives how many there was room for.
fn fill(to: Pid, len: usize) -> u32 {
    for number in 0.. {
        match try_send(to, (number, "x".repeat(len))) {
            Ok(()) => {}
            Err(SendError::Full { to: named }) => {
                assert_eq!(named, to);
                return number;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("there is an end to all room")
}

fn fills() -> anyhow::Result<()> {
    for len in [0, 1_000, 60_000, 100_000] {
        // The longest go as descriptors, and of those the kernel lets others have only so many under way.
        if len > 65_536 && !rustix::process::geteuid().is_root() {
            occ_test_support::skipped("long messages: their number is limited for this user");
            continue;
        }
        let late = Late::new()?;
        let sent = fill(late.pid, len);
        assert!(sent > 0, "there was room for one of {len} bytes");

        // Full, until it looks: at once, and in time.
        assert!(matches!(
            try_send(late.pid, (sent, String::new())),
            Err(SendError::Full { .. })
        ));
        let limit = Duration::from_millis(200);
        let result = takes(limit, || {
            send_timeout(late.pid, (sent, String::new()), limit)
        });
        assert!(
            matches!(result, Err(SendError::Full { to }) if to == late.pid),
            "{result:?}"
        );

        let expected: Vec<_> = (0..sent).map(|number| (number, len)).collect();
        assert_eq!(late.found()?, expected, "exactly what was sent");
    }
    Ok(())
}

#[test]
fn a_receiver_that_does_not_look_is_full_and_finds_exactly_what_was_sent() {
    in_a_system!(fills);
}

fn is_let_in() -> anyhow::Result<()> {
    let late = Late::new()?;
    let sent = fill(late.pid, 1_000);
    drop(late.gate);
    // It looks once; what comes in after that is not counted, but is let in.
    let result = send_timeout(late.pid, (sent, "late".to_owned()), LIMIT);
    assert!(
        matches!(result, Ok(()) | Err(SendError::NoProcess { .. })),
        "{result:?}"
    );
    let down: Down = receive()?;
    let ExitReason::Value(found) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert!(found.get::<Vec<(u32, usize)>>()?.len() >= usize::try_from(sent)?);
    Ok(())
}

#[test]
fn a_sender_with_a_limit_is_let_in_when_the_receiver_looks() {
    in_a_system!(is_let_in);
}

fn send_until_full(to: Pid, ready: String) -> anyhow::Result<()> {
    let sent = fill(to, 1_000);
    Say::open(&ready).line(sent);
    // Waits for room, for as long as it takes.
    send(to, (sent, "the last".to_owned()))?;
    Ok(())
}

fn waits_for_room() -> anyhow::Result<()> {
    let (ready, say) = Ready::new();
    let (sender, _) = spawn_monitor(send_until_full, (self_pid(), say.address()))?;
    let sent: u32 = ready.line(LIMIT).parse()?;
    for expected in 0..=sent {
        assert_eq!(receive::<(u32, String)>()?.0, expected);
    }
    assert_eq!(receive::<Down>()?.pid, sender);
    Ok(())
}

#[test]
fn a_sender_without_a_limit_waits_until_the_receiver_looks() {
    in_a_system!(waits_for_room);
}

/// Kills a process that its asker has filled.
fn kill_when_told() -> anyhow::Result<()> {
    occasional::kill(receive::<Pid>()?)?;
    Ok(())
}

fn the_receiver_dies() -> anyhow::Result<()> {
    let Late {
        pid: full,
        gate: _closed,
    } = Late::new()?;
    fill(full, 1_000);
    let killer = spawn(kill_when_told, ())?;
    send(killer, full)?;
    // Waits, and is told when there is nobody any more to wait for.
    let error = loop {
        if let Err(error) = send(full, (0_u32, "x".repeat(1_000))) {
            break error;
        }
    };
    assert!(
        matches!(error, SendError::NoProcess { to } if to == full),
        "{error}"
    );
    assert_eq!(receive::<Down>()?.pid, full);
    Ok(())
}

#[test]
fn a_sender_that_waits_for_room_is_told_when_the_receiver_dies() {
    in_a_system!(the_receiver_dies);
}
