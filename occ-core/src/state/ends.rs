//! Ends: of processes, one by one, and of the system.

use std::rc::Rc;

use occ_inbox::{Pid, Refusal};
use occ_proc::Evidence;

use super::ledger::Why;
use super::{Effect, Phase, Process, Serial, State};
use crate::protocol::{End, Ended, Facts, News, Reply};

impl State {
    pub(super) fn kill(
        &mut self,
        by: Serial,
        id: u64,
        pid: Pid,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let Some(serial) = self.find(pid) else {
            return Reply::NoProcess { id };
        };
        let Some(process) = self.process(serial) else {
            return Reply::NoProcess { id };
        };
        match process.phase {
            Phase::Host => return Reply::IsHost { id },
            Phase::Launching(_) => {
                process.doomed = Some(Why::Asked(by));
                self.kill_for(serial, Why::Asked(by), effects);
            }
            Phase::Running { .. } => self.kill_for(serial, Why::Asked(by), effects),
        }
        Reply::Done { id }
    }

    /// Asks a process to end. One that is being made has done nothing that it could bring to an end.
    pub(super) fn terminate(
        &mut self,
        by: Serial,
        id: u64,
        pid: Pid,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let runs = self.find(pid).filter(|serial| {
            let process = self.processes.get(serial);
            process.is_some_and(|process| process.os_pid().is_some())
        });
        match runs {
            Some(serial) => {
                self.terminate_for(serial, Why::Told(by), effects);
                Reply::Done { id }
            }
            None => self.kill(by, id, pid, effects),
        }
    }

    /// The system stops without it.
    pub(super) fn out_of_reach(&mut self, serial: Serial, effects: &mut Vec<Effect>) {
        if !self.stopping || serial == self.host {
            return;
        }
        if let Some(mut process) = self.processes.remove(&serial) {
            self.doubles -= usize::from(process.takes_two());
            effects.push(Effect::Close { process: serial });
            self.unwatch(serial, &mut process);
            self.finish_if_empty(effects);
        }
    }

    /// It has had its time.
    pub(super) fn grace_over(&mut self, serial: Serial, effects: &mut Vec<Effect>) {
        self.kill_for(serial, Why::GraceOver, effects);
    }

    pub(super) fn hung_up(&mut self, serial: Serial, effects: &mut Vec<Effect>) {
        let Some(process) = self.process(serial) else {
            return;
        };
        if !std::mem::take(&mut process.open) {
            return;
        }
        effects.push(Effect::Close { process: serial });
        match process.phase {
            Phase::Host => self.stop(effects),
            Phase::Launching(_) => effects.push(Effect::AskZygote { process: serial }),
            Phase::Running { os_pid, .. } => {
                effects.push(Effect::AwaitEnd {
                    process: serial,
                    os_pid,
                });
            }
        }
    }

    pub(super) fn ended(&mut self, serial: Serial, mut end: End, effects: &mut Vec<Effect>) {
        let Some(process) = self.processes.get(&serial) else {
            return;
        };
        let Phase::Running { os_pid, started } = process.phase else {
            return;
        };
        let Some(mut process) = self.processes.remove(&serial) else {
            return;
        };
        self.doubles -= usize::from(process.takes_two());
        let status = end.status;
        effects.push(Effect::Close { process: serial });
        self.unwatch(serial, &mut process);

        // With process zero of a `run` everything ends. The others are killed before they hear of it: none is
        // to fail for want of it, and be reported for that.
        if !self.host_listed && serial == self.host + 1 {
            self.kill_all(Why::Over, effects);
        }

        // Another program knows nothing of our handlers.
        let is_another = |piece: &Evidence| matches!(piece, Evidence::Executed { .. });
        if process.care.executes {
            // That it is another is what was asked for.
            end.evidence.retain(|piece| !is_another(piece));
        } else if !end.evidence.iter().any(is_another) {
            end.evidence.extend(process.words.evidence(status));
        }
        end.evidence
            .extend(process.sent.drain(..).map(Evidence::Sent));
        let report = std::mem::take(&mut process.words)
            .confirmed_by(status)
            .map(Rc::new);
        // A report that was lost is believed to have said what the status says, which no signal does.
        let lost = process.unheard && status.code().is_some();
        let pid = self.pid(serial);
        let ended = |number| Ended {
            number,
            pid,
            name: process.name.clone(),
            label: process.care.label.clone(),
            facts: Some(Box::new(Facts {
                os_pid,
                started,
                end: end.clone(),
            })),
            reported: report.is_some() || lost,
        };
        for (watcher, number) in &process.watchers {
            let (ended, report) = (ended(*number), report.clone());
            effects.push(Effect::Down {
                to: *watcher,
                ended,
                report,
            });
        }
        if process.watchers.is_empty() && status.is_abnormal() && !self.stopping {
            effects.push(Effect::Abnormal {
                ended: ended(0),
                report: report.clone(),
            });
        }
        self.tell_peers(serial, &process, effects);
        self.finish_if_empty(effects);
    }

    /// Tells those that had a connection with a process, or asked about it, that it is no more. A Down says
    /// as much.
    pub(super) fn tell_peers(
        &mut self,
        serial: Serial,
        process: &Process,
        effects: &mut Vec<Effect>,
    ) {
        let peer = self.pid(serial);
        for to in &process.peers {
            if let Some(other) = self.processes.get_mut(to) {
                other.peers.remove(&serial);
                if !process.is_watched_by(*to) {
                    effects.push(Effect::Tell {
                        to: *to,
                        news: News::Gone { peer },
                    });
                }
            }
        }
        self.answer(
            process.questions.iter().copied(),
            serial,
            Refusal::NoProcess,
            effects,
        );
    }

    pub(super) fn stop(&mut self, effects: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        self.kill_all(Why::Stop, effects);
        self.finish_if_empty(effects);
    }

    pub(super) fn kill_all(&mut self, why: Why, effects: &mut Vec<Effect>) {
        self.stopping = true;
        let all: Vec<Serial> = self.processes.keys().copied().collect();
        for process in all {
            self.terminate_for(process, why, effects);
        }
    }

    pub(super) fn finish_if_empty(&self, effects: &mut Vec<Effect>) {
        if self.stopping && self.processes.keys().all(|process| *process == self.host) {
            effects.push(Effect::Finish);
        }
    }
}
