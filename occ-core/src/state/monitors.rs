//! Monitors: who is to be told of whose end. Each stands in two tables, the watcher's and the watched's.

use occ_inbox::Pid;

use super::{Effect, Process, Serial, State};
use crate::protocol::Ended;

impl State {
    pub(super) fn monitor(
        &mut self,
        by: Serial,
        number: u64,
        target: Pid,
        effects: &mut Vec<Effect>,
    ) {
        let found = self.find(target);
        let Some(watcher) = self.process(by) else {
            return;
        };
        // As in `spawn`.
        if watcher.watching.contains_key(&number) {
            return;
        }
        let Some(process) = found else {
            return self.tell_no_process(by, number, target, effects);
        };
        watcher.watching.insert(number, process);
        if let Some(target) = self.process(process) {
            target.watchers.insert((by, number));
        }
    }

    pub(super) fn tell_no_process(
        &self,
        to: Serial,
        number: u64,
        pid: Pid,
        effects: &mut Vec<Effect>,
    ) {
        let ended = Ended {
            number,
            pid,
            name: String::new(),
            label: None,
            facts: None,
            reported: false,
        };
        effects.push(Effect::Down {
            to,
            ended,
            report: None,
        });
    }

    /// Takes a process that is no longer in the table out of what others know of monitors.
    pub(super) fn unwatch(&mut self, serial: Serial, process: &mut Process) {
        // What it wanted to know is of no use to anybody any more, its own end least of all.
        process.watchers.retain(|(watcher, _)| *watcher != serial);
        for (number, target) in &process.watching {
            if let Some(target) = self.processes.get_mut(target) {
                target.watchers.remove(&(serial, *number));
            }
        }
        for (watcher, number) in &process.watchers {
            if let Some(watcher) = self.processes.get_mut(watcher) {
                watcher.watching.remove(number);
            }
        }
    }
}
