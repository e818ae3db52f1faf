//! Beginnings: what is asked for is in the table before it is made, and there is an answer whatever becomes of it.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use occ_spawn::OsPid;
use occ_spawn::zygote::Args;

use super::ledger::Why;
use super::{Asker, Effect, Phase, Process, Serial, State};
use crate::protocol::{Moment, NotSpawned, Reply, Wanted};

impl State {
    pub(super) fn spawn(
        &mut self,
        mut asker: Asker,
        wanted: Wanted,
        (args, given): (Args, Vec<OwnedFd>),
        effects: &mut Vec<Effect>,
    ) {
        let refused = if self.stopping {
            Some(NotSpawned::Stopping)
        } else if self.processes.len() + self.doubles > self.limit {
            Some(NotSpawned::TooMany {
                limit: self.limit as u64,
            })
        } else {
            None
        };
        if let Some(why) = refused {
            let reply = Reply::NotSpawned { id: asker.id, why };
            effects.push(Effect::Reply {
                to: asker.process,
                reply,
            });
            return;
        }

        let serial = self.number_for(wanted.suits_a_spare());
        let by = asker.process;
        let mut watchers = BTreeSet::new();
        if let Some(number) = asker.monitor {
            match self.process(by) {
                Some(watcher) if !watcher.watching.contains_key(&number) => {
                    watcher.watching.insert(number, serial);
                    watchers.insert((by, number));
                }
                // A number in use is a mistake of the asker; the first meaning stands.
                _ => asker.monitor = None,
            }
        }
        let process = Process {
            watchers,
            care: wanted.care.clone(),
            ..Process::new(Phase::Launching(asker), wanted.name.clone())
        };
        self.doubles += usize::from(process.takes_two());
        self.processes.insert(serial, process);
        effects.push(Effect::Launch {
            process: serial,
            wanted: Box::new(wanted),
            args,
            given,
        });
    }

    /// False if the process is not one that is being made.
    pub(super) fn began(
        &mut self,
        serial: Serial,
        os_pid: OsPid,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let pid = self.pid(serial);
        let Some(process) = self.process(serial) else {
            return false;
        };
        let Phase::Launching(Asker {
            process: to, id, ..
        }) = process.phase
        else {
            return false;
        };
        process.phase = Phase::Running {
            os_pid,
            started: at,
        };
        let wishes = if process.open {
            std::mem::take(&mut process.questions)
        } else {
            BTreeSet::new()
        };
        self.reply(to, Reply::Spawned { id, pid }, effects);
        for by in wishes {
            self.connect_with(by, serial, effects);
        }
        true
    }

    pub(super) fn relaunched(&mut self, serial: Serial) {
        if let Some(process) = self.process(serial)
            && let Phase::Launching(_) = process.phase
        {
            process.open = true;
            process.known = None;
        }
    }

    /// From here on it can be killed, though it does not run yet: what it is about to execute may be slow to come.
    pub(super) fn known(&mut self, serial: Serial, os_pid: OsPid, effects: &mut Vec<Effect>) {
        let stop = self.stopping.then_some(Why::Stop);
        let Some(process) = self.process(serial) else {
            return;
        };
        if let Phase::Launching(_) = process.phase {
            process.known = Some(os_pid);
            if let Some(why) = process.doomed.or(stop) {
                self.kill_for(serial, why, effects);
            }
        }
    }

    /// Does to a process that has just begun what was put off until then.
    pub(super) fn look_after(&mut self, serial: Serial, os_pid: OsPid, effects: &mut Vec<Effect>) {
        let Some(process) = self.processes.get(&serial) else {
            return;
        };
        let open = process.open;
        let stop = self.stopping.then_some(Why::Stop);
        // Once is enough: where it has worked, a second signal comes to the dead.
        let is_killed = process.sent.iter().any(|sent| sent.signal == libc::SIGKILL);
        if let Some(why) = process.doomed.or(stop).filter(|_| !is_killed) {
            self.kill_for(serial, why, effects);
        }
        if !open {
            effects.push(Effect::AwaitEnd {
                process: serial,
                os_pid,
            });
        }
    }

    pub(super) fn not_made(&mut self, serial: Serial, why: NotSpawned, effects: &mut Vec<Effect>) {
        let Some(process) = self.processes.get(&serial) else {
            return;
        };
        let Phase::Launching(Asker {
            process: to,
            id,
            monitor,
        }) = process.phase
        else {
            return;
        };
        let Some(mut process) = self.processes.remove(&serial) else {
            return;
        };
        self.doubles -= usize::from(process.takes_two());
        effects.push(Effect::Close { process: serial });
        self.unwatch(serial, &mut process);
        // It never was: whoever asked is told so, once, and nobody else knew of it. But a pid can be
        // guessed, and what is guessed is answered.
        if let Some(number) = monitor {
            process.watchers.remove(&(to, number));
        }
        for (watcher, number) in &process.watchers {
            self.tell_no_process(*watcher, *number, self.pid(serial), effects);
        }
        self.tell_peers(serial, &process, effects);
        self.reply(to, Reply::NotSpawned { id, why }, effects);
        self.finish_if_empty(effects);
    }

    /// Answers a request of some time ago. Its asker may have ended since.
    pub(super) fn reply(&self, to: Serial, reply: Reply, effects: &mut Vec<Effect>) {
        if self.processes.contains_key(&to) {
            effects.push(Effect::Reply { to, reply });
        }
    }
}
