//! `fuzz SECONDS SEED`: valid traffic, made invalid by chance, put to whoever reads what others send.
//!
//! - [`traffic`] is what is sent, and how it is written down; [`corpus`] reads the files of it, [`mutate`] changes it.
//! - [`target`]: [`frames`] are the decoders, [`peer`] is an inbox, [`streams`] are byte streams, with inputs that [`cuts`] makes;
//!   [`control`] is the coordinator. Each batch is a process of its own, so that what kills it is a finding as well. [`examine`] puts the
//!   inputs to all but the last, and tells which it was.
//!
//! An input is made of the seed, the number of its batch and its own number, and of nothing else: what is found is found again.

mod control;
mod corpus;
mod cuts;
mod examine;
mod frames;
mod mutate;
mod nothing;
mod peer;
mod streams;
mod target;
mod traffic;
mod types;
mod watchdog;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use occ_proc::Stat;
use occasional::{Down, ExitReason, OsPid, Pid, System, SystemBuilder};
use occasional::{processes, receive_timeout, self_pid, spawn_monitor};

use crate::killing::until_asleep;
use crate::left::{Before, fds_more_than};
use crate::machine::{open_fds, pss};
use crate::sys::SharedNumbers;
use corpus::Names;
use examine::{Batch, Finding, Outcome};
use target::Target;
use traffic::print;
use watchdog::Watchdog;

/// Whatever takes longer has stopped.
const LIMIT: Duration = Duration::from_secs(60);

/// KiB that the coordinator may grow by, whatever it is told.
const GROWTH: u64 = 4 * 1024;

/// Batches after which the coordinator is as large as it usually is.
const WARM: u64 = 3;

pub(crate) fn run(seconds: u64, seed: u64) -> anyhow::Result<()> {
    let before = Before::now()?;
    let mut fuzz = Fuzz::new(seed)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        fuzz.round()?;
    }
    fuzz.finish()?;
    before.nothing_is_left()
}

/// Inputs, and the ways in which they were taken or refused.
#[derive(Default)]
struct Sum {
    inputs: u64,
    ways: BTreeSet<String>,
}

struct Fuzz {
    seed: u64,
    /// Rounds that have been.
    rounds: u64,
    system: Option<System>,
    coordinator: OsPid,
    /// What the coordinator had when it was warm: memory in KiB, descriptors.
    usual: Option<(u64, usize)>,
    /// Who was who where the coordinator was told something last.
    names: Option<Names>,
    /// The number of the input that is under way, in memory that outlives whoever it kills.
    progress: SharedNumbers,
    watchdog: Arc<Watchdog>,
    decoders: Sum,
    peer: Sum,
    streams: Sum,
    /// Inputs for the coordinator, and its answers and news.
    control: u64,
    answers: u64,
}

impl Fuzz {
    fn new(seed: u64) -> anyhow::Result<Fuzz> {
        let watchdog = Watchdog::start(LIMIT)?;
        watchdog.step("the start of a system");
        let system = start()?;
        let coordinator = system.coordinator().context("no coordinator")?;
        Ok(Fuzz {
            seed,
            rounds: 0,
            system: Some(system),
            coordinator,
            usual: None,
            names: None,
            progress: SharedNumbers::new(1)?,
            watchdog,
            decoders: Sum::default(),
            peer: Sum::default(),
            streams: Sum::default(),
            control: 0,
            answers: 0,
        })
    }

    fn round(&mut self) -> anyhow::Result<()> {
        let outcome = self.examine(Target::Decoders)?;
        self.decoders.add(outcome);
        let outcome = self.examine(Target::Peer)?;
        self.peer.add(outcome);
        let outcome = self.examine(Target::Streams)?;
        self.streams.add(outcome);
        self.talk()?;
        self.rounds += 1;
        Ok(())
    }

    /// A batch of the same number has other inputs for each target.
    fn batch(&self, target: Target) -> Batch {
        Batch {
            target,
            seed: self.seed,
            number: self.rounds * Target::ALL.len() as u64 + target as u64,
            first: 0,
            inputs: target.inputs(),
        }
    }

    fn step(&self, what: &str, batch: Batch) {
        let Batch { seed, number, .. } = batch;
        self.watchdog
            .step(&format!("{what}, seed {seed}, batch {number}"));
    }

    /// A batch for any but the coordinator.
    fn examine(&mut self, target: Target) -> anyhow::Result<Outcome> {
        let batch = self.batch(target);
        self.step(&target.to_string(), batch);
        let host = self_pid();
        let args = (batch, host, self.progress.path());
        let (pid, _) = spawn_monitor(examine_one_by_one, args)?;
        let names = Names { me: pid, host };
        let down = self.end_of(pid)?;
        let finding = match down.as_ref().map(|down| &down.reason) {
            Some(ExitReason::Value(value)) => {
                let outcome: Outcome = value.get()?;
                match outcome.finding {
                    None => return Ok(outcome),
                    Some(finding) => finding,
                }
            }
            // It did not live to tell.
            Some(reason) => self.last_input(batch, names, &reason.to_string())?,
            None => self.last_input(batch, names, "it does not end")?,
        };
        self.found(batch, &finding)
    }

    /// A batch for the coordinator.
    fn talk(&mut self) -> anyhow::Result<()> {
        let batch = self.batch(Target::Control);
        self.step("control", batch);
        match self.tell(batch) {
            Ok(answers) => {
                self.control += batch.inputs;
                self.answers += answers;
                Ok(())
            }
            Err(error) => {
                let finding = self.isolate(batch, &error)?;
                self.found(batch, &finding)
            }
        }
    }

    /// Lets a process of its own say it, and sees how the coordinator is afterwards. Gives the number of its answers.
    fn tell(&mut self, batch: Batch) -> anyhow::Result<u64> {
        let host = self_pid();
        let (pid, _) = spawn_monitor(control::babble, (batch, host, self.progress.path()))?;
        self.names = Some(Names { me: pid, host });
        self.check_coordinator(pid, batch.inputs)
    }

    /// Looks for the one input of a batch that does it, each alone in a system that is new.
    fn isolate(&mut self, batch: Batch, error: &anyhow::Error) -> anyhow::Result<Finding> {
        self.restart()?;
        for number in 0..batch.inputs {
            let alone = Batch {
                first: number,
                inputs: 1,
                ..batch
            };
            self.step("one input for control", alone);
            if let Err(alone) = self.tell(alone) {
                let what = format!("{error:#}; input {number} alone: {alone:#}");
                return self.written(batch, number, what);
            }
        }
        let last = batch.inputs.saturating_sub(1);
        self.written(
            batch,
            last,
            format!("{error:#}; no input does it alone, and this is the last"),
        )
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(system) = self.system.take() {
            system.stop();
        }
        let system = start()?;
        self.coordinator = system.coordinator().context("no coordinator")?;
        self.system = Some(system);
        // The first input there sets the measure for the others.
        (self.usual, self.rounds) = (None, WARM);
        Ok(())
    }

    fn written(&self, batch: Batch, number: u64, what: String) -> anyhow::Result<Finding> {
        let names = self.names.context("nobody has said anything")?;
        let corpus = batch.target.corpus(names)?;
        let input = print(&batch.input(&corpus, number));
        Ok(Finding { what, input })
    }

    /// Waits for the end of one that talked to the coordinator, and sees how that one is.
    fn check_coordinator(&mut self, pid: Pid, inputs: u64) -> anyhow::Result<u64> {
        let down = self.end_of(pid)?;
        let down = down.context("the end of the one who talked is not told")?;
        let answers = match &down.reason {
            ExitReason::Value(value) => {
                // The last word counts, and that is its own.
                let (said, answers) = value.get::<(u64, u64)>()?;
                ensure!(said == inputs, "it ended as {down}");
                answers
            }
            // It may have asked for that.
            ExitReason::Signal(signal)
                if [libc::SIGKILL, libc::SIGTERM].contains(&signal.number()) =>
            {
                0
            }
            _ => bail!("it ended as {down}"),
        };
        // Whoever it has made ends as well.
        while processes()?.len() > 1 {
            rustix::thread::sched_yield();
        }
        let (works, _) = spawn_monitor(answer, (self.rounds,))?;
        let down = self
            .end_of(works)?
            .context("a process is not told as ended")?;
        match &down.reason {
            ExitReason::Value(value) if value.get::<u64>()? == self.rounds => {}
            _ => bail!("after it, another ended as {down}"),
        }
        until_asleep(self.coordinator.get())?;

        let memory = pss(self.coordinator)?;
        if self.rounds < WARM || self.usual.is_none() {
            self.usual = Some((memory, open_fds(self.coordinator)?));
        }
        if let Some((usual, fds)) = self.usual {
            ensure!(
                memory <= usual + GROWTH,
                "the coordinator has grown from {usual} KiB to {memory}"
            );
            let more = fds_more_than(fds, self.coordinator)?;
            ensure!(
                more == 0,
                "the coordinator has {more} descriptors open more than {fds}"
            );
        }
        Ok(answers)
    }

    /// The end of a process; `None` if it is not told in time.
    fn end_of(&self, pid: Pid) -> anyhow::Result<Option<Down>> {
        let down: Option<Down> = receive_timeout(LIMIT / 2)?;
        if let Some(down) = down.as_ref().filter(|down| down.pid != pid) {
            bail!("an end that nobody waited for: {down}");
        }
        Ok(down)
    }

    /// The input that was under way.
    fn last_input(&self, batch: Batch, names: Names, what: &str) -> anyhow::Result<Finding> {
        let number = self.progress.at(0).load(Ordering::Acquire);
        let corpus = batch.target.corpus(names)?;
        Ok(Finding {
            what: format!("{what}; the last input was number {number}"),
            input: print(&batch.input(&corpus, number)),
        })
    }

    fn found<T>(&self, batch: Batch, finding: &Finding) -> anyhow::Result<T> {
        let Batch {
            target,
            seed,
            number,
            ..
        } = batch;
        let mut out = io::stdout();
        writeln!(
            out,
            "fuzz: FOUND with the seed {seed} in batch {number}, of {target}: {}",
            finding.what
        )?;
        writeln!(
            out,
            "fuzz: the input, as a file of the corpus:\n{}",
            finding.input
        )?;
        bail!("something was found")
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.watchdog.step("the stop of the system");
        if let Some(system) = self.system.take() {
            system.stop();
        }
        ensure!(
            Stat::of(self.coordinator).is_err(),
            "the coordinator outlives its system"
        );
        self.watchdog.end();
        let mut out = io::stdout();
        for (target, sum) in [
            (Target::Decoders, &self.decoders),
            (Target::Peer, &self.peer),
            (Target::Streams, &self.streams),
        ] {
            let (inputs, ways) = (sum.inputs, sum.ways.len());
            writeln!(
                out,
                "fuzz: {target}: {inputs} inputs, taken or refused in {ways} ways; nothing found"
            )?;
        }
        let (inputs, answers) = (self.control, self.answers);
        writeln!(
            out,
            "fuzz: control: {inputs} inputs, and {answers} answers and news; nothing found"
        )?;
        Ok(())
    }
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.inputs += outcome.inputs;
        self.ways.extend(outcome.ways);
    }
}

/// What processes of chance end like is of no interest to anybody.
fn start() -> anyhow::Result<System> {
    let builder = SystemBuilder::new().on_abnormal_exit(|_| ());
    Ok(occasional::start_with(builder)?)
}

/// A process that puts a batch to any target but the coordinator.
fn examine_one_by_one(batch: Batch, host: Pid, progress: String) -> anyhow::Result<Outcome> {
    let names = Names {
        me: self_pid(),
        host,
    };
    let corpus = batch.target.corpus(names)?;
    let progress = SharedNumbers::at_path(&progress, 1)?;
    let examine = batch.target.examine().context("nothing to be examined")?;
    Ok(batch.put(&corpus, &progress, examine))
}

fn answer(number: u64) -> u64 {
    number
}
