//! Carries the plan out: starts processes and watchers, kills those that are to be killed, and hears what is told.
//!
//! ```text
//! judge ── spawn_monitor ──► process     waits for its messages, or does not
//!   │ ──── Watch ──────────► watcher ×4  monitors it, says so
//!   │ ◄─── Watching ───────── watcher
//!   │ ──── Go, or a signal ─► process    dies
//!   │ ◄─── Down
//!   │ ◄─── Seen ───────────── watcher    what its own Down said
//!   ╰ ──── Die, or a signal ► watcher    after some hundred orders; another takes its slot
//! ```
//!
//! The judge is the program that has started the system. It never waits for a certain word, but for any.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use occasional::{Down, Message, MonitorRef, Pid};
use occasional::{kill, os_pid, receive_any_timeout, self_pid, send, spawn_monitor};
use rustix::process::{Signal, kill_process};

use super::judge::{Judge, NOBODY};
use super::plan::{Act, Life, Plan, SLOTS, Way, When};
use super::subject::{Go, Said, subject};
use super::told::Told;
use super::watcher::{Order, Word, ask_the_system, watcher};

/// Nothing at all is heard for so long only if nothing will ever be.
const QUIET: Duration = Duration::from_secs(30);

/// A watcher that takes orders.
struct Slot {
    pid: Pid,
    life: Life,
    generation: u64,
    orders: u64,
}

pub(crate) struct Stage {
    plan: Plan,
    next: u64,
    slots: Vec<Slot>,
    /// All watchers that have not ended, also those that are about to, by the judge's monitor.
    watchers: BTreeMap<MonitorRef, (Pid, Act)>,
    /// Processes whose end the judge has not been told.
    subjects: BTreeMap<MonitorRef, u64>,
    /// Watchers that have not said that all is said.
    unsettled: Vec<Pid>,
    pub(crate) judge: Judge,
}

impl Stage {
    pub(crate) fn new(plan: Plan) -> anyhow::Result<Stage> {
        let mut stage = Stage {
            plan,
            next: 0,
            slots: Vec::new(),
            watchers: BTreeMap::new(),
            subjects: BTreeMap::new(),
            unsettled: Vec::new(),
            judge: Judge::new(self_pid().to_string()),
        };
        for slot in 0..SLOTS {
            let slot = stage.enlist(slot, 0)?;
            stage.slots.push(slot);
        }
        Ok(stage)
    }

    /// Lets all of the plan happen, `window` processes at a time.
    pub(crate) fn play(&mut self, window: usize) -> anyhow::Result<()> {
        loop {
            while self.next < self.plan.count && self.judge.open.len() < window {
                self.launch(self.next)?;
                self.next += 1;
            }
            if self.judge.open.is_empty() {
                break;
            }
            match receive_any_timeout(QUIET)? {
                Some(message) => self.take(&message)?,
                None => self.give_up()?,
            }
        }
        // What comes now comes twice.
        self.settle()
    }

    /// Ends the watchers that are left.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        for slot in std::mem::take(&mut self.slots) {
            self.doom(slot.pid, slot.life.act)?;
        }
        while !self.watchers.is_empty() {
            let message = receive_any_timeout(QUIET)?;
            self.take(&message.context("a watcher that was to die has not ended")?)?;
        }
        ask_the_system()?;
        while let Some(message) = receive_any_timeout(Duration::ZERO)? {
            self.take(&message)?;
        }
        Ok(())
    }

    fn enlist(&mut self, slot: usize, generation: u64) -> anyhow::Result<Slot> {
        let life = self.plan.watcher(slot, generation);
        let (pid, monitor) = spawn_monitor(watcher, (self_pid(),))?;
        self.watchers.insert(monitor, (pid, life.act));
        Ok(Slot {
            pid,
            life,
            generation,
            orders: 0,
        })
    }

    fn launch(&mut self, index: u64) -> anyhow::Result<()> {
        let planned = self.plan.subject(index);
        let act = planned.act;
        let mut tell = vec![self_pid()];
        tell.extend(
            planned
                .watches
                .iter()
                .map(|watch| self.slots[watch.slot].pid),
        );
        let (pid, monitor) =
            spawn_monitor(subject, (act, tell)).with_context(|| format!("spawn of {act:?}"))?;
        self.subjects.insert(monitor, index);
        self.judge.open(act, pid);
        if act.when == When::AtOnce && act.way.is_from_outside() {
            strike(pid, act)?;
        }
        for watch in planned.watches {
            self.order_to_watch(watch.slot, index, pid, watch.monitors)?;
        }
        self.release(index)
    }

    fn order_to_watch(
        &mut self,
        at: usize,
        index: u64,
        pid: Pid,
        monitors: u8,
    ) -> anyhow::Result<()> {
        let watcher = self.slots[at].pid;
        self.judge.expect(index, watcher, monitors);
        let case = self.judge.open.get(&index);
        let order = Order::Watch {
            index,
            pid,
            monitors,
            answer: case.is_some_and(|case| case.waits_for_watchers()),
        };
        send(watcher, order).context("an order to a watcher that lives")?;

        let slot = &mut self.slots[at];
        slot.orders += 1;
        if slot.orders < slot.life.orders {
            return Ok(());
        }
        // At once, whatever it is doing, and whatever of its orders it has not seen.
        let (act, next) = (slot.life.act, slot.generation + 1);
        self.doom(watcher, act)?;
        self.slots[at] = self.enlist(at, next)?;
        Ok(())
    }

    fn doom(&self, watcher: Pid, act: Act) -> anyhow::Result<()> {
        if act.way.is_from_outside() {
            strike(watcher, act)
        } else {
            Ok(send(watcher, Order::Die(act))?)
        }
    }

    /// Gives a process what it waits for, if all who are to watch it do.
    fn release(&mut self, index: u64) -> anyhow::Result<()> {
        let Some(case) = self.judge.open.get_mut(&index) else {
            return Ok(());
        };
        let When::After(messages) = case.act.when else {
            return Ok(());
        };
        if !case.is_ready() {
            return Ok(());
        }
        case.is_released = true;
        for _ in 0..messages {
            send(case.pid, Go).with_context(|| format!("{:?} before its end", case.act))?;
        }
        if case.act.way.is_from_outside() {
            strike(case.pid, case.act)?;
        }
        Ok(())
    }

    fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        let from = message.from;
        if let Ok(down) = message.decode::<Down>() {
            return self.take_down(&down);
        }
        if let Ok(Said { index, number }) = message.decode() {
            self.judge.hear(index, number);
            let case = self.judge.open.get_mut(&index);
            if let Some(case) = case.filter(|case| case.has_said_enough()) {
                case.is_released = true;
                strike(case.pid, case.act)?;
            }
            return Ok(());
        }
        match message.decode()? {
            Word::Watching { index } => {
                if let Some(case) = self.judge.open.get_mut(&index) {
                    case.awaited.remove(&from);
                }
                self.release(index)?;
            }
            Word::Seen {
                index,
                nth,
                told,
                heard,
            } => self.judge.seen(from, index, nth, &told, heard),
            Word::Late { index } => self.judge.early(NOBODY, index, &format!("watcher {from}")),
            Word::Settled => self.unsettled.retain(|watcher| *watcher != from),
        }
        Ok(())
    }

    fn take_down(&mut self, down: &Down) -> anyhow::Result<()> {
        let told = Told::of(down);
        if let Some((watcher, act)) = self.watchers.remove(&down.monitor) {
            self.judge.watcher_ended(&act, &told);
            self.judge.lose(watcher);
            self.unsettled.retain(|unsettled| *unsettled != watcher);
            let open: Vec<u64> = self.judge.open.keys().copied().collect();
            return open.into_iter().try_for_each(|index| self.release(index));
        }
        match self.subjects.remove(&down.monitor) {
            Some(index) => self.judge.own(index, &told),
            None => self.judge.doubled(NOBODY, down.to_string()),
        }
        Ok(())
    }

    /// Hears all that there is to hear: each watcher says so after it, and before that asks the coordinator, which answers
    /// after whatever it had to tell.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.unsettled = self.slots.iter().map(|slot| slot.pid).collect();
        for watcher in &self.unsettled {
            send(*watcher, Order::Settle)?;
        }
        while !self.unsettled.is_empty() {
            let message = receive_any_timeout(QUIET)?;
            let left = self.unsettled.len();
            self.take(&message.with_context(|| format!("{left} watchers do not answer"))?)?;
        }
        Ok(())
    }

    /// Nothing is heard, and something is due: it is missing.
    fn give_up(&mut self) -> anyhow::Result<()> {
        self.settle()?;
        ask_the_system()?;
        while let Some(message) = receive_any_timeout(Duration::ZERO)? {
            self.take(&message)?;
        }
        for pid in self.judge.give_up() {
            // Perhaps it lives: then its death is missing, and not only the word of it.
            let _ = kill(pid);
        }
        Ok(())
    }
}

/// Kills a process that waits for it.
fn strike(pid: Pid, act: Act) -> anyhow::Result<()> {
    if act.way == Way::KilledBySystem {
        return kill(pid).with_context(|| format!("kill of {act:?}"));
    }
    let os_pid = os_pid(pid).with_context(|| format!("the OS pid of {act:?}"))?;
    let os_pid = os_pid.to_rustix().context("no pid")?;
    let signals: &[Signal] = match act.way {
        Way::KilledFromOutside => &[Signal::KILL],
        Way::Terminated => &[Signal::TERM],
        Way::Stopped => &[Signal::STOP, Signal::KILL],
        _ => &[],
    };
    ensure!(!signals.is_empty(), "{act:?} does not come from outside");
    for signal in signals {
        kill_process(os_pid, *signal).with_context(|| format!("{signal:?} for {act:?}"))?;
    }
    Ok(())
}
