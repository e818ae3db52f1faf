//! Who was killed from here, by whose wish, and what for.
//!
//! It is written down before the signal is sent, and a signal is only sent to a process that is in the table, which is not
//! reaped and whose end was not seen. So of an end by such a signal it is known for certain where it came from, unless the
//! kernel says otherwise.

use std::fmt;
use std::time::Duration;

use occ_proc::{Moment, Sent};

use super::{Effect, Phase, Serial, State};

/// Why a process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A process asked for it.
    Asked(Serial),
    /// A process asked for it, with a grace period.
    Told(Serial),
    /// The system ends.
    Stop,
    /// Process zero has ended, and `run` with it.
    Over,
    /// It was asked to end, and has not in time.
    GraceOver,
}

/// As it is told: what for.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Asked(_) => "kill was called",
            Why::Told(_) => "terminate was called",
            Why::Stop => "the system was stopped",
            Why::Over => "process zero had ended",
            Why::GraceOver => "its grace period was over",
        })
    }
}

/// What is known of a process before the kernel is asked how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Since when it runs.
    pub started: Moment,
    /// It was killed from here.
    pub killed: bool,
    /// It has said something of its end.
    pub spoke: bool,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            started: Moment::ZERO,
            killed: false,
            spoke: false,
        }
    }
}

impl State {
    /// Kills a process that runs.
    pub(super) fn kill_for(&mut self, serial: Serial, why: Why, effects: &mut Vec<Effect>) {
        self.send(serial, libc::SIGKILL, why, effects);
    }

    /// Asks a process that runs to end, if it may take its time; else it is killed.
    pub(super) fn terminate_for(&mut self, serial: Serial, why: Why, effects: &mut Vec<Effect>) {
        let grace = self
            .processes
            .get(&serial)
            .map(|process| process.care.grace);
        match grace {
            None | Some(Duration::ZERO) => self.kill_for(serial, why, effects),
            Some(grace) => {
                if self.send(serial, libc::SIGTERM, why, effects) {
                    effects.push(Effect::Wait {
                        process: serial,
                        grace,
                    });
                }
            }
        }
    }

    /// Sends a signal to a process that runs; true if it is the first of its kind.
    fn send(&mut self, serial: Serial, signal: i32, why: Why, effects: &mut Vec<Effect>) -> bool {
        let by = match why {
            Why::Asked(by) | Why::Told(by) => self.pid(by).to_string(),
            Why::Stop | Why::Over | Why::GraceOver => "the system".to_owned(),
        };
        let through = self.coordinator;
        let Some(process) = self.processes.get_mut(&serial) else {
            return false;
        };
        let os_pid = match process.phase {
            Phase::Running { os_pid, .. } => Some(os_pid),
            Phase::Launching(_) => process.known,
            Phase::Host => None,
        };
        let Some(os_pid) = os_pid else { return false };
        // One entry of a kind is enough: the first that was sent has ended it.
        let is_first = !process.sent.iter().any(|sent| sent.signal == signal);
        if is_first {
            let mut sent = Sent::new(signal, by, why.to_string());
            sent.through = through;
            process.sent.push(sent);
        }
        effects.push(Effect::Signal {
            process: serial,
            os_pid,
            signal,
        });
        is_first
    }

    /// What is known of a process that runs.
    pub fn ledger(&self, serial: Serial) -> Option<Known> {
        let process = self.processes.get(&serial)?;
        match process.phase {
            Phase::Running { started, .. } => Some(Known {
                started,
                killed: process.sent.iter().any(|sent| sent.signal == libc::SIGKILL),
                spoke: !process.words.is_empty(),
            }),
            Phase::Host | Phase::Launching(_) => None,
        }
    }

    /// The kernel did not let a signal through: it has not ended anybody.
    pub(super) fn not_sent(&mut self, serial: Serial, signal: i32) {
        if let Some(process) = self.processes.get_mut(&serial) {
            process.sent.retain(|sent| sent.signal != signal);
        }
    }
}
