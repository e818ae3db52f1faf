//! What the kernel says of a process or thread in one line.

use std::fs;

/// What proc_pid_stat(5) tells, as far as it is needed here.
///
/// The group and the session are numbers and not ids of processes: they are 0 where the group's or the session's
/// leader is in a PID namespace further up, as it is for a shell that was put in a namespace of its own.
#[derive(Debug, Clone)]
pub struct Stat {
    pub(crate) name: String,
    /// `R` runs, `S` waits, `T` is stopped, `Z` is a zombie; the manual lists all.
    pub state: char,
    /// Who gets to know of its end.
    pub parent: u32,
    /// The process group.
    pub group: u32,
    /// The session.
    pub session: u32,
    flags: u32,
    /// Where its program's code lies: 0 until an exec is complete.
    start_code: u64,
    /// Where the environment of its start lies.
    environment: (u64, u64),
}

impl Stat {
    /// Reads it now; `None` if there is no such process or thread.
    #[must_use]
    pub fn of(pid: u32) -> Option<Stat> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name stands in parentheses and may contain any, so the last one ends it.
        let (head, tail) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = tail.trim_end().split(' ').collect();
        // The manual counts from 1, and the third field is the first after the name.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            name: head.split_once('(')?.1.to_owned(),
            state: field(3)?.chars().next()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            flags: field(9)?.parse().ok()?,
            start_code: field(26)?.parse().ok()?,
            environment: (field(50)?.parse().ok()?, field(51)?.parse().ok()?),
        })
    }

    /// Reads that of the calling process.
    ///
    /// # Panics
    ///
    /// Where /proc is not mounted.
    #[must_use]
    pub fn own() -> Stat {
        Stat::of(std::process::id()).expect("/proc is mounted")
    }

    /// Whether it is a zombie or a thread of the kernel.
    pub(crate) fn has_no_memory_for_good(&self) -> bool {
        const PF_KTHREAD: u32 = 0x0020_0000;
        matches!(self.state, 'Z' | 'X') || self.flags & PF_KTHREAD != 0
    }

    /// Whether no exec is going on. It is the last that the kernel fills in. The end of the environment is
    /// not: for a moment it equals the start, as it does for good in a program that was given none.
    pub(crate) fn has_started(&self) -> bool {
        self.start_code != 0
    }

    pub(crate) fn environment_size(&self) -> Option<usize> {
        let (start, end) = self.environment;
        usize::try_from(end.checked_sub(start)?).ok()
    }
}
