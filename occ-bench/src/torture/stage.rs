//! Starts senders, kills them, and hears what is said of them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use occasional::{Down, ExitReason, Fd, Message, MonitorRef, Pid};
use occasional::{os_pid, receive_any_timeout, receive_timeout, self_pid, send, spawn_monitor};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, kill_process};

use super::accounts::Accounts;
use super::judge::Judge;
use super::plan::{Plan, RECEIVERS};
use super::receiver::{Order, Word, receiver, was_killed};
use super::sender::{Go, Task, sender};
use super::unread::{self, Left};
use super::witness::Witness;

/// Nothing at all is heard for so long only if nothing will ever be.
const QUIET: Duration = Duration::from_secs(30);

/// So many senders that end of themselves will never send what is to be sent; and of so many dead ones nobody closes any more what is
/// open.
const ENOUGH: u64 = 100;

/// A sender that has not been killed.
struct Sender {
    index: u64,
    pid: Pid,
    /// Receivers that have not said that they watch it.
    unwatched: usize,
}

pub(crate) struct Stage {
    plan: Plan,
    accounts: Accounts,
    receivers: Vec<Pid>,
    /// Descriptors that each had open before there was a sender.
    fds: Vec<usize>,
    next: u64,
    senders: Vec<Sender>,
    monitors: BTreeMap<MonitorRef, u64>,
    /// Of those senders of whose descriptors one may be open.
    witnesses: BTreeMap<u64, Witness>,
    judge: Judge,
}

impl Stage {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Stage> {
        let accounts = Accounts::new()?;
        let mut receivers = Vec::new();
        for number in 0..RECEIVERS {
            let args = (number, plan, accounts.address(), self_pid());
            receivers.push(spawn_monitor(receiver, args)?.0);
        }
        let mut stage = Stage {
            plan,
            accounts,
            receivers,
            fds: Vec::new(),
            next: 0,
            senders: Vec::new(),
            monitors: BTreeMap::new(),
            witnesses: BTreeMap::new(),
            judge: Judge::default(),
        };
        stage.fds = stage.open_fds_of_receivers()?;
        Ok(stage)
    }

    /// Lets so many send at a time, until so many messages have come, and until all who sent are dead and judged.
    pub(crate) fn play(&mut self, messages: u64, senders: usize) -> anyhow::Result<()> {
        for (pause, which) in self.plan.kills() {
            let is_over = self.judge.totals.messages >= messages;
            let (wrong, open) = (self.judge.totals.wrong, self.count_open());
            ensure!(
                wrong < ENOUGH && open < ENOUGH as usize,
                "{wrong} ends were told wrongly, and of {open} dead senders descriptors are open: {:?}",
                self.judge.notes
            );
            while !is_over && self.senders.len() < senders {
                self.launch()?;
            }
            self.hear_until(Instant::now() + pause)?;
            if is_over && self.senders.is_empty() {
                break;
            }
            self.kill(which)?;
        }
        while !self.judge.is_done() {
            match receive_any_timeout(QUIET)? {
                Some(message) => self.take(&message)?,
                None => self.judge.give_up(),
            }
        }
        Ok(())
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let index = self.next;
        Accounts::check(index)?;
        self.next += 1;
        let (witness, first) = Witness::new().context("a pipe")?;
        let identity = witness.identity().context("a pipe")?;
        let (pid, monitor) = spawn_monitor(sender, (self.task(index), Fd(first)))
            .with_context(|| format!("spawn of sender {index}"))?;
        self.witnesses.insert(index, witness);
        self.monitors.insert(monitor, index);
        self.judge.open(index, RECEIVERS);
        for receiver in &self.receivers {
            let first = identity;
            send(*receiver, Order::Watch { index, pid, first })?;
        }
        self.senders.push(Sender {
            index,
            pid,
            unwatched: RECEIVERS,
        });
        Ok(())
    }

    fn task(&self, index: u64) -> Task {
        Task {
            index,
            plan: self.plan,
            accounts: self.accounts.address(),
            receivers: self.receivers.clone(),
        }
    }

    /// Kills one of those that send.
    fn kill(&mut self, which: u64) -> anyhow::Result<()> {
        let sending: Vec<usize> = (0..self.senders.len())
            .filter(|at| self.senders[*at].unwatched == 0)
            .collect();
        if sending.is_empty() {
            return Ok(());
        }
        let at = sending[which as usize % sending.len()];
        let sender = self.senders.swap_remove(at);
        kill_now(sender.pid).with_context(|| format!("sender {}", sender.index))
    }

    fn hear_until(&mut self, end: Instant) -> anyhow::Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match receive_any_timeout(left)? {
                Some(message) => self.take(&message)?,
                None => return Ok(()),
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        if let Ok(down) = message.decode::<Down>() {
            ensure!(!self.receivers.contains(&down.pid), "a receiver: {down}");
            match self.monitors.get(&down.monitor) {
                Some(index) => {
                    // One that was not killed has ended itself.
                    self.senders.retain(|sender| sender.index != *index);
                    self.judge.told(*index, was_killed(&down), &down);
                    self.look_for_descriptors()?;
                }
                None => bail!("an end that nobody waited for: {down}"),
            }
            return Ok(());
        }
        let from = self.receivers.iter().position(|pid| *pid == message.from);
        let receiver = from.context("a message of a stranger")?;
        match message.decode()? {
            Word::Watching { index } => {
                let sender = self.senders.iter_mut().find(|sender| sender.index == index);
                let sender = sender.context("a sender that was not killed")?;
                sender.unwatched -= 1;
                if sender.unwatched == 0 {
                    send(sender.pid, Go)?;
                }
            }
            Word::Verdict { index, verdict } => {
                self.judge.verdict(index, receiver, &verdict);
                self.look_for_descriptors()?;
            }
            Word::Open { .. } | Word::Ignoring => {
                bail!("receiver {receiver} says what it was not asked")
            }
        }
        Ok(())
    }

    fn open_fds_of_receivers(&self) -> anyhow::Result<Vec<usize>> {
        let count = |receiver: &Pid| {
            send(*receiver, Order::Count)?;
            match receive_timeout::<Word>(QUIET)? {
                Some(Word::Open { fds }) => Ok(fds),
                _ => bail!("{receiver} does not count its descriptors"),
            }
        };
        self.receivers.iter().map(count).collect()
    }

    /// Descriptors that receivers have open and did not before there was a sender.
    pub(crate) fn leaked_by_receivers(&self) -> anyhow::Result<usize> {
        let now = self.open_fds_of_receivers()?;
        let pairs = now.iter().zip(&self.fds);
        Ok(pairs.map(|(now, before)| now.saturating_sub(*before)).sum())
    }

    /// Of whom all is said is dead, and what it had sent is closed; or it is about to be, and is looked for the next time.
    fn look_for_descriptors(&mut self) -> anyhow::Result<()> {
        let mut failed = Ok(());
        let (now, judge) = (Instant::now(), &self.judge);
        self.witnesses.retain(|index, witness| {
            let is_over = judge.is_closed(*index).then(|| witness.is_over_by(now));
            match is_over {
                Some(Err(error)) => {
                    failed = Err(error).with_context(|| format!("sender {index}"));
                    true
                }
                Some(Ok(is_over)) => !is_over,
                None => true,
            }
        });
        failed
    }

    /// Senders of whom all is said, and of whose descriptors one was open when they were last looked for.
    fn count_open(&self) -> usize {
        let is_closed = |index: &&u64| self.judge.is_closed(**index);
        self.witnesses.keys().filter(is_closed).count()
    }

    /// How many senders there are that are dead and of whose descriptors one is open for good, wherever. Each is told once.
    pub(crate) fn take_still_open(&mut self, patience: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + patience;
        let mut open = 0;
        for (index, witness) in std::mem::take(&mut self.witnesses) {
            if !witness.is_over_by(deadline)? {
                self.judge.still_open(index);
                open += 1;
            }
        }
        Ok(open)
    }

    /// Lets so many senders send what no receiver takes, and kills them. Gives what the second receiver waits for.
    pub(crate) fn leave_unread(&mut self, senders: usize) -> anyhow::Result<OwnedFd> {
        let (read, gate) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut read = Some(Fd(read));
        for receiver in self.receivers.iter().rev() {
            send(*receiver, Order::Ignore(read.take()))?;
            let word = receive_timeout::<Word>(QUIET)?;
            let is_ignoring = matches!(word, Some(Word::Ignoring));
            ensure!(is_ignoring, "{receiver} goes on");
        }
        for _ in 0..senders {
            let index = self.next;
            self.next += 1;
            let (witness, first) = Witness::new().context("a pipe")?;
            let args = (self.task(index), Fd(first), self_pid());
            let (pid, _) = spawn_monitor(unread::sender, args)?;
            let left: Option<Left> = receive_timeout(QUIET)?;
            let Left(left) = left.context("nothing is left unread")?;
            ensure!(!left.contains(&0), "so many are left unread: {left:?}");
            self.judge.totals.unread += left.iter().sum::<u64>();

            kill_now(pid)?;
            let down: Option<Down> = receive_timeout(QUIET)?;
            let down = down.context("a sender does not end")?;
            ensure!(down.pid == pid && was_killed(&down), "{down}");
            // If it were, then there would be nothing to see afterwards.
            let is_over = witness.is_over_by(Instant::now())?;
            ensure!(!is_over, "what nobody has read is closed");
            self.witnesses.insert(index, witness);
        }
        Ok(gate)
    }

    /// Ends the receivers; hears what else they have to say.
    pub(crate) fn end(&mut self, gate: OwnedFd) -> anyhow::Result<()> {
        drop(gate);
        for (number, receiver) in self.receivers.iter().enumerate() {
            if number == 0 {
                send(*receiver, Order::End)?;
            }
        }
        for _ in 0..RECEIVERS {
            let down: Option<Down> = receive_timeout(QUIET)?;
            let down = down.context("a receiver does not end")?;
            let number = self.receivers.iter().position(|pid| *pid == down.pid);
            let number = number.with_context(|| format!("another has ended: {down}"))?;
            let ExitReason::Value(strays) = &down.reason else {
                bail!("receiver {number}: {down}");
            };
            self.judge.strays(number, strays.get()?);
        }
        Ok(())
    }

    pub(crate) fn into_judge(self) -> Judge {
        self.judge
    }
}

fn kill_now(pid: Pid) -> anyhow::Result<()> {
    let os_pid = os_pid(pid)?.to_rustix().context("no pid")?;
    Ok(kill_process(os_pid, Signal::KILL)?)
}
