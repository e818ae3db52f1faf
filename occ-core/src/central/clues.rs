//! What the kernel can still be asked about a process that has ended and is not reaped.
//!
//! It is asked only where the status leaves a question: SIGKILL may come from the out-of-memory killer, from a limit, or from
//! anybody.

use std::collections::VecDeque;
use std::time::Duration;

use occ_proc::{Evidence, KernelLog, MemoryCgroup, Moment, OomKill, OsStatus, Stat, Usage};
use occ_spawn::OsPid;

use crate::state::Known;

/// Kills that were logged and are not those of a process of ours, or not yet: its end may be noticed later.
const REMEMBERED: usize = 256;

/// By so much may the log's clock be off.
const SLACK: Duration = Duration::from_millis(100);

/// Where it is looked for who was killed for want of memory.
#[derive(Debug)]
pub(super) struct Clues {
    log: Option<KernelLog>,
    kills: VecDeque<OomKill>,
    /// The group that the coordinator is in, and so are processes that nobody has put into another.
    cgroup: Option<MemoryCgroup>,
    /// How many there had been when it was counted last: in that group, and on the machine.
    counted: (Option<u64>, Option<u64>),
}

impl Clues {
    pub(super) fn new() -> Clues {
        let cgroup = MemoryCgroup::of(OsPid::own()).ok();
        let mut clues = Clues {
            log: KernelLog::open().ok(),
            kills: VecDeque::new(),
            cgroup,
            counted: (None, None),
        };
        clues.counted = clues.count();
        clues
    }

    fn count(&self) -> (Option<u64>, Option<u64>) {
        let in_cgroup = self
            .cgroup
            .as_ref()
            .and_then(|group| group.oom_kills().ok());
        (in_cgroup, occ_proc::oom_kills().ok())
    }

    /// What there is to be known of a process that has ended and is not reaped.
    pub(super) fn of(
        &mut self,
        os_pid: OsPid,
        status: OsStatus,
        usage: &Usage,
        known: Known,
    ) -> Vec<Evidence> {
        let signal = status.signal().map(|signal| signal.number());
        let mut evidence = Vec::new();
        // Nobody hears of SIGKILL, and who has spoken was a process of ours to the end: then there is no question.
        let is_odd = status.is_abnormal() && signal != Some(libc::SIGKILL) && !known.spoke;
        if is_odd
            && let Ok(stat) = Stat::of(os_pid)
            && stat.executed
        {
            evidence.push(Evidence::Executed { exe: stat.name });
        }
        if signal == Some(libc::SIGKILL) {
            let logged = self.logged(os_pid, known.started);
            let is_open = logged.is_none() && !known.killed;
            evidence.extend(logged);
            if is_open {
                self.counts(os_pid, &mut evidence);
                evidence.extend(cpu_limit(os_pid, usage));
            }
        }
        if signal == Some(libc::SIGXCPU) {
            evidence.extend(cpu_limit(os_pid, usage));
        }
        evidence
    }

    /// The entry of the kernel's log for this process.
    fn logged(&mut self, os_pid: OsPid, started: Moment) -> Option<Evidence> {
        let log = self.log.as_mut()?;
        self.kills.extend(log.new_kills());
        while self.kills.len() > REMEMBERED {
            self.kills.pop_front();
        }
        if self.kills.is_empty() {
            return None;
        }
        let by_number = log.has_our_numbers();
        // In a PID namespace the log's numbers are others. Then it has to be the name.
        let name = if by_number {
            None
        } else {
            Stat::of(os_pid).ok().map(|stat| stat.name)
        };
        let is_it = |kill: &OomKill| {
            let it = if by_number {
                kill.os_pid == os_pid
            } else {
                name.as_ref() == Some(&kill.name)
            };
            it && kill.at + SLACK >= started.boot
        };
        let at = self.kills.iter().position(is_it)?;
        let kill = self.kills.remove(at)?;
        Some(Evidence::LoggedOomKill { kill, by_number })
    }

    /// Without the log there are the kernel's counters.
    fn counts(&mut self, os_pid: OsPid, evidence: &mut Vec<Evidence>) {
        if self.log.is_some() {
            // It would be in the log.
            return;
        }
        let before = self.counted;
        self.counted = self.count();
        let more = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?));
        let in_our_group = more(before.0, self.counted.0);
        // It may have been put into another.
        let same_group = MemoryCgroup::of(os_pid).ok() == self.cgroup;
        let in_its_group = in_our_group.filter(|count| *count > 0 || same_group);
        let counted = Evidence::of_oom_kills(in_its_group, more(before.1, self.counted.1));
        evidence.extend(counted.or_else(|| {
            let memory = self.cgroup.as_ref().map(MemoryCgroup::limit_and_peak);
            match memory {
                Some(Ok((Some(limit), peak))) => Some(Evidence::Memory { limit, peak }),
                _ => None,
            }
        }));
    }
}

/// What it had of the processor, where that is limited.
fn cpu_limit(os_pid: OsPid, usage: &Usage) -> Option<Evidence> {
    let used = usage.user_time + usage.system_time;
    // A limit is a second at the least, and is reached after half of that by no count.
    if used < Duration::from_millis(500) {
        return None;
    }
    let (soft, hard) = occ_proc::cpu_limits(os_pid).ok()?;
    let (soft, hard) = (soft.or(hard)?, hard.unwrap_or(Duration::MAX));
    Some(Evidence::CpuLimit { soft, hard, used })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use occ_proc::{Cause, Confidence, Verdict};
    use occ_yeshup::CommandExt;

    use super::*;

    fn killed() -> OsStatus {
        OsStatus {
            si_code: libc::CLD_KILLED,
            si_status: libc::SIGKILL,
        }
    }

    /// As in a container, most often: no log, and counters.
    fn without_log(counted: (Option<u64>, Option<u64>)) -> Clues {
        Clues {
            log: None,
            counted,
            ..Clues::new()
        }
    }

    fn of(clues: &mut Clues, known: Known) -> Vec<Evidence> {
        clues.of(OsPid::own(), killed(), &Usage::NONE, known)
    }

    #[test]
    fn without_the_log_the_kernels_count_is_evidence() {
        let now = Clues::new().count();
        let Some(anywhere) = now.1 else { return };
        // One more than when it was counted last, and nobody knows in which group.
        let before = anywhere.wrapping_sub(1);
        if anywhere > 0 {
            let mut clues = without_log((None, Some(before)));
            let (in_cgroup, count) = (false, 1);
            let kill = Evidence::OomKills { in_cgroup, count };
            assert_eq!(of(&mut clues, Known::default()), [kill]);
        }
        // It was in another group.
        if now.0.is_some() {
            let mut clues = without_log((now.0, Some(before)));
            assert_eq!(of(&mut clues, Known::default()), [Evidence::NoOomKill]);
        }
        // And it is counted from there on.
        let mut clues = without_log(now);
        assert_eq!(of(&mut clues, Known::default()), [Evidence::NoOomKill]);
        // Nobody asks about one that was killed from here.
        let mut clues = without_log((now.0, Some(before)));
        let known = Known {
            killed: true,
            ..Known::default()
        };
        assert_eq!(of(&mut clues, known), []);
    }

    /// It comes as SIGKILL from nobody, as that of the out-of-memory killer does.
    #[test]
    fn what_the_death_of_its_parent_has_killed_is_not_called_out_of_memory() {
        let mut clues = Clues::new();
        let armed = || {
            let mut cat = Command::new("cat");
            cat.stdin(Stdio::piped()).stdout(Stdio::piped());
            cat.die_with_parent().spawn().expect("cat")
        };
        // The signal follows the thread that made the child.
        let mut dead = std::thread::scope(|scope| scope.spawn(armed).join().expect("a child"));
        let os_pid = OsPid::new(dead.id());
        // Until its input is closed, which waiting does, it has no other reason to end.
        let stdin = dead.stdin.take();
        let status = dead.wait().expect("wait");
        drop(stdin);
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        let evidence = clues.of(os_pid, killed(), &Usage::NONE, Known::default());
        let verdict = Verdict::new(killed(), &evidence);
        let elsewhere =
            |piece: &Evidence| matches!(piece, Evidence::OomKills { count, .. } if *count > 0);
        if evidence.iter().any(elsewhere) {
            // Somebody else was killed for that meanwhile, and without a log nobody knows who.
            assert_ne!(verdict.confidence, Confidence::Certain);
        } else {
            let unknown = matches!(verdict.cause, Cause::SenderUnknown { .. });
            assert!(
                unknown && verdict.confidence == Confidence::Certain,
                "{verdict:?}"
            );
        }

        // The control: one whose parent lives.
        let mut alive = armed();
        let mut stdin = alive.stdin.take().expect("a pipe");
        stdin.write_all(b"!").expect("it lives");
        let mut stdout = alive.stdout.take().expect("a pipe");
        stdout.read_exact(&mut [0]).expect("it lives");
        drop(stdin);
        assert!(alive.wait().expect("wait").success());
    }

    #[test]
    fn a_limit_on_processor_time_is_no_question_for_those_that_used_little() {
        let mut clues = Clues::new();
        let mut usage = Usage::NONE;
        let evidence = clues.of(OsPid::own(), killed(), &usage, Known::default());
        assert!(
            !evidence
                .iter()
                .any(|piece| matches!(piece, Evidence::CpuLimit { .. }))
        );
        // This process has none, however much it used.
        usage.user_time = Duration::from_secs(5);
        let evidence = clues.of(OsPid::own(), killed(), &usage, Known::default());
        assert!(
            !evidence
                .iter()
                .any(|piece| matches!(piece, Evidence::CpuLimit { .. }))
        );
    }
}
