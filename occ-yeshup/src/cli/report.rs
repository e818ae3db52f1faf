//! The line that tells people how it went.

use std::fmt::Write;

use occ_proc::{
    Evidence, KernelLog, MemoryCgroup, Moment, OsPid, OsStatus, Sent, Verdict, cpu_limits,
    oom_kills,
};
use rustix::process::Signal;

use crate::tree::{Ended, Outcome};

/// What is noted before the program runs, to be compared when it has ended.
#[derive(Debug)]
pub(super) struct Clues {
    log: Option<KernelLog>,
    cgroup: Option<MemoryCgroup>,
    /// How many the out-of-memory killer had killed: in the control group, and on the machine.
    before: (Option<u64>, Option<u64>),
}

impl Clues {
    pub(super) fn new() -> Clues {
        let cgroup = MemoryCgroup::of(OsPid::own()).ok();
        Clues {
            log: KernelLog::open().ok().filter(KernelLog::has_our_numbers),
            before: count(cgroup.as_ref()),
            cgroup,
        }
    }

    /// What is known of an end by SIGKILL.
    fn of_kill(mut self, program: OsPid, evidence: &mut Vec<Evidence>) {
        if let Some(log) = &mut self.log {
            let mut kills = log.new_kills().into_iter();
            if let Some(kill) = kills.find(|kill| kill.os_pid == program) {
                let by_number = true;
                evidence.push(Evidence::LoggedOomKill { kill, by_number });
            }
            // It would be in the log.
            return;
        }
        let now = count(self.cgroup.as_ref());
        let more = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?));
        // It may have been put into another group, and is not there any more to be asked.
        let in_our_group = more(self.before.0, now.0).filter(|count| *count > 0);
        let counted = Evidence::of_oom_kills(in_our_group, more(self.before.1, now.1));
        let memory = self.cgroup.map(|group| group.limit_and_peak());
        evidence.extend(counted.or(match memory {
            Some(Ok((Some(limit), peak))) => Some(Evidence::Memory { limit, peak }),
            _ => None,
        }));
    }
}

fn count(cgroup: Option<&MemoryCgroup>) -> (Option<u64>, Option<u64>) {
    let in_cgroup = cgroup.and_then(|group| group.oom_kills().ok());
    (in_cgroup, oom_kills().ok())
}

/// `make (pid 5471) exited with code 2 after 3.2 s, cpu 2.9 s, peak 72 MiB; left 1: sleep (pid 5480)`
pub(super) fn line(name: &str, outcome: &Outcome, clues: Clues, started: Moment) -> String {
    let lived = Moment::now().since(started);
    let mut line = name.to_owned();
    if let Some(program) = outcome.program {
        let _ = write!(line, " (pid {program})");
    }
    let none = Ended::default();
    let ended = outcome.ended.as_ref().unwrap_or(&none);
    let how = match outcome.status() {
        Some(status) => how(status, outcome, ended, clues),
        None if outcome.ended.is_some() => "is another user's, and may not be killed".to_owned(),
        None => "ended unseen: its guard was killed".to_owned(),
    };
    let _ = write!(line, " {how} after {:.1} s", lived.as_secs_f64());
    if outcome.ended.is_some() {
        let (cpu, peak) = (ended.used.time.as_secs_f64(), ended.used.peak);
        let _ = write!(
            line,
            ", cpu {cpu:.1} s, peak {} MiB",
            peak.div_ceil(1 << 20)
        );
    }
    if ended.count > 0 {
        let _ = write!(line, "; left {}", ended.count);
        for (at, left) in ended.left.iter().enumerate() {
            let before = if at == 0 { ": " } else { ", " };
            let _ = write!(line, "{before}{} (pid {})", left.name, left.os_pid);
        }
        if ended.count as usize > ended.left.len() {
            line.push_str(", ...");
        }
    }
    line
}

fn how(status: OsStatus, outcome: &Outcome, ended: &Ended, clues: Clues) -> String {
    let Some(signal) = status.signal() else {
        return format!("exited with code {}", status.si_status);
    };
    let mut evidence: Vec<_> = outcome
        .sent
        .iter()
        .map(|sent| {
            Evidence::Sent(Sent::new(
                sent.signal,
                "yeshup".to_owned(),
                sent.why.clone(),
            ))
        })
        .collect();
    if signal.number() == Signal::KILL.as_raw()
        && let Some(program) = outcome.program
    {
        clues.of_kill(program, &mut evidence);
    }
    // Those of the program, unless it has set others.
    if let Ok((soft, hard)) = cpu_limits(OsPid::own())
        && let Some(soft) = soft.or(hard)
    {
        evidence.push(Evidence::CpuLimit {
            soft,
            hard: hard.unwrap_or(std::time::Duration::MAX),
            used: ended.used.time,
        });
    }
    let verdict = Verdict::new(status, &evidence);
    if signal.core_dumped() {
        format!("{verdict}, core dumped")
    } else {
        verdict.to_string()
    }
}
