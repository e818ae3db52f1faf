//! `torture SEED`: senders of messages of all lengths are killed at random instants and replaced; what has become of their messages?
//!
//! - [`plan`]: what each sender sends, and how, from the seed.
//! - [`sender`], [`receiver`]: the processes. [`accounts`]: what a sender was told of its messages, in memory that outlives it.
//! - [`stage`]: starts, kills and replaces. [`judge`]: who was to be told what.
//!
//! ```text
//! stage ── spawn_monitor ───► sender
//!   │ ──── Watch ───────────► receiver ×2  monitors it, says so
//!   │ ──── Go ──────────────► sender       sends to both, and keeps account of what was accepted
//!   │ ──── SIGKILL ─────────► sender
//!   │ ◄─── Down
//!   │ ◄─── Verdict ────────── receiver     its own Down came: what was accepted must have come before
//! ```
//!
//! What a sender does is the same for the same seed, and so is who is killed after how long; where in its work that meets it is the
//! machine's affair.

mod accounts;
mod judge;
mod plan;
mod receiver;
mod sender;
mod stage;

use std::io::{self, Write};

use anyhow::{Context, ensure};
use occasional::OsPid;

use crate::clock;
use crate::left::{Before, fds_more_than};
use crate::machine::open_fds;
use judge::Judge;
use plan::Plan;
use stage::Stage;

/// Messages, unless it is asked for otherwise.
pub(crate) const MESSAGES: u64 = 10_000_000;

/// Senders at a time.
const SENDERS: usize = 8;

/// Descriptors that are there at the end and were not at the beginning.
struct Leaked {
    receivers: usize,
    host: usize,
    coordinator: usize,
}

pub(crate) fn run(seed: u64, messages: u64) -> anyhow::Result<()> {
    let mut out = io::stdout();
    writeln!(
        out,
        "torture: seed {seed}, {messages} messages or more, {SENDERS} senders at a time to {} receivers",
        plan::RECEIVERS
    )?;
    out.flush()?;

    let before = Before::now()?;
    let start = clock::now();
    let (judge, leaked) = play(Plan { seed }, messages)?;
    let seconds = clock::micros_since(start) / 1e6;
    before.nothing_is_left()?;

    for fault in &judge.notes {
        writeln!(io::stderr(), "{fault}")?;
    }
    let totals = &judge.totals;
    writeln!(
        out,
        "torture: {} messages, {} MiB, from {} senders, of which {} were killed in the middle of a send; {seconds:.1} s",
        totals.messages,
        totals.bytes >> 20,
        totals.ended,
        totals.interrupted,
    )?;
    writeln!(out, "torture: messages: {}", totals.faults)?;
    writeln!(
        out,
        "torture: ends: {} told wrongly, {} twice, {} not at all",
        totals.wrong, totals.doubled, totals.missing
    )?;
    writeln!(
        out,
        "torture: descriptors left: {} of the receivers, {} of the host, {} of the coordinator",
        leaked.receivers, leaked.host, leaked.coordinator
    )?;
    let faults = totals.count_faults();
    ensure!(faults == 0, "{faults} things were not as they should be");
    let left = leaked.receivers + leaked.host + leaked.coordinator;
    ensure!(left == 0, "{left} descriptors were left");
    Ok(())
}

fn play(plan: Plan, messages: u64) -> anyhow::Result<(Judge, Leaked)> {
    let system = occasional::start()?;
    let coordinator = system.coordinator().context("no coordinator")?;
    let mut stage = Stage::new(plan)?;
    let (host_before, coordinator_before) = (open_fds(OsPid::own())?, open_fds(coordinator)?);
    stage.play(messages, SENDERS)?;
    let leaked = Leaked {
        receivers: stage.leaked_by_receivers()?,
        host: open_fds(OsPid::own())?.saturating_sub(host_before),
        coordinator: fds_more_than(coordinator_before, coordinator)?,
    };
    let judge = stage.end()?;
    system.stop();
    Ok((judge, leaked))
}
