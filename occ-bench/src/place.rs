//! Which processor a process runs on. A process starts where its system was started, and may move.

use std::fmt;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Two processors that we may use; the same twice where there is only one.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

impl Cpus {
    /// The first two of those that this process may use.
    pub(crate) fn allowed() -> anyhow::Result<Cpus> {
        let set = sched_getaffinity(None).context("sched_getaffinity")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu));
        let a = allowed.next().context("no processor is allowed")?;
        Ok(Cpus {
            a,
            b: allowed.next().unwrap_or(a),
        })
    }
}

/// Keeps the calling thread, and what it starts, on these processors.
pub(crate) fn pin(cpus: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).with_context(|| format!("sched_setaffinity to {cpus:?}"))
}

/// Where a row's processes run, in words.
pub(crate) enum Placement {
    /// All on one.
    One(usize),
    /// Some here, some there.
    Apart {
        who: &'static str,
        on: usize,
        others: &'static str,
        there: usize,
    },
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::One(cpu) => write!(f, "all on processor {cpu}"),
            Placement::Apart {
                who,
                on,
                others,
                there,
            } => {
                write!(f, "{who} on processor {on}, {others} on processor {there}")
            }
        }
    }
}
