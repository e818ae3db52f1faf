//! What a watcher is told.

use std::fmt;

use occ_inbox::{Mark, Message, Pid, Receive};
use occ_sck::{DecodeError, Envelope};
use occ_spawn::{ExitReason, ExitReport};

use crate::protocol::Ended;

/// Names a monitor of the calling process.
///
/// It is a [`Mark`] as well: to wait for its Down, what has come before need not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonitorRef(pub(crate) u64);

impl From<MonitorRef> for Mark {
    fn from(monitor: MonitorRef) -> Mark {
        Mark::numbered(monitor.0)
    }
}

/// A monitored process has ended.
///
/// It is received as any message is: `receive::<Down>()`. It cannot be sent, so that nobody can forge one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Down {
    /// Which monitor this answers.
    pub monitor: MonitorRef,
    /// Who ended.
    pub pid: Pid,
    /// Why.
    pub reason: ExitReason,
    /// What else is known.
    pub report: ExitReport,
}

impl Down {
    pub(crate) fn new(ended: &Ended, report: Option<Envelope>) -> Down {
        let (reason, report) = told(ended, report);
        Down {
            monitor: MonitorRef(ended.number),
            pid: ended.pid,
            reason,
            report,
        }
    }
}

impl Receive for Down {
    fn from_message(message: &Message) -> Result<Down, DecodeError> {
        message.decode_system()
    }
}

/// A process has ended abnormally, and nobody watched it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AbnormalExit {
    /// Who ended.
    pub pid: Pid,
    /// The function that it ran, or the program.
    pub function: String,
    /// Why it ended.
    pub reason: ExitReason,
    /// What else is known.
    pub report: ExitReport,
    /// How many before it could not be told, since the last that was: whoever is told was far too slow.
    pub missed: u64,
}

impl AbnormalExit {
    pub(crate) fn new(ended: &Ended, report: Option<Envelope>, missed: u64) -> AbnormalExit {
        let (reason, report) = told(ended, report);
        AbnormalExit {
            pid: ended.pid,
            function: ended.name.clone(),
            reason,
            report,
            missed,
        }
    }
}

/// One line, for people: the report's, and the number of those that were missed.
impl fmt::Display for AbnormalExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)?;
        if self.missed > 0 {
            write!(
                f,
                "; {} abnormal exits before it were not told",
                self.missed
            )?;
        }
        Ok(())
    }
}

/// One line, for people.
impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.fmt(f)
    }
}

fn told(ended: &Ended, report: Option<Envelope>) -> (ExitReason, ExitReport) {
    let Some(facts) = &ended.facts else {
        return (
            ExitReason::NoProcess,
            ExitReport::of_nobody(ended.pid.to_string()),
        );
    };
    let reason = match report {
        None if ended.reported => {
            ExitReason::undelivered("no file descriptor was left for it, or too many are under way")
        }
        report => ExitReason::new(facts.end.status, report.filter(|_| ended.reported)),
    };
    let end = &facts.end;
    let mut report = ExitReport::new(facts.os_pid, end.status, end.evidence.clone(), &reason);
    report.label = Some(ended.label.as_ref().unwrap_or(&ended.name).clone());
    report.stderr = end.stderr.clone();
    report.process = Some(ended.pid.to_string());
    report.started = Some(facts.started);
    report.ended = Some(end.at);
    report.usage = Some(end.usage.clone());
    (reason, report)
}
