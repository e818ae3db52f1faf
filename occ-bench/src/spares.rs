//! Processes made from spares: how soon the function runs, how soon its end is known, as long as there are spares.
//!
//! A round uses fewer than there are. Before it, and after it, one waits until there are as many as there should be: what they cost
//! falls on nobody who measures.

use anyhow::Context;
use occasional::SystemBuilder;

use crate::meter::{Meter, serve};
use crate::place::{Cpus, pin};
use crate::raw;
use crate::report::{Measured, Peers};
use crate::spawning::{COUNT, downs, to_first_lines};
use crate::stats::{Scale, interleave};

/// More than a round uses.
const SPARES: usize = COUNT + COUNT / 4;

pub(crate) fn to_code(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    measure(scale, cpus, |count| Meter::start(first_lines, (count,)))
}

pub(crate) fn down(scale: Scale, cpus: Cpus) -> anyhow::Result<Measured> {
    measure(scale, cpus, |count| Meter::start(ends, (count,)))
}

fn measure(
    scale: Scale,
    cpus: Cpus,
    start: impl FnOnce(usize) -> anyhow::Result<Meter>,
) -> anyhow::Result<Measured> {
    pin(&[cpus.a])?;
    let _system = occasional::start_with(SystemBuilder::new().spares(SPARES))?;
    let count = scale.count(COUNT);
    let ours = start(count)?;
    let raw = Meter::start(raw::fork_exit_wait, (count,))?;
    let [ours, raw] = interleave(scale, [ours, raw])?;
    Ok(Measured {
        ours,
        raw,
        peers: Peers::default(),
    })
}

fn first_lines(count: usize) -> anyhow::Result<()> {
    serve(|| among_spares(|| to_first_lines(count)))
}

fn ends(count: usize) -> anyhow::Result<()> {
    serve(|| among_spares(|| downs(count)))
}

fn among_spares(measure: impl FnOnce() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    until_there_are_spares()?;
    let figure = measure()?;
    until_there_are_spares()?;
    Ok(figure)
}

/// The coordinator is the parent of every process, and of the spares. They have a name while they are such.
fn until_there_are_spares() -> anyhow::Result<()> {
    let coordinator = std::os::unix::process::parent_id();
    let list = format!("/proc/{coordinator}/task/{coordinator}/children");
    loop {
        let children = std::fs::read_to_string(&list).context("a kernel that lists children")?;
        let is_spare = |child: &&str| {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name.trim_end() == "occ-spare")
        };
        if children.split_ascii_whitespace().filter(is_spare).count() >= SPARES {
            return Ok(());
        }
        rustix::thread::sched_yield();
    }
}
