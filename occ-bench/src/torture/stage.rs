//! Starts senders, kills them, and hears what is said of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use occasional::{Down, ExitReason, Message, MonitorRef, Pid};
use occasional::{os_pid, receive_any_timeout, receive_timeout, self_pid, send, spawn_monitor};
use rustix::process::{Signal, kill_process};

use super::accounts::Accounts;
use super::judge::Judge;
use super::plan::{Plan, RECEIVERS};
use super::receiver::{Order, Word, receiver, was_killed};
use super::sender::{Go, sender};

/// Nothing at all is heard for so long only if nothing will ever be.
const QUIET: Duration = Duration::from_secs(30);

/// So many senders that end of themselves will never send what is to be sent.
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
            judge: Judge::default(),
        };
        stage.fds = stage.open_fds_of_receivers()?;
        Ok(stage)
    }

    /// Lets so many send at a time, until so many messages have come, and until all who sent are dead and judged.
    pub(crate) fn play(&mut self, messages: u64, senders: usize) -> anyhow::Result<()> {
        for (pause, which) in self.plan.kills() {
            let is_over = self.judge.totals.messages >= messages;
            let wrong = self.judge.totals.wrong;
            ensure!(
                wrong < ENOUGH,
                "{wrong} ends were told wrongly: {:?}",
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
        let args = (
            index,
            self.plan,
            self.accounts.address(),
            self.receivers.clone(),
        );
        let (pid, monitor) =
            spawn_monitor(sender, args).with_context(|| format!("spawn of sender {index}"))?;
        self.monitors.insert(monitor, index);
        self.judge.open(index, RECEIVERS);
        for receiver in &self.receivers {
            send(*receiver, Order::Watch { index, pid })?;
        }
        self.senders.push(Sender {
            index,
            pid,
            unwatched: RECEIVERS,
        });
        Ok(())
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
        let os_pid = os_pid(sender.pid).with_context(|| format!("sender {}", sender.index))?;
        let os_pid = os_pid.to_rustix().context("no pid")?;
        Ok(kill_process(os_pid, Signal::KILL)?)
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
            Word::Verdict { index, verdict } => self.judge.verdict(index, receiver, &verdict),
            Word::Open { .. } => bail!("receiver {receiver} counts its descriptors unasked"),
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

    /// Ends the receivers; hears what else they have to say.
    pub(crate) fn end(mut self) -> anyhow::Result<Judge> {
        for (number, receiver) in self.receivers.iter().enumerate() {
            send(*receiver, Order::End)?;
            let down: Option<Down> = receive_timeout(QUIET)?;
            let down = down.with_context(|| format!("receiver {number} does not end"))?;
            let ExitReason::Value(strays) = &down.reason else {
                bail!("receiver {number}: {down}");
            };
            ensure!(down.pid == *receiver, "another has ended: {down}");
            self.judge.strays(number, strays.get()?);
        }
        Ok(self.judge)
    }
}
