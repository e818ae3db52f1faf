//! Connections: one for two processes, and one answer for each wish.

use occ_inbox::{Pid, Refusal, Standing};

use super::{Effect, Phase, Serial, State};
use crate::protocol::News;

impl State {
    pub(super) fn connect(
        &mut self,
        by: Serial,
        id: u64,
        (to, standing): (Pid, Standing),
        effects: &mut Vec<Effect>,
    ) {
        let refused = |why| Effect::Tell {
            to: by,
            news: News::Refused { peer: to, why },
        };
        let Some(serial) = self.find(to) else {
            return effects.push(refused(Refusal::NoProcess));
        };
        // A connection with oneself is the inbox's own affair.
        if serial == by {
            return effects.push(refused(Refusal::NoInbox));
        }
        let Some(target) = self.processes.get_mut(&serial) else {
            return;
        };
        // Its control socket may yet be lost with a zygote, and another be made. The wish waits until it has begun.
        if let Phase::Launching(_) = target.phase {
            target.questions.insert(by);
            return;
        }
        let connected = target.peers.contains(&by);
        if !target.open || (standing == Standing::Broken && connected) {
            return self.question(by, serial, effects);
        }
        // Both asked at the same time: the one pair is on its way to both.
        if connected && standing == Standing::New {
            return effects.push(Effect::Remind {
                id,
                to: by,
                peer: serial,
            });
        }
        self.connect_with(by, serial, effects);
    }

    /// Two that have no connection get one.
    pub(super) fn connect_with(&mut self, a: Serial, b: Serial, effects: &mut Vec<Effect>) {
        // Whoever wished for it may have ended since.
        if !self.processes.contains_key(&a) {
            return;
        }
        for (one, peer) in [(a, b), (b, a)] {
            if let Some(process) = self.process(one) {
                process.peers.insert(peer);
            }
        }
        effects.push(Effect::Connect { a, b });
    }

    /// Dying, or alive without a wish to listen? The kernel knows; whoever asked gets one answer that stays
    /// true.
    pub(super) fn question(&mut self, by: Serial, about: Serial, effects: &mut Vec<Effect>) {
        let Some(process) = self.process(about) else {
            return;
        };
        match process.phase {
            // It ends, and the system with it.
            Phase::Host => return self.answer([by], about, Refusal::NoInbox, effects),
            Phase::Launching(_) => {}
            Phase::Running { os_pid, .. } => {
                effects.push(Effect::Examine {
                    process: about,
                    os_pid,
                });
            }
        }
        process.questions.insert(by);
    }

    pub(super) fn examined(&mut self, serial: Serial, exiting: bool, effects: &mut Vec<Effect>) {
        if exiting {
            return;
        }
        let Some(process) = self.process(serial) else {
            return;
        };
        let questions = std::mem::take(&mut process.questions);
        self.answer(questions, serial, Refusal::NoInbox, effects);
    }

    pub(super) fn answer(
        &self,
        questions: impl IntoIterator<Item = Serial>,
        about: Serial,
        why: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let peer = self.pid(about);
        for to in questions
            .into_iter()
            .filter(|to| self.processes.contains_key(to))
        {
            effects.push(Effect::Tell {
                to,
                news: News::Refused { peer, why },
            });
        }
    }

    pub(super) fn no_pair(&mut self, closed: Serial, other: Serial, effects: &mut Vec<Effect>) {
        // There is no connection, so the next wish for one is a new one.
        for (one, peer) in [(closed, other), (other, closed)] {
            if let Some(process) = self.process(one) {
                process.peers.remove(&peer);
            }
        }
        // Whether `other` asked is not known. If not, the answer does no harm.
        if !self.processes.contains_key(&closed) {
            self.answer([other], closed, Refusal::NoProcess, effects);
        } else if self.processes.contains_key(&other) {
            self.question(other, closed, effects);
        }
    }
}
