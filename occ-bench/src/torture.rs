//! `torture SEED`: senders of messages of all lengths are killed at random instants and replaced; what has become of their messages?
//!
//! - [`plan`]: what each sender sends, and how, from the seed. [`mod@line`]: what of it comes in one order.
//! - [`gift`]: descriptors that say which they are; [`parcel`]: messages with some. [`witness`]: whether one is open, anywhere.
//! - [`sender`], [`receiver`]: the processes. [`accounts`]: what a sender was told of its messages, in memory that outlives it.
//! - [`stage`]: starts, kills and replaces. [`judge`]: who was to be told what. [`unread`]: senders of what nobody receives.
//!
//! ```text
//! stage ── spawn_monitor ───► sender       with the writing end of a pipe, which is in each message with descriptors
//!   │ ──── Watch ───────────► receiver ×2  monitors it, says so
//!   │ ──── Go ──────────────► sender       sends to both, by one or two threads, and keeps account of what was accepted
//!   │ ──── SIGKILL ─────────► sender
//!   │ ◄─── Down
//!   │ ◄─── Verdict ────────── receiver     its own Down came: what was accepted must have come before
//!   │ ◄─── the end of the pipe             whatever descriptor came with a message of the dead is closed, wherever it was
//! ```
//!
//! At last the receivers stop to receive, and more senders send to them and are killed: what waits then, in an inbox, in a socket, or in a
//! socket that is under way itself, is closed when the receivers have ended.
//!
//! What a sender does is the same for the same seed, and so is who is killed after how long; where in its work that meets it is the
//! machine's affair.

mod accounts;
mod gift;
mod judge;
mod line;
mod parcel;
mod plan;
mod receiver;
mod sender;
mod stage;
mod unread;
mod witness;

use std::io::{self, Write};
use std::time::Duration;

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

/// How long descriptors of a dead sender may take to be closed, by whoever has them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Descriptors that are there at the end and were not at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaked {
    receivers: usize,
    host: usize,
    coordinator: usize,
    /// Dead senders that have sent one which is open, wherever that is.
    senders: usize,
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
    let (judge, leaked) = play(Plan::new(seed), messages, PATIENCE)?;
    let seconds = clock::micros_since(start) / 1e6;
    before.nothing_is_left()?;

    for fault in &judge.notes {
        writeln!(io::stderr(), "{fault}")?;
    }
    let totals = &judge.totals;
    writeln!(
        out,
        "torture: {} messages, {} MiB, from {} senders, of which {} were killed in the middle of a send; {} messages by second threads; {seconds:.1} s",
        totals.messages,
        totals.bytes >> 20,
        totals.ended,
        totals.interrupted,
        totals.by_handle,
    )?;
    let gifts = &totals.gifts;
    writeln!(
        out,
        "torture: {} descriptors came with {} of the messages; {} more with some were thrown away, and {} never read",
        gifts.came, gifts.parcels, gifts.thrown_away, totals.unread
    )?;
    writeln!(out, "torture: messages: {}", totals.faults)?;
    writeln!(
        out,
        "torture: ends: {} told wrongly, {} twice, {} not at all",
        totals.wrong, totals.doubled, totals.missing
    )?;
    writeln!(
        out,
        "torture: descriptors: {} wrong; left: {} of the receivers, {} of the host, {} of the coordinator, of {} dead senders somewhere",
        gifts.wrong, leaked.receivers, leaked.host, leaked.coordinator, leaked.senders
    )?;
    let faults = totals.count_faults();
    ensure!(faults == 0, "{faults} things were not as they should be");
    let left = leaked.receivers + leaked.host + leaked.coordinator + leaked.senders;
    ensure!(left == 0, "descriptors are left: {leaked:?}");
    Ok(())
}

fn play(plan: Plan, messages: u64, patience: Duration) -> anyhow::Result<(Judge, Leaked)> {
    let system = occasional::start()?;
    let coordinator = system.coordinator().context("no coordinator")?;
    let (host_before, coordinator_before) = (open_fds(OsPid::own())?, open_fds(coordinator)?);
    let mut stage = Stage::new(plan)?;
    stage.play(messages, SENDERS)?;
    let receivers = stage.leaked_by_receivers()?;
    let mut senders = stage.take_still_open(patience)?;
    let gate = stage.leave_unread(SENDERS)?;
    stage.end(gate)?;
    senders += stage.take_still_open(patience)?;
    let judge = stage.into_judge();
    let leaked = Leaked {
        receivers,
        host: open_fds(OsPid::own())?.saturating_sub(host_before),
        coordinator: fds_more_than(coordinator_before, coordinator)?,
        senders,
    };
    system.stop();
    Ok((judge, leaked))
}

#[cfg(test)]
mod tests {
    use occ_test_support::isolated;

    use super::plan::Fault;
    use super::*;

    const FEW: u64 = 3_000;

    fn play_with(fault: Option<Fault>) -> (Judge, Leaked) {
        let plan = Plan { seed: 3, fault };
        // What is looked for does not close of itself; and what is not there is not waited for.
        play(plan, FEW, Duration::from_secs(1)).unwrap()
    }

    const NOTHING: Leaked = Leaked {
        receivers: 0,
        host: 0,
        coordinator: 0,
        senders: 0,
    };

    #[test]
    fn descriptors_come_as_they_were_sent_and_all_are_closed() {
        isolated!(|| {
            let (judge, leaked) = play_with(None);
            let totals = &judge.totals;
            assert_eq!((totals.count_faults(), leaked), (0, NOTHING));
            let gifts = totals.gifts;
            assert!(gifts.parcels > 0 && gifts.came > gifts.parcels, "{gifts:?}");
            assert!(gifts.thrown_away > 0 && totals.unread > 0, "{totals:?}");
        });
    }

    #[test]
    fn a_descriptor_that_a_receiver_keeps_is_left_of_it_and_of_who_sent_it() {
        isolated!(|| {
            let (judge, leaked) = play_with(Some(Fault::Keep));
            // Each of them keeps one, of a sender.
            let expected = Leaked {
                receivers: plan::RECEIVERS,
                senders: leaked.senders,
                ..NOTHING
            };
            assert_eq!((judge.totals.count_faults(), leaked), (0, expected));
            assert!((1..=plan::RECEIVERS).contains(&leaked.senders));
            assert!(
                judge.notes[0].contains("is open still"),
                "{:?}",
                judge.notes
            );
        });
    }

    #[test]
    fn descriptors_in_the_wrong_place_are_counted() {
        isolated!(|| {
            let (judge, leaked) = play_with(Some(Fault::Exchange));
            let wrong = judge.totals.gifts.wrong;
            assert!(wrong > 0 && wrong.is_multiple_of(2), "{wrong}");
            assert_eq!((judge.totals.count_faults(), leaked), (wrong, NOTHING));
        });
    }
}
