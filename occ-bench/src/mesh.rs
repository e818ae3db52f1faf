//! `mesh N`: N processes, each of which sends to every other before it looks at what it was sent; and then many to one.
//!
//! Between neighbours there is more under way, in both directions, than the kernel holds: if one that waits for room did not take
//! in what it is sent meanwhile, all would wait for ever.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use occasional::{Down, ExitReason, Pid};
use occasional::{
    receive, receive_any_timeout, receive_map_timeout, receive_timeout, self_pid, send,
    spawn_monitor,
};
use rustix::net::sockopt::socket_send_buffer_size;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::left::Before;
use crate::piece::Piece;
use crate::random::Random;
use crate::raw::pair;
use crate::room;
use crate::sequence::{Faults, Sequence};

/// Nothing is heard for so long only if nothing will ever be.
const QUIET: Duration = Duration::from_secs(60);

/// Messages of each process to each other.
const EACH: u64 = 8;

/// Messages of each of the many to the one.
const EACH_TO_ONE: u64 = 20;

/// So many send to one where N have sent to each other.
const MANY: usize = 10;

/// Bytes of a message that there is more of between neighbours.
const HEAVY: usize = 100_000;

/// Bytes of others: in one part and in several, and on both sides of a border.
const SIZES: [usize; 10] = [0, 1, 16, 100, 900, 4_000, 4_200, 20_000, 66_000, 140_000];

/// From the host: these are to send to each other.
#[derive(Serialize, Deserialize)]
struct Everybody(Vec<Pid>);

/// To the host: all that was expected has come, or will not.
#[derive(Serialize, Deserialize)]
struct Complete;

/// From the host: nobody sends any more.
#[derive(Serialize, Deserialize)]
struct Stop;

/// What one process has received.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Tally {
    messages: u64,
    bytes: u64,
    faults: Faults,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.faults.add(other.faults);
    }
}

pub(crate) fn run(count: usize) -> anyhow::Result<()> {
    ensure!(count > 1, "one process alone has nobody to send to");
    let many = MANY * count;
    room::check(many)?;
    room::raise_open_files(many as u64)?;
    let before = Before::now()?;
    let system = occasional::start()?;
    let start = clock::now();
    let mesh = each_to_each(count)?;
    say(&format!("{count} processes, each to each"), mesh, start)?;
    let start = clock::now();
    let fan = many_to_one(many)?;
    say(&format!("{many} processes to one"), fan, start)?;
    system.stop();
    before.nothing_is_left()?;

    let mut all = mesh;
    all.add(fan);
    writeln!(io::stdout(), "mesh: {}; nothing is left", all.faults)?;
    ensure!(
        all.faults.sum() == 0,
        "{} messages were not as they should be",
        all.faults.sum()
    );
    Ok(())
}

fn say(who: &str, tally: Tally, start: u64) -> anyhow::Result<()> {
    let seconds = clock::micros_since(start) / 1e6;
    let mib = tally.bytes as f64 / f64::from(1 << 20);
    writeln!(
        io::stdout(),
        "mesh: {who}: {} messages, {mib:.0} MiB in {seconds:.2} s",
        tally.messages
    )?;
    Ok(())
}

/// More messages between neighbours than there is room for in the kernel.
fn heavy() -> anyhow::Result<u64> {
    let (end, _other) = pair()?;
    Ok(socket_send_buffer_size(&end)? as u64 / HEAVY as u64 + 2)
}

fn each_to_each(count: usize) -> anyhow::Result<Tally> {
    let heavy = heavy()?;
    let mut all = Vec::with_capacity(count);
    for index in 0..count as u64 {
        all.push(spawn_monitor(member, (index, heavy, self_pid()))?.0);
    }
    for one in &all {
        send(*one, Everybody(all.clone()))?;
    }
    gather(&all)
}

fn many_to_one(count: usize) -> anyhow::Result<Tally> {
    let (one, _) = spawn_monitor(hear_all, (count as u64, self_pid()))?;
    for index in 0..count as u64 {
        spawn_monitor(send_to_one, (index, one))?;
    }
    gather(&[one])
}

/// What these have received, when all have.
fn gather(receivers: &[Pid]) -> anyhow::Result<Tally> {
    let mut complete = 0;
    while complete < receivers.len() {
        let heard = receive_map_timeout(QUIET, |message| {
            if message.is::<Complete>() {
                return Some(None);
            }
            message.decode::<Down>().ok().map(Some)
        })?;
        match heard.with_context(|| format!("nothing is heard; {complete} have received all"))? {
            None => complete += 1,
            // One who only sends.
            Some(down) => {
                let returned = matches!(down.reason, ExitReason::Value(_));
                ensure!(returned && !receivers.contains(&down.pid), "{down}");
            }
        }
    }
    for receiver in receivers {
        send(*receiver, Stop)?;
    }
    let (mut all, mut left) = (Tally::default(), receivers.len());
    while left > 0 {
        let down: Option<Down> = receive_timeout(QUIET)?;
        let down = down.with_context(|| format!("{left} do not end"))?;
        match &down.reason {
            ExitReason::Value(value) if receivers.contains(&down.pid) => {
                all.add(value.get::<Tally>()?);
                left -= 1;
            }
            ExitReason::Value(_) => {}
            _ => bail!("{down}"),
        }
    }
    Ok(all)
}

/// How long a message is.
fn size_of(from: u64, to: u64, number: u64) -> usize {
    if number >= EACH {
        return HEAVY;
    }
    Random::new(from, to).skip(number).pick(&SIZES)
}

fn are_neighbours(a: u64, b: u64, count: u64) -> bool {
    (a + 1) % count == b || (b + 1) % count == a
}

fn member(index: u64, heavy: u64, host: Pid) -> anyhow::Result<Tally> {
    let Everybody(all) = receive()?;
    let count = all.len() as u64;
    room::raise_open_files(count)?;
    let planned = |other| {
        let more = are_neighbours(index, other, count);
        EACH + if more { heavy } else { 0 }
    };
    for number in 0..EACH + heavy {
        // Each begins with another, or all would send to the first at first.
        for to in (index + 1..count).chain(0..index) {
            if number < planned(to) {
                let piece = Piece::new(index, number, size_of(index, to, number));
                send(all[to as usize], piece)?;
            }
        }
    }
    let others = (0..count).filter(|other| *other != index);
    let senders = others.map(|other| (other, planned(other))).collect();
    hear(&senders, index, host)
}

fn hear_all(senders: u64, host: Pid) -> anyhow::Result<Tally> {
    room::raise_open_files(senders)?;
    let senders: BTreeMap<u64, u64> = (0..senders).map(|sender| (sender, EACH_TO_ONE)).collect();
    hear(&senders, u64::MAX, host)
}

fn send_to_one(index: u64, one: Pid) -> anyhow::Result<()> {
    for number in 0..EACH_TO_ONE {
        send(
            one,
            Piece::new(index, number, size_of(index, u64::MAX, number)),
        )?;
    }
    Ok(())
}

/// Receives what these are to send, so many each, and then what nobody was to.
fn hear(senders: &BTreeMap<u64, u64>, me: u64, host: Pid) -> anyhow::Result<Tally> {
    let mut sequences: BTreeMap<u64, Sequence> = BTreeMap::new();
    let mut tally = Tally::default();
    let mut take = |piece: Piece| {
        let size = size_of(piece.sender, me, piece.number);
        tally.messages += 1;
        tally.bytes += piece.len() as u64;
        if senders.contains_key(&piece.sender) {
            let sequence = sequences.entry(piece.sender).or_default();
            sequence.take(piece.number, piece.is_whole(size));
        } else {
            tally.faults.stray += 1;
        }
    };
    let expected: u64 = senders.values().sum();
    for _ in 0..expected {
        // What does not come is lost.
        match receive_timeout::<Piece>(QUIET / 2)? {
            Some(piece) => take(piece),
            None => break,
        }
    }
    send(host, Complete)?;
    receive::<Stop>()?;
    while let Some(message) = receive_any_timeout(Duration::ZERO)? {
        take(message.decode()?);
    }
    for (sender, sent) in senders {
        let sequence = sequences.remove(sender).unwrap_or_default();
        tally.faults.add(sequence.end(*sent, 0));
    }
    Ok(tally)
}
