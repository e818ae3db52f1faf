//! What the kernel says of the machine's memory.

use std::fs;

use anyhow::Context;

/// Figures of /proc/meminfo, in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// What could be had without swapping.
    pub(crate) available: u64,
}

impl Memory {
    pub(crate) fn now() -> anyhow::Result<Memory> {
        let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
        let figure = |name| kib(&text, name).with_context(|| format!("/proc/meminfo: no {name}"));
        Ok(Memory {
            available: figure("MemAvailable:")?,
        })
    }
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
}
