//! `chaos N SEED`: processes die in all ways at all times, and so do those who watch them; who was told what?
//!
//! - [`plan`]: who dies of what and when, and who watches, from the seed.
//! - [`subject`], [`watcher`]: the processes.
//! - [`stage`]: carries the plan out. [`judge`]: compares. [`told`]: what with what.
//!
//! The plan is the same for the same seed. What races with what is the machine's affair, and that is what it is for: a
//! fault comes again with its seed if it lies in what happens, and perhaps if it lies in when.

mod judge;
mod plan;
mod stage;
mod subject;
mod told;
mod watcher;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{self, Write as _};

use anyhow::{Context, ensure};
use occ_proc::Stat;
use occasional::OsPid;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::clock;
use crate::left::{Before, children_of, strangers};
use crate::machine::open_fds;
use judge::{Judge, Tally};
use plan::{Plan, WAYS};
use stage::Stage;

/// Processes under way at a time, unless it is asked for otherwise.
pub(crate) const UNDER_WAY: usize = 200;

/// What is there at the end, and should not be.
struct Left {
    processes: usize,
    host_fds: usize,
    coordinator_fds: usize,
}

pub(crate) fn run(count: u64, seed: u64, under_way: usize) -> anyhow::Result<()> {
    crate::room::check(under_way)?;
    no_core_dumps()?;
    let plan = Plan { count, seed };
    let mut out = io::stdout();
    writeln!(
        out,
        "chaos: {count} processes, seed {seed}, plan {:016x}, {under_way} under way at the most",
        plan.digest()
    )?;
    out.flush()?;

    let before = Before::now()?;
    let start = clock::now();
    let (judge, left) = play(plan, under_way, &before)?;
    let seconds = clock::micros_since(start) / 1e6;
    before.nothing_is_left()?;

    for fault in &judge.faults {
        writeln!(io::stderr(), "{fault}")?;
    }
    write!(out, "{}", table(&judge))?;
    writeln!(
        out,
        "left: {} processes, {} descriptors of the host, {} of the coordinator; {seconds:.1} s",
        left.processes, left.host_fds, left.coordinator_fds
    )?;
    let faults: u64 = judge.tallies.iter().map(|tally| tally.faults()).sum();
    ensure!(faults == 0, "{faults} reports were not as they should be");
    let left = left.processes + left.host_fds + left.coordinator_fds;
    ensure!(left == 0, "something was left");
    Ok(())
}

fn play(plan: Plan, under_way: usize, before: &Before) -> anyhow::Result<(Judge, Left)> {
    let system = occasional::start()?;
    let coordinator = system.coordinator().context("no coordinator")?;
    // It has made no process yet.
    let zygote = children_of(coordinator)?;
    let (host_fds, coordinator_fds) = (open_fds(OsPid::own())?, open_fds(coordinator)?);

    let mut stage = Stage::new(plan)?;
    stage.play(under_way)?;
    // What processes have left behind ends after them, also while there are others: the watchers.
    let known = occasional::processes()?.into_iter();
    let known: BTreeSet<OsPid> = known.filter_map(|info| info.os_pid).collect();
    let left = strangers(coordinator, |os_pid| {
        zygote.contains(&os_pid) || known.contains(&os_pid)
    })?;
    stage.end()?;

    let listed = occasional::processes()?.len();
    let left = Left {
        // The host is one of the system's.
        processes: left.len() + listed - 1,
        host_fds: open_fds(OsPid::own())?.saturating_sub(host_fds),
        coordinator_fds: open_fds(coordinator)?.saturating_sub(coordinator_fds),
    };
    system.stop();
    ensure!(
        Stat::of(coordinator).is_err(),
        "the coordinator outlives its system"
    );
    let fds = before.fds_left()?;
    ensure!(
        fds == 0,
        "{fds} descriptors are left of a system that has ended"
    );
    Ok((stage.judge, left))
}

/// A dump of each that dies by SIGSEGV would fill the disk, and take its time.
fn no_core_dumps() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    setrlimit(Resource::Core, limit).context("setrlimit(RLIMIT_CORE)")
}

fn table(judge: &Judge) -> String {
    let mut text = format!(
        "{:24} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6}\n",
        "way to die", "deaths", "reports", "wrong", "missing", "doubled", "early"
    );
    let names = WAYS.map(|(way, _, _)| way.name());
    let names = names
        .into_iter()
        .chain(["watchers, in 7 ways", "of nobody under way"]);
    let mut sum = Tally::default();
    for (name, tally) in names.zip(judge.tallies) {
        sum.add(tally);
        line(&mut text, name, tally);
    }
    line(&mut text, "all", sum);
    text
}

fn line(text: &mut String, name: &str, tally: Tally) {
    let Tally {
        deaths,
        reports,
        wrong,
        missing,
        doubled,
        early,
    } = tally;
    let _ = writeln!(
        text,
        "{name:24} {deaths:>8} {reports:>8} {wrong:>6} {missing:>8} {doubled:>8} {early:>6}"
    );
}
