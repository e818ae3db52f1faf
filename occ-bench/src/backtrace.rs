//! `backtrace N`: what a backtrace costs a process that ends with one, and whoever reads it.
//!
//! N processes of each kind end, with a backtrace and without, by turns; the clock runs from the spawn to the Down. What is more with one
//! is what the process takes for it: names are looked for by a helper, when somebody reads it. Beside that: what `std` takes for
//! the names, in a process that is made for that alone.

use std::backtrace::Backtrace as OfStd;
use std::io::{self, Write};
use std::thread;

use anyhow::{Context, bail, ensure};
use occasional::{
    Backtrace, Builder, Down, ExitReason, MonitorRef, Pid, SpawnError, receive, spawn_monitor,
};

use crate::clock;
use crate::left::Before;
use crate::stats::{median, median_of};

/// So many µs more a process may take that has one.
const REACH: f64 = 5_000.0;

fn panics() {
    panic!("here");
}

fn fails() -> anyhow::Result<()> {
    bail!("here")
}

/// Its file descriptors are another thread's, too, so it looks for no names in another way.
fn fails_with_a_thread() -> anyhow::Result<()> {
    thread::spawn(|| {
        loop {
            thread::park();
        }
    });
    bail!("here")
}

/// In µs, what `std` takes for the names in a new process.
fn names_by_std() -> f64 {
    let start = clock::now();
    std::hint::black_box(OfStd::force_capture().to_string());
    clock::micros_since(start)
}

/// One of each kind, as it is told: what is spawned has a type of its own.
#[derive(Clone, Copy)]
enum Kind {
    Panics,
    Fails,
    FailsWithAThread,
}

impl Kind {
    const ALL: [(Kind, &str); 3] = [
        (Kind::Panics, "panics"),
        (Kind::Fails, "fails"),
        (Kind::FailsWithAThread, "fails, and has a thread"),
    ];

    fn spawn(self, builder: &Builder) -> Result<(Pid, MonitorRef), SpawnError> {
        match self {
            Kind::Panics => builder.spawn_monitor(panics, ()),
            Kind::Fails => builder.spawn_monitor(fails, ()),
            Kind::FailsWithAThread => builder.spawn_monitor(fails_with_a_thread, ()),
        }
    }
}

pub(crate) fn run(count: usize, quick: bool) -> anyhow::Result<()> {
    let before = Before::now()?;
    let system = occasional::start()?;
    let mut most: f64 = 0.0;
    let mut read = Vec::new();
    for (kind, name) in Kind::ALL {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut backtraces = Vec::new();
        for _ in 0..count {
            without.push(life(kind, false)?.0);
            let (took, backtrace) = life(kind, true)?;
            with.push(took);
            backtraces
                .push(backtrace.with_context(|| format!("one that {name} has no backtrace"))?);
        }
        // Later: whoever ends after the helper that looks finds cold caches.
        for backtrace in backtraces {
            let start = clock::now();
            let text = backtrace.text();
            read.push(clock::micros_since(start));
            ensure!(text.contains("src/backtrace.rs"), "no names: {text}");
        }
        let (without, with) = (median(without), median(with));
        most = most.max(with - without);
        writeln!(
            io::stdout(),
            "backtrace: one that {name}: {without:.0} µs; with a backtrace {with:.0} µs"
        )?;
    }
    let by_std = median_of(count, || {
        let (_, monitor) = spawn_monitor(names_by_std, ())?;
        let down: Down = receive()?;
        match down.reason {
            ExitReason::Value(value) if down.monitor == monitor => Ok(value.get()?),
            other => bail!("it {other}"),
        }
    })?;
    system.stop();
    before.nothing_is_left()?;
    writeln!(
        io::stdout(),
        "backtrace: names, when it is read: {:.1} ms; by std, in the process: {:.1} ms; nothing is left",
        median(read) / 1e3,
        by_std / 1e3
    )?;
    ensure!(
        quick || most <= REACH,
        "it takes the process {most:.0} µs more, and may take {REACH}"
    );
    Ok(())
}

/// From the spawn to the Down, in µs, and the backtrace that came with that.
fn life(kind: Kind, has_one: bool) -> anyhow::Result<(f64, Option<Backtrace>)> {
    let asks = Builder::new().env("RUST_BACKTRACE", if has_one { "1" } else { "0" });
    let start = clock::now();
    let (_, monitor) = kind.spawn(&asks)?;
    let down: Down = receive()?;
    let took = clock::micros_since(start);
    ensure!(
        down.monitor == monitor,
        "another one ended: {}",
        down.reason
    );
    let backtrace = match down.reason {
        ExitReason::Panic(panic) => panic.backtrace,
        ExitReason::Error(failure) => failure.backtrace().cloned(),
        other => bail!("it {other}"),
    };
    Ok((took, backtrace))
}
