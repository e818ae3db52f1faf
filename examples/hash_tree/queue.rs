//! Who holds what: the files that wait for a worker, the workers, and what each of them has been given.
//!
//! It only keeps the books. It starts no process and sends nothing, so everything that can happen to a worker is
//! a test without one.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;

use occasional::Pid;

use super::chaos::Chaos;
use super::worker::Moment;

/// Jobs that a worker is given at a time: one to do, and one to go on with while its answer travels.
const AHEAD: usize = 2;

/// Workers that may die of a file before it is given up.
pub(crate) const DEATHS: usize = 3;

/// The state of the work. Files are known by number.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Never handed out.
    fresh: Range<usize>,
    /// Handed out to workers that died.
    returned: BTreeSet<usize>,
    /// Not done, and not given up.
    open: usize,
    workers: BTreeMap<Pid, Worker>,
    /// How many workers there may be.
    most: usize,
    /// How many workers died of a file, where any did.
    deaths: HashMap<usize, usize>,
    chaos: Chaos,
}

#[derive(Debug, Default)]
struct Worker {
    /// What it was given, in the order in which it does it.
    jobs: VecDeque<Held>,
    /// We have killed it, while it held the first of its jobs.
    killed: bool,
}

#[derive(Debug)]
struct Held {
    number: usize,
    hold: Option<Moment>,
}

impl Queue {
    /// So many files to do, and no worker yet, but at most so many at a time.
    pub(crate) fn new(files: usize, most: usize, chaos: Chaos) -> Queue {
        Queue {
            fresh: 0..files,
            returned: BTreeSet::new(),
            open: files,
            workers: BTreeMap::new(),
            most,
            deaths: HashMap::new(),
            chaos,
        }
    }

    /// Every file is done, or given up.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// There is work for one more worker.
    pub(crate) fn wants_worker(&self) -> bool {
        let idle = self
            .workers
            .values()
            .filter(|worker| worker.jobs.is_empty())
            .count();
        self.workers.len() < self.most && self.waiting() > idle
    }

    /// A worker has been made.
    pub(crate) fn add_worker(&mut self, worker: Pid) {
        self.workers.insert(worker, Worker::default());
    }

    /// There can be no more workers than there are now.
    pub(crate) fn no_more_workers(&mut self) {
        self.most = self.workers.len();
    }

    /// The workers that have not ended.
    pub(crate) fn workers(&self) -> impl ExactSizeIterator<Item = Pid> {
        self.workers.keys().copied()
    }

    /// The next file to hand out, to whom, and when that one is to be killed over it.
    pub(crate) fn hand_out(&mut self) -> Option<(Pid, usize, Option<Moment>)> {
        // Near the end nobody takes a second job that another could do at once.
        let most = if self.waiting() > self.workers.len() {
            AHEAD
        } else {
            1
        };
        let (pid, worker) = self
            .workers
            .iter_mut()
            .filter(|(_, worker)| worker.jobs.len() < most && !worker.killed)
            .min_by_key(|(_, worker)| worker.jobs.len())?;
        // What came back is the oldest, and the output waits for it.
        let number = self.returned.pop_first().or_else(|| self.fresh.next())?;
        let hold = self.chaos.take(number);
        worker.jobs.push_back(Held { number, hold });
        Some((*pid, number, hold))
    }

    /// A worker is done with a file. False if it was not, or not any more, the one to do it.
    pub(crate) fn done(&mut self, worker: Pid, number: usize) -> bool {
        let Some(worker) = self.workers.get_mut(&worker) else {
            return false;
        };
        let Some(at) = worker.jobs.iter().position(|held| held.number == number) else {
            return false;
        };
        worker.jobs.remove(at);
        self.open -= 1;
        true
    }

    /// We have killed a worker, over the first of its jobs.
    pub(crate) fn killed(&mut self, worker: Pid) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.killed = true;
        }
    }

    /// A worker has ended. What it held is to be done by others, except for a file that has cost too many
    /// workers their lives: that one is given up, and given back.
    pub(crate) fn ended(&mut self, worker: Pid) -> Option<usize> {
        let mut worker = self.workers.remove(&worker)?;
        // Jobs are done in order, and what a worker has answered was received before its end was. So the first is
        // the one that it was at, and the others it has not looked at.
        let first = worker.jobs.pop_front();
        self.take_back(worker.jobs);
        let mut first = first?;
        if worker.killed {
            first.hold = None;
        } else if self.one_more_death(first.number) {
            self.open -= 1;
            return Some(first.number);
        }
        self.take_back([first]);
        None
    }

    /// A worker is to be counted on no more, for reasons that none of its files has anything to do with.
    pub(crate) fn forget(&mut self, worker: Pid) {
        if let Some(worker) = self.workers.remove(&worker) {
            self.take_back(worker.jobs);
        }
    }

    /// These are for others, and so are the kills that were to come with them.
    fn take_back(&mut self, jobs: impl IntoIterator<Item = Held>) {
        for Held { number, hold } in jobs {
            self.returned.insert(number);
            if let Some(moment) = hold {
                self.chaos.put_back(number, moment);
            }
        }
    }

    /// Counts it, and says whether it was one too many.
    fn one_more_death(&mut self, number: usize) -> bool {
        let deaths = self.deaths.entry(number).or_default();
        *deaths += 1;
        *deaths >= DEATHS
    }

    fn waiting(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }
}
