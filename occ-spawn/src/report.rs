//! What is known of a process that has ended, besides the reason.

use std::fmt::{self, Write as _};
use std::time::Duration;

use occ_proc::{Evidence, Moment, OsPid, OsStatus, SignalInfo, Usage, Verdict};

use crate::earlier;
use crate::exit::{ExitReason, Panic};
use crate::tail::Tail;

/// What is known of a process that has ended, besides the reason.
///
/// It is one line for people:
///
/// ```text
/// worker-7 <0.17> (pid 5471) killed by the out-of-memory killer [certain: kernel log] after 3.2 s, peak 72 MiB
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExitReport {
    /// What it was called: its label, or the name of its function.
    pub label: Option<String>,
    /// Its name in its system: `<0.17>`.
    pub process: Option<String>,
    /// What the kernel called it.
    pub os_pid: Option<OsPid>,
    /// What the kernel said of its end.
    pub status: Option<OsStatus>,
    /// Why it ended, how sure that is, and what that rests on.
    pub verdict: Option<Verdict>,
    /// All that is known of how it came to its end.
    pub evidence: Vec<Evidence>,
    /// When it began, seen from outside.
    pub started: Option<Moment>,
    /// When its end was noticed.
    pub ended: Option<Moment>,
    /// What it has used, and those of its own children that it had waited for.
    pub usage: Option<Usage>,
    /// The panic that ended it.
    pub panic: Option<Panic>,
    /// The last that it wrote to standard error, where that was captured.
    pub stderr: Option<Tail>,
    /// In words, how it ended.
    how: String,
}

impl ExitReport {
    /// A report of an end, with what the kernel and the evidence say of it; what else is known is added to it.
    pub fn new(
        os_pid: OsPid,
        status: OsStatus,
        mut evidence: Vec<Evidence>,
        reason: &ExitReason,
    ) -> ExitReport {
        if let ExitReason::Panic(panic) = reason {
            earlier::leave_out(&mut evidence, panic.number);
        }
        let verdict = Verdict::new(status, &evidence);
        let how = match reason {
            // Who was killed has not ended for a reason of its own.
            ExitReason::Signal(signal) if signal.core_dumped() => {
                format!("{verdict}, core dumped")
            }
            ExitReason::Signal(_) => verdict.to_string(),
            reason => reason.to_string(),
        };
        let how = how + &earlier::in_short(&evidence);
        ExitReport {
            os_pid: Some(os_pid),
            status: Some(status),
            verdict: Some(verdict),
            evidence,
            panic: match reason {
                ExitReason::Panic(panic) => Some(panic.clone()),
                _ => None,
            },
            how,
            ..ExitReport::default()
        }
    }

    /// A report of one of whom nothing is known: it had ended before somebody asked, or never was.
    pub fn of_nobody(process: String) -> ExitReport {
        ExitReport {
            process: Some(process),
            how: "was no process when it was asked about".to_owned(),
            ..ExitReport::default()
        }
    }

    /// What a handler in the process was told of the signal that ended it: which, from whom, what was wrong, and where.
    pub fn fault(&self) -> Option<&SignalInfo> {
        self.evidence.iter().find_map(|piece| match piece {
            Evidence::Told(info) => Some(info),
            _ => None,
        })
    }

    /// How long it lived.
    pub fn lived(&self) -> Option<Duration> {
        Some(self.ended?.since(self.started?))
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [&self.label, &self.process].into_iter().flatten();
        for name in names.filter(|name| !name.is_empty()) {
            // It is a line, whatever somebody has been called.
            for char in name.chars() {
                if char.is_control() {
                    write!(f, "{}", char.escape_default())?;
                } else {
                    f.write_char(char)?;
                }
            }
            f.write_char(' ')?;
        }
        if let Some(os_pid) = self.os_pid {
            write!(f, "(pid {os_pid}) ")?;
        }
        f.write_str(&self.how)?;
        if let Some(lived) = self.lived() {
            write!(f, " after {:.1} s", lived.as_secs_f64())?;
        }
        let peak = self.usage.as_ref().and_then(|usage| usage.peak_rss.ok());
        match peak {
            Some(peak) => write!(f, ", peak {} MiB", peak.div_ceil(1 << 20)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_for_people() {
        let status = OsStatus {
            si_code: libc::CLD_KILLED,
            si_status: libc::SIGKILL,
        };
        let reason = ExitReason::new(status, None);
        let evidence = vec![Evidence::OomKills {
            in_cgroup: true,
            count: 1,
        }];
        let mut report = ExitReport::new(OsPid::new(5471), status, evidence, &reason);
        report.label = Some("worker-7".to_owned());
        report.process = Some("<0.17>".to_owned());
        report.started = Some(Moment::ZERO);
        let mut ended = Moment::ZERO;
        ended.boot = Duration::from_millis(3210);
        report.ended = Some(ended);
        report.usage = Some(Usage {
            peak_rss: Ok(72 << 20),
            ..Usage::NONE
        });
        assert_eq!(
            report.to_string(),
            "worker-7 <0.17> (pid 5471) killed by the out-of-memory killer [probable: its control group counts such \
             kills] after 3.2 s, peak 72 MiB"
        );
        // What is not known is not said.
        let report = ExitReport::new(OsPid::new(7), status, Vec::new(), &reason);
        let line = "(pid 7) killed by SIGKILL, sender unknown [certain: kernel status]";
        assert_eq!(report.to_string(), line);
    }
}
