//! What a process has used.

use std::time::Duration;

use crate::missing::{Field, Missing};
use crate::proc_dir::ProcDir;
use crate::stat::Stat;

/// What a process has used so far, its threads together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Usage {
    /// Processor time in user mode.
    pub user_time: Duration,
    /// Processor time in the kernel.
    pub system_time: Duration,
    /// Pages that were brought in without a disk.
    pub minor_faults: u64,
    /// Pages that a disk was read for.
    pub major_faults: u64,
    /// Bytes in memory now; gone with a process that has ended.
    pub rss: Field<u64>,
    /// Most bytes it had in memory at once.
    pub peak_rss: Field<u64>,
    /// How often it gave its processor away; told of those that have ended.
    pub switches: Field<Switches>,
    /// What it has read and written.
    pub io: Field<Io>,
}

/// How often a process gave its processor away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Switches {
    /// To wait for something.
    pub voluntary: u64,
    /// Because others were to have it.
    pub involuntary: u64,
}

/// What a process has read and written: proc_pid_io(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Io {
    /// Bytes that calls like read(2) have given it, from wherever. What recv(2) brings is not counted. Told of those that
    /// live.
    pub read: Option<u64>,
    /// Bytes that it has given calls like write(2). What send(2) takes is not counted. Told of those that live.
    pub written: Option<u64>,
    /// Bytes that were fetched from a disk for it.
    pub read_from_disk: u64,
    /// Bytes that it made the kernel write to a disk, by and by.
    pub written_to_disk: u64,
}

impl Usage {
    /// Nothing used, and nothing known of what has to be asked for.
    pub const NONE: Usage = Usage {
        user_time: Duration::ZERO,
        system_time: Duration::ZERO,
        minor_faults: 0,
        major_faults: 0,
        rss: Err(Missing::Gone),
        peak_rss: Err(Missing::Gone),
        switches: Err(Missing::Gone),
        io: Err(Missing::Gone),
    };

    pub(crate) fn of(dir: &ProcDir, stat: &Stat) -> Usage {
        Usage {
            user_time: stat.user_time,
            system_time: stat.system_time,
            minor_faults: stat.minor_faults,
            major_faults: stat.major_faults,
            rss: Ok(stat.rss),
            switches: Err(Missing::Unsupported),
            peak_rss: dir.read("status").and_then(|status| {
                // In kB, which are 1,024 bytes. One that has ended, or belongs to the kernel, has no memory to tell of.
                let peak = number_after(&status, b"VmHWM:").ok_or(Missing::Gone)?;
                Ok(peak * 1024)
            }),
            io: dir.read("io").and_then(|io| Io::parse(&io)),
        }
    }
}

impl Io {
    /// What a disk has done for a process that has ended, in blocks of 512 bytes, as getrusage(2) counts them.
    pub fn of_blocks(read: u64, written: u64) -> Io {
        Io {
            read: None,
            written: None,
            read_from_disk: read.saturating_mul(512),
            written_to_disk: written.saturating_mul(512),
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Field<Io> {
        let number = |name: &[u8]| number_after(text, name).ok_or(Missing::Unsupported);
        Ok(Io {
            read: Some(number(b"rchar:")?),
            written: Some(number(b"wchar:")?),
            read_from_disk: number(b"read_bytes:")?,
            written_to_disk: number(b"write_bytes:")?,
        })
    }
}

/// The number in the line that begins with `name`.
fn number_after(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
    let word = line
        .split(u8::is_ascii_whitespace)
        .find(|w| !w.is_empty())?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text =
            b"rchar: 12\nwchar: 34\nread_bytes: 56\nwrite_bytes: 78\ncancelled_write_bytes: 90\n";
        let io = Io::parse(text).expect("all four");
        assert_eq!((io.read, io.written), (Some(12), Some(34)));
        assert_eq!((io.read_from_disk, io.written_to_disk), (56, 78));
        assert_eq!(Io::parse(b"rchar: 12\n"), Err(Missing::Unsupported));
        assert_eq!(number_after(b"VmHWM:\t   1234 kB\n", b"VmHWM:"), Some(1234));
        assert_eq!(number_after(b"VmHWM:\n", b"VmHWM:"), None);
    }
}
