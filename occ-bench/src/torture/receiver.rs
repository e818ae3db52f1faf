//! A process that receives from all senders, and says of each that has died what has become of its messages.

use std::collections::HashMap;

use anyhow::Context;
use occasional::{Down, ExitReason, MonitorRef, OsPid, Pid};
use occasional::{monitor, receive_any, send};
use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, Address};
use super::judge::Verdict;
use super::plan::Plan;
use crate::machine::open_fds;
use crate::piece::Piece;
use crate::sequence::Sequence;

/// From the stage.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    Watch { index: u64, pid: Pid },
    Count,
    End,
}

/// To the stage.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    Watching {
        index: u64,
    },
    Verdict {
        index: u64,
        verdict: Verdict,
    },
    /// Descriptors that are open.
    Open {
        fds: usize,
    },
}

/// A sender that has not died.
struct Watched {
    index: u64,
    sequence: Sequence,
    verdict: Verdict,
}

struct Receiver {
    number: usize,
    plan: Plan,
    accounts: Accounts,
    stage: Pid,
    watched: HashMap<Pid, Watched>,
    monitors: HashMap<MonitorRef, Pid>,
    /// What came from nobody that is watched.
    strays: u64,
}

pub(crate) fn receiver(
    number: usize,
    plan: Plan,
    accounts: Address,
    stage: Pid,
) -> anyhow::Result<u64> {
    let mut receiver = Receiver {
        number,
        plan,
        accounts: Accounts::at(&accounts)?,
        stage,
        watched: HashMap::new(),
        monitors: HashMap::new(),
        strays: 0,
    };
    loop {
        let message = receive_any()?;
        if let Ok(piece) = message.decode::<Piece>() {
            receiver.take(message.from, &piece);
        } else if let Ok(down) = message.decode::<Down>() {
            receiver.judge(&down)?;
        } else {
            match message.decode()? {
                Order::Watch { index, pid } => receiver.watch(index, pid)?,
                Order::Count => {
                    let fds = open_fds(OsPid::own())?;
                    send(stage, Word::Open { fds })?;
                }
                Order::End => return Ok(receiver.strays),
            }
        }
    }
}

impl Receiver {
    fn watch(&mut self, index: u64, pid: Pid) -> anyhow::Result<()> {
        self.monitors.insert(monitor(pid)?, pid);
        let watched = Watched {
            index,
            sequence: Sequence::default(),
            verdict: Verdict::default(),
        };
        self.watched.insert(pid, watched);
        Ok(send(self.stage, Word::Watching { index })?)
    }

    fn take(&mut self, from: Pid, piece: &Piece) {
        let Some(watched) = self.watched.get_mut(&from) else {
            self.strays += 1;
            return;
        };
        let size = self.plan.size(watched.index, self.number, piece.number);
        let is_whole = piece.sender == watched.index && piece.is_whole(size);
        watched.sequence.take(piece.number, is_whole);
        watched.verdict.messages += 1;
        watched.verdict.bytes += piece.len() as u64;
    }

    /// The end of a sender was told, so all that it had sent has come.
    fn judge(&mut self, down: &Down) -> anyhow::Result<()> {
        let pid = self.monitors.remove(&down.monitor);
        let pid = pid.with_context(|| format!("told twice, or unasked: {down}"))?;
        let watched = self.watched.remove(&pid).context("not watched")?;
        let account = self.accounts.of(watched.index, self.number);
        let faults = watched
            .sequence
            .end(account.accepted, account.begun > account.accepted);
        let verdict = Verdict {
            faults,
            is_right: was_killed(down) && down.pid == pid,
            was_interrupted: account.begun > account.accepted,
            ..watched.verdict
        };
        let index = watched.index;
        Ok(send(self.stage, Word::Verdict { index, verdict })?)
    }
}

pub(crate) fn was_killed(down: &Down) -> bool {
    matches!(&down.reason, ExitReason::Signal(signal) if signal.number() == libc::SIGKILL)
}
