//! The boss: it makes workers, gives them files, prints what they answer in order, and hears of their end.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use occasional::{
    Down, Message, MonitorRef, Pid, SendError, SpawnError, SystemError, kill, receive, receive_any,
    receive_any_timeout, self_pid, send, spawn_monitor,
};

use super::chaos::Chaos;
use super::line;
use super::queue::{DEATHS, Queue};
use super::summary::{End, Summary, Unreadable};
use super::worker::{Done, Holding, Job, Order, Outcome};

/// What is said of an error that comes from the output.
pub(crate) const OUTPUT: &str = "cannot write the output";

/// When nothing has happened for so long, whoever watches gets to see what there is.
const PAUSE: Duration = Duration::from_millis(100);

/// How the work is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Workers at a time.
    pub(crate) workers: usize,
    /// Kill some of them: the seed that says which.
    pub(crate) chaos: Option<u64>,
}

/// Hashes all `files` in processes that run `function`, and writes a line for each to `out`, in this order.
///
/// The calling process must belong to a system. An error is one of ours, or of `out`: a file that cannot be read and a
/// worker that dies are told in the summary.
pub(crate) fn hash_all<W, O>(
    files: Vec<Vec<u8>>,
    plan: Plan,
    function: W,
    out: O,
) -> anyhow::Result<Summary>
where
    W: Fn(Pid) -> anyhow::Result<u64> + Copy + 'static,
    O: Write,
{
    let chaos = plan
        .chaos
        .map_or_else(Chaos::default, |seed| Chaos::new(seed, files.len()));
    let mut boss = Boss {
        queue: Queue::new(files.len(), plan.workers, chaos),
        summary: Summary {
            files: files.len(),
            ..Summary::default()
        },
        files,
        function,
        early: BTreeMap::new(),
        printed: 0,
        out,
        alive: 0,
    };
    match boss.work() {
        Ok(()) => {
            boss.dismiss()?;
            Ok(boss.summary)
        }
        Err(error) => {
            // Workers would end with us; but the system reports every bad end that nobody waits for, and some may
            // have been killed a moment ago. If it is the system that is down, this comes to nothing.
            let _ = boss.kill_all();
            Err(error)
        }
    }
}

struct Boss<W, O> {
    files: Vec<Vec<u8>>,
    queue: Queue,
    /// The function that a worker runs.
    function: W,
    /// Answers that came before those that are to be printed first.
    early: BTreeMap<usize, Outcome>,
    printed: usize,
    out: O,
    /// Workers whose end we have not heard of.
    alive: usize,
    summary: Summary,
}

impl<W, O> Boss<W, O>
where
    W: Fn(Pid) -> anyhow::Result<u64> + Copy + 'static,
    O: Write,
{
    /// Does everything there is to do, and leaves the workers idle.
    fn work(&mut self) -> anyhow::Result<()> {
        while !self.queue.is_done() {
            self.hire()?;
            self.hand_out()?;
            self.hear()?;
            self.print()?;
        }
        self.out.flush().context(OUTPUT)
    }

    /// Makes as many workers as there is work for.
    fn hire(&mut self) -> anyhow::Result<()> {
        while self.queue.wants_worker() {
            match self.make_worker() {
                Ok((worker, _)) => {
                    self.alive += 1;
                    self.queue.add_worker(worker);
                }
                Err(error) => self.go_on_with_fewer(error.into())?,
            }
        }
        Ok(())
    }

    /// Is content with the workers that there are, if there are any.
    fn go_on_with_fewer(&mut self, why: anyhow::Error) -> anyhow::Result<()> {
        if self.queue.workers().len() == 0 {
            return Err(why.context("there can be no worker"));
        }
        self.queue.no_more_workers();
        self.summary.too_few_workers = Some(format!("{why:#}"));
        Ok(())
    }

    fn make_worker(&self) -> Result<(Pid, MonitorRef), SpawnError> {
        spawn_monitor(self.function, (self_pid(),))
    }

    /// Gives a file to every worker that has room for one.
    fn hand_out(&mut self) -> anyhow::Result<()> {
        while let Some((worker, number, hold)) = self.queue.hand_out() {
            let path = self.files[number].clone();
            self.tell(worker, Order::Hash(Job { number, path, hold }))?;
        }
        Ok(())
    }

    /// Sends an order to a worker.
    fn tell(&mut self, worker: Pid, order: Order) -> anyhow::Result<()> {
        match send(worker, order) {
            // It may be dead: then we are about to hear of that, and others get its files.
            Ok(()) | Err(SendError::NoProcess { .. }) => Ok(()),
            // It lives, and cannot hear us.
            Err(error @ (SendError::NoInbox { .. } | SendError::TooManyPeers { .. })) => {
                end(worker)?;
                self.queue.forget(worker);
                self.go_on_with_fewer(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the next thing that happens.
    fn hear(&mut self) -> anyhow::Result<()> {
        let message = self.next_message()?;
        if message.is::<Down>() {
            self.ended(&message.decode()?);
        } else if message.is::<Holding>() {
            if end(message.from)? {
                self.queue.killed(message.from);
            }
        } else {
            let Done { number, outcome } = message.decode()?;
            if self.queue.done(message.from, number) {
                self.early.insert(number, outcome);
            }
        }
        Ok(())
    }

    fn next_message(&mut self) -> anyhow::Result<Message> {
        if let Some(message) = receive_any_timeout(PAUSE)? {
            return Ok(message);
        }
        self.out.flush().context(OUTPUT)?;
        Ok(receive_any()?)
    }

    fn ended(&mut self, down: &Down) {
        self.alive -= 1;
        *self
            .summary
            .ends
            .entry(End::from(&down.reason))
            .or_default() += 1;
        if let Some(number) = self.queue.ended(down.pid) {
            let why = format!(
                "{DEATHS} workers ended over it, and the last one {}",
                down.reason
            );
            self.early.insert(number, Err(why));
        }
    }

    /// Prints what is known, up to the first file that is not.
    fn print(&mut self) -> anyhow::Result<()> {
        while let Some(outcome) = self.early.remove(&self.printed) {
            let path = std::mem::take(&mut self.files[self.printed]);
            self.printed += 1;
            match outcome {
                Ok(digest) => line::write(&mut self.out, &digest, &path).context(OUTPUT)?,
                Err(reason) => self.summary.unreadable.push(Unreadable { path, reason }),
            }
        }
        Ok(())
    }

    /// Tells the workers that there is no more to do, and waits until they have ended.
    fn dismiss(&mut self) -> anyhow::Result<()> {
        for worker in self.queue.workers().collect::<Vec<_>>() {
            self.tell(worker, Order::Stop)?;
        }
        while self.alive > 0 {
            self.hear()?;
        }
        Ok(())
    }

    /// Kills the workers, whatever they are at, and waits until they have ended.
    fn kill_all(&mut self) -> anyhow::Result<()> {
        for worker in self.queue.workers() {
            end(worker)?;
        }
        while self.alive > 0 {
            self.ended(&receive()?);
        }
        Ok(())
    }
}

/// Kills a worker, unless it is dead already.
fn end(worker: Pid) -> anyhow::Result<bool> {
    match kill(worker) {
        Ok(()) => Ok(true),
        Err(SystemError::NoProcess { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
