//! What the kernel says of the machine's memory, and of what a process has.

use std::fs;

use anyhow::Context;
use occasional::OsPid;
use serde::{Deserialize, Serialize};

use crate::sys::wait_for_all_processors;

/// Grace periods between two looks.
const GRACE_PERIODS: usize = 10;

/// KiB that are no change between two looks.
const STILL: u64 = 512;

/// Others give memory back as well, and take some.
const MOST_LOOKS: usize = 50;

/// Figures of /proc/meminfo that many processes move, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// What could be had without swapping.
    pub(crate) available: u64,
    /// What the kernel has for its own: stacks, page tables, and all small things (slab).
    pub(crate) kernel: u64,
}

impl Memory {
    pub(crate) fn now() -> anyhow::Result<Memory> {
        let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let figure = |name| kib(&text, name).with_context(|| format!("/proc/meminfo: no {name}"));
        Ok(Memory {
            available: figure("MemAvailable:")?,
            kernel: figure("KernelStack:")? + figure("PageTables:")? + figure("Slab:")?,
        })
    }

    /// The same, when those that have ended have given back what they had. The kernel does that when every processor has been
    /// somewhere else, so many of them at a time.
    pub(crate) fn settled() -> anyhow::Result<Memory> {
        let mut before = Memory::now()?;
        for _ in 0..MOST_LOOKS {
            wait_for_all_processors(GRACE_PERIODS);
            let now = Memory::now()?;
            if now.kernel + STILL >= before.kernel {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }
}

/// What processes weigh, in KiB.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Weight {
    pub(crate) user: u64,
    pub(crate) kernel: u64,
}

impl Weight {
    /// Of processes that were not there `before`, and are what there is more `after`.
    pub(crate) fn of(all: &[OsPid], before: Memory, after: Memory) -> anyhow::Result<Weight> {
        let user = all
            .iter()
            .map(|os_pid| pss(*os_pid))
            .sum::<Result<_, _>>()?;
        Ok(Weight {
            user,
            kernel: after.kernel.saturating_sub(before.kernel),
        })
    }
}

/// What a process has in user memory, in KiB; of a page that it shares with others, its share.
#[doc(alias = "smaps_rollup")]
pub(crate) fn pss(os_pid: OsPid) -> anyhow::Result<u64> {
    let file = format!("/proc/{os_pid}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    kib(&text, "Pss:").with_context(|| format!("{file}: no Pss"))
}

/// How many descriptors a process has open.
pub(crate) fn open_fds(os_pid: OsPid) -> anyhow::Result<usize> {
    let folder = format!("/proc/{os_pid}/fd");
    let open = fs::read_dir(&folder).context(folder)?.count();
    // Whoever looks at itself has the folder open.
    Ok(open - usize::from(os_pid == OsPid::own()))
}

/// A line `Name:   123 kB`.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "Pss_Dirty:  7 kB\nPss:   123 kB\nSwapPss: 9 kB\n";
        assert_eq!(kib(text, "Pss:"), Some(123));
        assert_eq!(kib(text, "Rss:"), None);
    }

    #[test]
    fn this_process_has_memory_and_the_machine_has_more() {
        let own = pss(OsPid::own()).unwrap();
        let machine = Memory::now().unwrap();
        assert!(own > 0 && own < machine.available, "{own} KiB");
        assert!(machine.kernel > 0);
    }
}
