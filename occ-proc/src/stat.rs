//! The one line that the kernel has on every process: proc_pid_stat(5).

use std::time::Duration;

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;

/// The kernel's mark on a process that was forked and has executed nothing (include/linux/sched.h).
const PF_FORKNOEXEC: u64 = 0x40;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It runs, or could.
    Running,
    /// It waits, and a signal would wake it.
    Sleeping,
    /// It waits, most often for a disk, and no signal wakes it, or none but SIGKILL.
    DiskSleep,
    /// A signal has stopped it.
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// It has ended, and its parent has not asked how.
    Zombie,
    /// It is about to be no more.
    Dead,
    /// Another letter of proc_pid_stat(5).
    Other(char),
}

/// What the kernel says of a process in one line.
///
/// The group and the session are plain numbers and not [`OsPid`]s: they are 0 where the leader of the group or of the
/// session is in a PID namespace further up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// The name of its main thread: of its executable, unless it called itself something else. At most 15 bytes.
    pub name: String,
    /// What it does, or its main thread.
    pub state: State,
    /// Who is told of its end; `None` for one whose parent is in a PID namespace further up.
    pub parent: Option<OsPid>,
    /// The process group.
    pub group: u32,
    /// The session.
    pub session: u32,
    /// How many threads it has.
    pub threads: u32,
    /// It has executed a program since it was forked (`PF_FORKNOEXEC` is gone). Also told of a zombie.
    pub executed: bool,
    /// When it started, after the machine did, by the clock's hundredth of a second: two processes that had one OS pid one
    /// after the other can have started in the same.
    pub started: Duration,
    /// Processor time in user mode.
    pub user_time: Duration,
    /// Processor time in the kernel.
    pub system_time: Duration,
    /// Pages that were brought in without a disk.
    pub minor_faults: u64,
    /// Pages that a disk was read for.
    pub major_faults: u64,
    /// Bytes in memory now, as far as the kernel has counted.
    pub rss: u64,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// There is no such process, or it is hidden.
    pub fn of(pid: OsPid) -> Field<Stat> {
        let file = crate::proc_dir::ProcDir::open(pid)?;
        Stat::parse(&file.read("stat")?).ok_or(Missing::Unsupported)
    }

    pub(crate) fn parse(line: &[u8]) -> Option<Stat> {
        // The name stands in parentheses, and may contain any, and spaces.
        let (open, close) = (
            line.iter().position(|byte| *byte == b'(')?,
            line.iter().rposition(|byte| *byte == b')')?,
        );
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The manual counts from 1, and the third is the first after the name.
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |at| field(at).and_then(|text| text.parse::<u64>().ok());
        let short = |at| number(at).and_then(|number| u32::try_from(number).ok());
        let time = |at| number(at).map(ticks);
        Some(Stat {
            name,
            state: State::of(field(3)?.chars().next()?),
            parent: short(4).filter(|parent| *parent > 0).map(OsPid::new),
            group: short(5)?,
            session: short(6)?,
            executed: number(9)? & PF_FORKNOEXEC == 0,
            minor_faults: number(10)?,
            major_faults: number(12)?,
            user_time: time(14)?,
            system_time: time(15)?,
            threads: short(20)?,
            started: time(22)?,
            rss: number(24)? * rustix::param::page_size() as u64,
        })
    }
}

impl State {
    fn of(letter: char) -> State {
        match letter {
            'R' => State::Running,
            'S' | 'I' => State::Sleeping,
            'D' => State::DiskSleep,
            'T' => State::Stopped,
            't' => State::Traced,
            'Z' => State::Zombie,
            'X' | 'x' => State::Dead,
            other => State::Other(other),
        }
    }
}

fn ticks(number: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let nanos = (number % per_second) * 1_000_000_000 / per_second;
    Duration::from_secs(number / per_second) + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> String {
        format!(
            "42 ({name}) S 7 8 9 0 -1 4194304 101 0 3 0 250 75 0 0 20 0 5 0 12345 1000000 20 18446744073709551615 1 1 0"
        )
    }

    #[test]
    fn the_fields_are_where_the_manual_counts_them() {
        let stat = Stat::parse(line("name").as_bytes()).expect("a line");
        assert_eq!((stat.name.as_str(), stat.state), ("name", State::Sleeping));
        assert_eq!(stat.parent, Some(OsPid::new(7)));
        assert_eq!((stat.group, stat.session, stat.threads), (8, 9, 5));
        assert_eq!((stat.minor_faults, stat.major_faults), (101, 3));
        // 4194304 is PF_RANDOMIZE; with PF_FORKNOEXEC it would be 4194368.
        assert!(stat.executed);
        let forked = line("name").replace("4194304", "4194368");
        assert!(!Stat::parse(forked.as_bytes()).expect("a line").executed);
        assert_eq!(stat.user_time, ticks(250));
        assert_eq!(stat.system_time, ticks(75));
        assert_eq!(stat.started, ticks(12345));
        assert_eq!(stat.rss, 20 * rustix::param::page_size() as u64);
    }

    #[test]
    fn a_name_may_look_like_the_rest_of_the_line() {
        for name in [") R 1 1", "a b", "((", "))", "", "(x) Z"] {
            let stat = Stat::parse(line(name).as_bytes()).expect("a line");
            assert_eq!((stat.name.as_str(), stat.state), (name, State::Sleeping));
        }
    }

    #[test]
    fn what_is_no_such_line_is_none() {
        for line in ["", "42", "42 (name", "42 (name)", "42 (name) S 1 2", ") ("] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_tick_is_a_part_of_a_second() {
        let per_second = rustix::param::clock_ticks_per_second();
        assert_eq!(ticks(3 * per_second), Duration::from_secs(3));
        assert_eq!(ticks(per_second / 2), Duration::from_millis(500));
    }
}
