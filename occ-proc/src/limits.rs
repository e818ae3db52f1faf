//! Limits that the kernel sets a process: proc_pid_limits(5).

use std::time::Duration;

use rustix::fs::CWD;

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::proc_dir;

/// How long a process may use the processor (`RLIMIT_CPU`): at the first it is sent SIGXCPU, and each second after that;
/// at the second it is killed. `None` is no limit. Also of one that has ended and is not reaped.
///
/// # Errors
///
/// The process is somebody else's, or gone.
#[doc(alias = "RLIMIT_CPU")]
pub fn cpu_limits(os_pid: OsPid) -> Field<(Option<Duration>, Option<Duration>)> {
    let text = proc_dir::read_at(CWD, &format!("/proc/{os_pid}/limits"))?;
    parse(&String::from_utf8_lossy(&text)).ok_or(Missing::Unsupported)
}

/// The soft limits on file locks and on resident memory (`RLIMIT_LOCKS`, `RLIMIT_RSS`), which Linux has not enforced since
/// 2.4.25 and 2.4.30 (setrlimit(2)). `None` is no limit. What a process forks and executes inherits them, wherever it goes:
/// so they can be marks of descent.
///
/// # Errors
///
/// The process is gone.
#[doc(alias = "RLIMIT_LOCKS", alias = "RLIMIT_RSS")]
pub fn unenforced_limits(os_pid: OsPid) -> Field<[Option<u64>; 2]> {
    let text = proc_dir::read_at(CWD, &format!("/proc/{os_pid}/limits"))?;
    let text = String::from_utf8_lossy(&text);
    let soft = |name| soft(&text, name).ok_or(Missing::Unsupported);
    Ok([soft("Max file locks")?, soft("Max resident set")?])
}

fn soft(text: &str, name: &str) -> Option<Option<u64>> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

fn parse(text: &str) -> Option<(Option<Duration>, Option<Duration>)> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max cpu time"))?;
    let mut words = line.split_ascii_whitespace();
    let mut next = || {
        let word = words.next()?;
        if word == "unlimited" {
            return Some(None);
        }
        Some(Some(Duration::from_secs(word.parse().ok()?)))
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_seconds_or_none() {
        let line = |words: &str| {
            format!("Limit  Soft  Hard\nMax cpu time              {words}   seconds\n")
        };
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(parse(&line("1   2")), Some((seconds(1), seconds(2))));
        assert_eq!(parse(&line("unlimited   unlimited")), Some((None, None)));
        assert_eq!(parse(&line("5 unlimited")), Some((seconds(5), None)));
        assert_eq!(parse("Max file size 1 2 bytes"), None);
        assert!(cpu_limits(OsPid::own()).is_ok());
    }

    #[test]
    fn a_mark_of_descent_is_a_number_or_none() {
        let soft = |text| soft(text, "Max file locks");
        assert_eq!(
            soft("Max file locks   42   unlimited   locks\n"),
            Some(Some(42))
        );
        assert_eq!(
            soft("Max file locks   unlimited   unlimited   locks\n"),
            Some(None)
        );
        assert_eq!(soft("Max cpu time 1 1 seconds\n"), None);
        assert!(unenforced_limits(OsPid::own()).is_ok());
    }
}
