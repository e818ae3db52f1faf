//! A process that receives from all senders, and says of each that has died what has become of its messages.

use std::collections::HashMap;

use anyhow::Context;
use occasional::{Down, ExitReason, Fd, Message, MonitorRef, OsPid, Pid};
use occasional::{monitor, receive, receive_any, send};
use serde::{Deserialize, Serialize};

use super::accounts::{Account, Accounts, Address};
use super::judge::Verdict;
use super::line::{Line, THREADS};
use super::parcel::{Litter, Parcel, count_wrong};
use super::plan::{Fault, Plan};
use super::witness::Identity;
use crate::machine::open_fds;
use crate::piece::Piece;
use crate::sequence::Sequence;

/// From the stage.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    Watch {
        index: u64,
        pid: Pid,
        /// What each of its messages with descriptors has first.
        first: Identity,
    },
    Count,
    /// Whatever else comes is not received any more: not taken out of the inbox until the next order comes, or not even taken in until
    /// this pipe ends.
    Ignore(Option<Fd>),
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
    Ignoring,
}

/// A sender that has not died.
struct Watched {
    index: u64,
    first: Identity,
    /// What each of its threads has sent.
    received: [Sequence; THREADS as usize],
    /// What came to be thrown away. Nobody looks into it, so the number of each is its place among the others.
    litter: Sequence,
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
        } else if message.is::<Parcel>() {
            receiver.unpack(message)?;
        } else if message.is::<Litter>() {
            receiver.throw_away(message);
        } else if let Ok(down) = message.decode::<Down>() {
            receiver.judge(&down)?;
        } else {
            match message.into_value()? {
                Order::Watch { index, pid, first } => receiver.watch(index, pid, first)?,
                Order::Count => {
                    let fds = open_fds(OsPid::own())?;
                    send(stage, Word::Open { fds })?;
                }
                Order::Ignore(pipe) => {
                    send(stage, Word::Ignoring)?;
                    match pipe {
                        Some(pipe) => drop(rustix::io::read(&pipe, &mut [0_u8])?),
                        None => drop(receive::<Order>()?),
                    }
                    return Ok(receiver.strays);
                }
                Order::End => return Ok(receiver.strays),
            }
        }
    }
}

impl Receiver {
    fn watch(&mut self, index: u64, pid: Pid, first: Identity) -> anyhow::Result<()> {
        self.monitors.insert(monitor(pid)?, pid);
        let watched = Watched {
            index,
            first,
            received: Default::default(),
            litter: Sequence::default(),
            verdict: Verdict::default(),
        };
        self.watched.insert(pid, watched);
        Ok(send(self.stage, Word::Watching { index })?)
    }

    fn take(&mut self, from: Pid, piece: &Piece) {
        match self.watched.get_mut(&from) {
            Some(watched) => watched.take(self.plan, self.number, piece, false),
            None => self.strays += 1,
        }
    }

    /// A message with descriptors: taken out of it, or looked at as it is, which gives duplicates.
    fn unpack(&mut self, message: Message) -> anyhow::Result<()> {
        let from = message.from;
        let Some(watched) = self.watched.get_mut(&from) else {
            self.strays += 1;
            return Ok(());
        };
        let is_look = watched.verdict.gifts.parcels % 4 == 3;
        let (mut parcel, rest) = match is_look {
            true => (message.decode::<Parcel>()?, Some(message)),
            false => (message.into_value::<Parcel>()?, None),
        };
        watched.take(self.plan, self.number, &parcel.piece, true);

        let line = Line::at(parcel.piece.sender);
        let shape = self.plan.shape(line, parcel.piece.number);
        let gifts = &mut watched.verdict.gifts;
        gifts.parcels += 1;
        gifts.came += parcel.gifts.len() as u64;
        gifts.wrong += count_wrong(
            &parcel.gifts,
            line,
            parcel.piece.number,
            shape.gifts,
            watched.first,
        );
        if self.plan.fault == Some(Fault::Keep) {
            self.plan.fault = None;
            std::mem::forget(parcel.gifts.swap_remove(0));
        }
        drop(rest);
        Ok(())
    }

    /// By all ways in which a message that nobody has does not cost its descriptors.
    fn throw_away(&mut self, message: Message) {
        let Some(watched) = self.watched.get_mut(&message.from) else {
            self.strays += 1;
            return;
        };
        let gifts = &mut watched.verdict.gifts;
        let is_refused = match gifts.thrown_away % 4 {
            0 => true,
            1 => message.decode::<Litter>().is_err(),
            2 => message.decode::<Parcel>().is_err(),
            _ => message.into_value::<Litter>().is_err(),
        };
        watched.litter.take(gifts.thrown_away, is_refused);
        gifts.thrown_away += 1;
    }

    /// The end of a sender was told, so all that it had sent has come.
    fn judge(&mut self, down: &Down) -> anyhow::Result<()> {
        let pid = self.monitors.remove(&down.monitor);
        let pid = pid.with_context(|| format!("told twice, or unasked: {down}"))?;
        let watched = self.watched.remove(&pid).context("not watched")?;
        let index = watched.index;
        let mut verdict = watched.end(self.number, &self.accounts);
        verdict.is_right = was_killed(down) && down.pid == pid;
        Ok(send(self.stage, Word::Verdict { index, verdict })?)
    }
}

impl Watched {
    fn take(&mut self, plan: Plan, receiver: usize, piece: &Piece, is_parcel: bool) {
        let line = Line::at(piece.sender);
        let shape = plan.shape(line, piece.number);
        let is_mine = line.sender == self.index && line.receiver == receiver && !line.is_litter;
        let is_whole = is_mine && piece.is_whole(shape.size) && is_parcel == (shape.gifts > 0);
        self.received[line.thread as usize].take(piece.number, is_whole);
        self.verdict.messages += 1;
        self.verdict.bytes += piece.len() as u64;
        self.verdict.by_handle += line.thread;
    }

    /// What was sent, as the sender was told, is compared with what came.
    fn end(self, receiver: usize, accounts: &Accounts) -> Verdict {
        let mut verdict = self.verdict;
        let account = |thread, is_litter| {
            accounts.of(Line {
                sender: self.index,
                thread,
                receiver,
                is_litter,
            })
        };
        for (thread, received) in (0..).zip(self.received) {
            let Account { begun, accepted } = account(thread, false);
            verdict.faults.add(received.end(accepted, begun - accepted));
            verdict.was_interrupted |= begun > accepted;
        }
        let all = (0..THREADS).map(|thread| account(thread, true));
        let (begun, accepted) = all.fold((0, 0), |(begun, accepted), account| {
            (begun + account.begun, accepted + account.accepted)
        });
        verdict
            .faults
            .add(self.litter.end(accepted, begun - accepted));
        verdict.was_interrupted |= begun > accepted;
        verdict
    }
}

pub(crate) fn was_killed(down: &Down) -> bool {
    matches!(&down.reason, ExitReason::Signal(signal) if signal.number() == libc::SIGKILL)
}
