//! How ends are noticed.
//!
//! The control socket of a dying process hangs up, and the kernel is asked how it ended, there and then and at each
//! SIGCHLD until it answers, because a process may close its socket and live. A process whose fork holds the socket
//! is found by the number in the signal, or, where signals have merged, by a sweep over all children, at most every
//! 50 ms, because its cost grows with their number.
//!
//! A child is reaped last: while it is not, its OS pid is nobody else's.

use std::time::Instant;

use occ_proc::Evidence;
use occ_spawn::OsPid;
use occ_spawn::kernel::{self, Ended, Whom};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use super::lines::TURN;
use super::{Central, SWEEP};
use crate::protocol::{End, Moment};
use crate::state::{Event, Serial};
use crate::sys;

/// More datagrams than the kernel holds for one socket: what a process had sent when it died is no more.
const ALL: usize = 4096;

/// Children looked at in one sweep, before the others have their turn.
const SWEEP_TURN: usize = 256;

/// A child that was reaped before it was known as a process.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) end: End,
    /// The youngest that it can be.
    newest: Serial,
}

impl Central {
    /// Asks about everybody who has hung up, and whom the signals name.
    pub(super) fn children_ended(&mut self) {
        for os_pid in sys::signalled_children(&self.signals) {
            let os_pid = OsPid::new(os_pid);
            if let Some(process) = self.by_os_pid.get(&os_pid) {
                self.awaited.insert(*process, os_pid);
            }
        }
        self.fresh.extend(
            self.awaited
                .iter()
                .map(|(process, os_pid)| (*process, *os_pid)),
        );
        self.work();
        self.sweep_at.get_or_insert_with(|| Instant::now() + SWEEP);
    }

    /// Asks the kernel how a process ended. Nothing happens if it lives.
    pub(super) fn ask_about(&mut self, process: Serial, os_pid: OsPid) {
        // It may have been answered meanwhile, and its number be another's.
        if self.by_os_pid.get(&os_pid) != Some(&process) {
            return;
        }
        let Some(seen) = ended(os_pid, false) else {
            return;
        };
        // What it said last may still be in its socket, if that has not hung up: a fork of it holds it. And
        // sends, perhaps, for as long as somebody reads.
        for _ in 0..ALL {
            let more = self.read(process, false);
            self.settle();
            if !more {
                break;
            }
        }
        let known = self.state.ledger(process).unwrap_or_default();
        let mut evidence = self.clues.of(os_pid, seen.status, &seen.usage, known);
        if seen
            .status
            .signal()
            .is_some_and(|signal| signal.number() == libc::SIGKILL)
        {
            evidence.extend(self.group_evidence(process));
        }
        evidence.extend(self.kill_groups_of(process, os_pid));
        for left in self.end_orphans_of(process) {
            if !evidence.contains(&left) {
                evidence.push(left);
            }
        }
        let Some(Ended { status, usage }) = ended(os_pid, true) else {
            return;
        };
        let at = Moment::now();
        let stderr = self.take_tail(process);
        let messages = self.tallied.unread(process);
        if messages > 0 {
            evidence.push(Evidence::Unread { messages });
        }
        self.forget(process);
        self.awaited.remove(&process);
        self.by_os_pid.remove(&os_pid);
        // It may have had the place of one.
        self.spares.ask_for_more(Instant::now());
        self.events.push_back(Event::Ended {
            process,
            end: End {
                status,
                usage,
                evidence,
                stderr,
                at,
            },
        });
        self.settle();
    }

    /// Looks at all children that have ended: processes whose signal merged with another's, and orphans of
    /// processes, which landed here and are of no interest.
    pub(super) fn sweep(&mut self) {
        let mut left = SWEEP_TURN;
        while let Some(os_pid) = sys::any_ended_child().map(OsPid::new) {
            if left == 0 {
                self.sweep_at = Some(Instant::now());
                break;
            }
            left -= 1;
            // Whoever has ended has said all that it ever will, and who it is comes first.
            if !self.by_os_pid.contains_key(&os_pid) {
                self.greet();
                self.began_unseen(os_pid);
            }
            if self
                .zygote
                .as_ref()
                .is_some_and(|zygote| zygote.os_pid() == os_pid)
            {
                self.lose_zygote();
                self.send_orders();
            } else if let Some(process) = self.by_os_pid.get(&os_pid) {
                self.ask_about(*process, os_pid);
            } else {
                self.reap(os_pid);
            }
            self.work();
        }
        self.remove_groups();
        let oldest = self.unborn.keys().next().copied();
        self.strays
            .retain(|_, stray| oldest.is_some_and(|oldest| oldest <= stray.newest));
    }

    /// Reads what those have said whose first word has not been read.
    fn greet(&mut self) {
        let unborn: Vec<Serial> = self.unborn.keys().copied().collect();
        for process in unborn {
            self.read_some(process, TURN, false);
            self.settle();
        }
    }

    /// Takes the status of a child that nobody knows. It may be a process that died before its first word, of which
    /// only the zygote can tell what the kernel called it.
    fn reap(&mut self, os_pid: OsPid) {
        let Some(Ended { status, usage }) = ended(os_pid, true) else {
            return;
        };
        let at = Moment::now();
        let evidence = Vec::new();
        self.spare_reaped(os_pid);
        self.orphan_reaped(os_pid);
        if let Some(newest) = self.unborn.keys().next_back().copied() {
            self.strays.insert(
                os_pid,
                Stray {
                    end: End {
                        status,
                        usage,
                        evidence,
                        stderr: None,
                        at,
                    },
                    newest,
                },
            );
        }
    }
}

/// How a child has ended.
fn ended(os_pid: OsPid, reap: bool) -> Option<Ended> {
    kernel::ended(Whom::OsPid(os_pid), reap).ok().flatten()
}

/// True while this is the number of a child that is not reaped.
pub(super) fn is_child(os_pid: OsPid) -> bool {
    let Some(pid) = os_pid.to_rustix() else {
        return false;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(
        rustix::process::waitid(WaitId::Pid(pid), options),
        Err(Errno::CHILD)
    )
}

/// True when every thread of the process has begun to die (`PF_EXITING` in /proc/PID/task/TID/stat, proc(5)).
///
/// The process is not reaped, so it has an entry there. If that cannot be read the fault is ours, and it
/// counts as alive: whoever waits for its end might wait for ever.
pub(super) fn is_exiting(os_pid: OsPid) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{os_pid}/task")) else {
        return false;
    };
    let mut seen = false;
    for thread in threads {
        let Ok(thread) = thread else { return false };
        match std::fs::read(thread.path().join("stat")) {
            Ok(stat) if thread_is_exiting(&stat) => seen = true,
            // It has gone since it was listed.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            _ => return false,
        }
    }
    seen
}

fn thread_is_exiting(stat: &[u8]) -> bool {
    const PF_EXITING: u64 = 0x4;
    // The name may hold anything, a closing parenthesis too; the last one ends it.
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else {
        return false;
    };
    let fields = String::from_utf8_lossy(&stat[end + 1..]);
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next();
    let flags = fields
        .nth(5)
        .and_then(|flags| flags.parse::<u64>().ok())
        .unwrap_or(0);
    matches!(state, Some("Z" | "X")) || flags & PF_EXITING != 0
}
