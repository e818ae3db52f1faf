//! The state machine against a small model, in random order: whatever processes ask for, and whatever the kernel may
//! do, in every order in which it may.
//!
//! The model knows what the kernel knows (who runs, who has hung up, which pairs are on their way) and what each
//! process is owed: one answer to each wish, one Down for each monitor. A step is a random number; which legal steps
//! there are, the model says.

use std::collections::{BTreeMap, BTreeSet};

use occ_inbox::Standing;
use occ_sck::Packet;
use occ_spawn::OsStatus;
use occ_spawn::entry::kind;
use proptest::prelude::*;

use super::tests::{code, end, signal};
use super::*;
use crate::protocol::{Moment, News, NotSpawned};

const HOST: Serial = 1;
const LIMIT: usize = 6;

/// What the kernel knows of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Ordered; its control socket is open, or has closed and the zygote was asked.
    Ordered,
    Runs,
}

#[derive(Debug)]
struct Known {
    life: Life,
    /// Its control socket has not closed.
    open: bool,
    /// The spawn that it comes from: who asked, under which number, with which monitor.
    asker: (Serial, u64, Option<u64>),
}

#[derive(Debug, Default)]
struct Model {
    processes: BTreeMap<Serial, Known>,
    host_open: bool,
    stopping: bool,
    finished: bool,
    next: Serial,
    next_id: u64,
    /// Monitors that are owed a Down: watcher and number, and of whom.
    monitors: BTreeMap<(Serial, u64), Serial>,
    /// Spawns that are owed a reply, by process.
    spawns: BTreeSet<Serial>,
    /// Wishes for a connection that are owed an answer: who asked, and with whom.
    wishes: BTreeSet<(Serial, Serial)>,
    /// Pairs on their way.
    pairs: BTreeSet<(Serial, Serial)>,
    /// Asked of the kernel.
    examined: BTreeSet<Serial>,
    awaited: BTreeSet<Serial>,
    killed: BTreeSet<Serial>,
}

impl Model {
    fn exists(&self, process: Serial) -> bool {
        process == HOST || self.processes.contains_key(&process)
    }

    /// It can ask for something.
    fn speaks(&self, process: Serial) -> bool {
        match self.processes.get(&process) {
            None => process == HOST && self.host_open,
            Some(known) => known.life == Life::Runs && known.open,
        }
    }

    fn is_open(&self, process: Serial) -> bool {
        self.processes
            .get(&process)
            .map_or(process == HOST && self.host_open, |known| known.open)
    }

    fn runs(&self, process: Serial) -> bool {
        self.processes
            .get(&process)
            .is_some_and(|known| known.life == Life::Runs)
    }

    /// Takes a process out, and what was owed to it.
    fn forget(&mut self, process: Serial) -> Option<Known> {
        self.monitors.retain(|(watcher, _), _| *watcher != process);
        self.wishes.retain(|(asker, _)| *asker != process);
        self.examined.remove(&process);
        self.processes.remove(&process)
    }
}

/// The state machine and its model, side by side.
struct Run {
    state: State,
    model: Model,
}

/// Downs that a step must bring: watcher, number, whose, and whether there was such a process.
type Downs = BTreeSet<(Serial, u64, Serial, bool)>;

impl Run {
    fn new() -> Run {
        let model = Model {
            host_open: true,
            next: HOST + 1,
            next_id: 1,
            ..Model::default()
        };
        Run {
            state: State::new(7, os_pid(HOST), true, LIMIT),
            model,
        }
    }

    fn handle(&mut self, event: Event, mut downs: Downs) {
        let told = format!("{event:?}");
        let mut effects = Vec::new();
        self.state.handle(event, &mut effects);
        for effect in effects {
            self.check(effect, &mut downs, &told);
        }
        assert!(downs.is_empty(), "{told}: nobody told {downs:?}");
        self.check_symmetry();
    }

    /// What is to be done is what is owed.
    fn check(&mut self, effect: Effect, downs: &mut Downs, told: &str) {
        let model = &mut self.model;
        match effect {
            Effect::Launch { process, .. } => {
                assert!(model.processes.contains_key(&process));
                assert!(!model.stopping);
            }
            Effect::AskZygote { process } => {
                assert_eq!(model.processes[&process].life, Life::Ordered);
            }
            Effect::Reply { to, reply } => {
                assert!(model.exists(to), "{told}: a reply to {to}, which has ended");
                if let Reply::Spawned { id, pid } = reply {
                    let known = &model.processes[&pid.serial];
                    assert_eq!((to, id), (known.asker.0, known.asker.1));
                    assert!(model.spawns.remove(&pid.serial), "{told}: spawned twice");
                }
            }
            Effect::Tell { to, news } => {
                assert!(model.exists(to), "{told}: news to {to}, which has ended");
                match news {
                    News::Refused { peer, .. } => {
                        model.wishes.remove(&(to, peer.serial));
                    }
                    News::Gone { peer } => assert!(!model.exists(peer.serial)),
                    other => panic!("{told}: {other:?}"),
                }
            }
            Effect::Down { to, ended, .. } => {
                let down = (to, ended.number, ended.pid.serial, ended.facts.is_some());
                assert!(downs.remove(&down), "{told}: {down:?} is not owed");
            }
            Effect::Connect { a, b } => {
                assert!(model.exists(a) && model.exists(b) && a != b);
                model.pairs.insert((a.min(b), a.max(b)));
            }
            Effect::Remind { to, peer, .. } => {
                // What the loop does: a pair that is on its way is the answer, else there is another.
                if !model.pairs.contains(&(to.min(peer), to.max(peer))) {
                    model.wishes.remove(&(to, peer));
                }
            }
            Effect::AwaitEnd {
                process,
                os_pid: asked,
            } => {
                assert!(
                    model.runs(process),
                    "{told}: {process} is awaited, and does not run"
                );
                assert_eq!(asked, os_pid(process));
                model.awaited.insert(process);
            }
            Effect::Examine {
                process,
                os_pid: asked,
            } => {
                assert!(
                    model.runs(process),
                    "{told}: {process} is examined, and does not run"
                );
                assert_eq!(asked, os_pid(process));
                model.examined.insert(process);
            }
            Effect::Wait { process, .. } => panic!("{told}: {process} has no time to be given"),
            Effect::Signal { os_pid, .. } => {
                let process = Serial::from(os_pid.get() - 1000);
                assert!(
                    model.runs(process),
                    "{told}: {process} is killed, and does not run"
                );
                model.killed.insert(process);
            }
            Effect::Close { process } => {
                // What the loop does: pairs with it can no longer be made.
                assert!(
                    !model.is_open(process),
                    "{told}: {process} is closed, and open"
                );
            }
            Effect::Abnormal { ended, .. } => {
                let process = ended.pid.serial;
                assert!(!model.stopping && !model.exists(process));
            }
            Effect::Finish => {
                assert!(
                    model.stopping && model.processes.is_empty(),
                    "{told}: not the end"
                );
                assert!(!model.finished, "{told}: a second end");
                model.finished = true;
            }
        }
    }

    fn check_symmetry(&self) {
        let processes = &self.state.processes;
        for (serial, process) in processes {
            for (number, target) in &process.watching {
                assert!(processes[target].watchers.contains(&(*serial, *number)));
            }
            for (watcher, number) in &process.watchers {
                assert_eq!(processes[watcher].watching.get(number), Some(serial));
            }
            for peer in &process.peers {
                assert!(processes[peer].peers.contains(serial));
            }
        }
        let ours: Vec<Serial> = processes.keys().copied().filter(|n| *n != HOST).collect();
        let models: Vec<Serial> = self.model.processes.keys().copied().collect();
        assert_eq!(ours, models);
        // A monitor of oneself is kept, and never answered.
        let owed = processes
            .values()
            .map(|process| process.watching.len())
            .sum::<usize>();
        assert_eq!(owed, self.model.monitors.len());
    }

    // ---- what processes do ----

    fn ask(&mut self, by: Serial, request: Request, downs: Downs) {
        self.handle(
            Event::Asked {
                by,
                request,
                blob: None,
                given: Vec::new(),
            },
            downs,
        );
    }

    fn spawn(&mut self, by: Serial, monitor: Option<u64>) {
        let model = &mut self.model;
        let id = model.next_id;
        model.next_id += 1;
        if !model.stopping && model.processes.len() < LIMIT {
            let process = model.next;
            model.next += 1;
            let monitor = monitor.filter(|number| !model.monitors.contains_key(&(by, *number)));
            if let Some(number) = monitor {
                model.monitors.insert((by, number), process);
            }
            model.spawns.insert(process);
            let asker = (by, id, monitor);
            model.processes.insert(
                process,
                Known {
                    life: Life::Ordered,
                    open: true,
                    asker,
                },
            );
        }
        let request = Request::Spawn {
            id,
            monitor,
            wanted: Box::default(),
        };
        self.ask(by, request, Downs::new());
    }

    fn monitor(&mut self, by: Serial, number: u64, target: Serial) {
        let model = &mut self.model;
        let mut downs = Downs::new();
        if model.monitors.contains_key(&(by, number)) {
        } else if model.exists(target) {
            model.monitors.insert((by, number), target);
        } else {
            downs.insert((by, number, target, false));
        }
        let target = self.state.pid(target);
        self.ask(by, Request::Monitor { number, target }, downs);
    }

    fn connect(&mut self, by: Serial, to: Serial, standing: Standing) {
        self.model.wishes.insert((by, to));
        let to = self.state.pid(to);
        self.ask(
            by,
            Request::Connect {
                id: 0,
                to,
                standing,
            },
            Downs::new(),
        );
    }

    // ---- what the kernel does ----

    fn begins(&mut self, process: Serial) {
        if let Some(known) = self.model.processes.get_mut(&process) {
            known.life = Life::Runs;
        }
        let at = Moment::ZERO;
        self.handle(
            Event::Began {
                process,
                os_pid: os_pid(process),
                at,
            },
            Downs::new(),
        );
        // An asker that has ended is not told.
        self.model.spawns.remove(&process);
    }

    fn is_relaunched(&mut self, process: Serial) {
        if let Some(known) = self.model.processes.get_mut(&process) {
            known.open = true;
        }
        self.handle(Event::Relaunched { process }, Downs::new());
    }

    fn is_not_made(&mut self, process: Serial) {
        let Some(known) = self.model.forget(process) else {
            return;
        };
        let mut downs = self.downs_of(process, false);
        if let (asker, _, Some(number)) = known.asker {
            downs.remove(&(asker, number, process, false));
        }
        self.handle(
            Event::NotMade {
                process,
                why: NotSpawned::ZygoteDied,
            },
            downs,
        );
        self.model.spawns.remove(&process);
        self.lose_pairs_of(process);
    }

    fn ends(&mut self, process: Serial, status: OsStatus) {
        self.model.forget(process);
        let downs = self.downs_of(process, true);
        let end = end(status);
        self.handle(Event::Ended { process, end }, downs);
        self.lose_pairs_of(process);
    }

    fn ends_unseen(&mut self, process: Serial) {
        let Some(known) = self.model.forget(process) else {
            return;
        };
        // For the moment between its two halves it runs, in the eyes of the checks.
        let asker = known.asker;
        let downs = self.downs_of(process, true);
        self.model.spawns.remove(&process);
        let mut effects = Vec::new();
        let (os_pid, end) = (os_pid(process), end(signal(9)));
        self.state.handle(
            Event::BeganAndEnded {
                process,
                os_pid,
                end,
            },
            &mut effects,
        );
        if self.model.exists(asker.0) {
            let first = effects.remove(0);
            assert!(
                matches!(first, Effect::Reply { to, reply: Reply::Spawned { id, .. } }
                    if (to, id) == (asker.0, asker.1))
            );
        }
        let mut downs = downs;
        for effect in effects {
            self.check(effect, &mut downs, "began and ended");
        }
        assert!(downs.is_empty());
        self.check_symmetry();
        self.lose_pairs_of(process);
    }

    /// The Downs that the end of a process brings.
    fn downs_of(&mut self, process: Serial, was: bool) -> Downs {
        let monitors = std::mem::take(&mut self.model.monitors);
        let (owed, rest) = monitors
            .into_iter()
            .partition(|(_, target)| *target == process);
        self.model.monitors = rest;
        let owed: BTreeMap<(Serial, u64), Serial> = owed;
        owed.into_keys()
            .map(|(watcher, number)| (watcher, number, process, was))
            .collect()
    }

    fn hangs_up(&mut self, process: Serial) {
        match self.model.processes.get_mut(&process) {
            Some(known) => known.open = false,
            None => {
                self.model.host_open = false;
                self.model.stopping = true;
            }
        }
        // It hears no answer any more.
        self.model.wishes.retain(|(asker, _)| *asker != process);
        self.handle(Event::HungUp { process }, Downs::new());
        self.lose_pairs_of(process);
    }

    /// Nobody who waits for a connection with this one waits in vain.
    fn lose_pairs_of(&mut self, closed: Serial) {
        let lost: Vec<_> = self.model.pairs.iter().copied().collect();
        for (a, b) in lost
            .into_iter()
            .filter(|(a, b)| *a == closed || *b == closed)
        {
            self.model.pairs.remove(&(a, b));
            let other = if a == closed { b } else { a };
            self.handle(Event::NoPair { closed, other }, Downs::new());
        }
        if !self.model.exists(closed) {
            let waits = |(by, to): &(Serial, Serial)| *to == closed && self.model.exists(*by);
            let waiting: Vec<_> = self
                .model
                .wishes
                .iter()
                .filter(|wish| waits(wish))
                .collect();
            assert!(
                waiting.is_empty(),
                "{waiting:?} wait for one that has ended"
            );
        }
    }

    fn pair_is_made(&mut self, (a, b): (Serial, Serial)) {
        self.model.pairs.remove(&(a, b));
        self.model.wishes.remove(&(a, b));
        self.model.wishes.remove(&(b, a));
    }

    fn is_examined(&mut self, process: Serial, exiting: bool) {
        self.model.examined.remove(&process);
        self.handle(Event::Examined { process, exiting }, Downs::new());
        let waits = self.model.wishes.iter().any(|(_, to)| *to == process);
        let asked = !self
            .model
            .pairs
            .iter()
            .any(|(a, b)| *a == process || *b == process);
        assert!(
            exiting || !(waits && asked),
            "somebody waits for {process}, which was examined"
        );
    }

    fn stops(&mut self) {
        self.model.stopping = true;
        self.handle(Event::Stop, Downs::new());
    }

    // ---- random steps ----

    fn step(&mut self, [what, who, whom, number]: [u8; 4]) {
        let pick = |from: &[Serial], by: u8| from.get(usize::from(by) % from.len().max(1)).copied();
        let model = &self.model;
        let all: Vec<Serial> = (1..model.next).chain([model.next, 0]).collect();
        let alive: Vec<Serial> = model.processes.keys().copied().collect();
        let speaking: Vec<Serial> = [HOST]
            .into_iter()
            .chain(alive.clone())
            .filter(|n| model.speaks(*n))
            .collect();
        let number = u64::from(number % 4);
        let (Some(any), Some(one)) = (pick(&all, whom), pick(&alive, whom).or(Some(HOST))) else {
            return;
        };
        let speaker = pick(&speaking, who);
        match (what % 20, speaker) {
            (0..=2, Some(by)) => self.spawn(by, (number > 0).then_some(number)),
            (3..=4, Some(by)) => self.monitor(by, number, any),
            (5, Some(by)) => {
                self.model.monitors.remove(&(by, number));
                self.ask(by, Request::Demonitor { id: 0, number }, Downs::new());
            }
            (6..=8, Some(by)) => {
                let standing = [Standing::New, Standing::Broken, Standing::Missed];
                self.connect(
                    by,
                    any,
                    standing[usize::from(number % 3 == 1) + usize::from(number == 3)],
                );
            }
            (9, Some(by)) => {
                let pid = self.state.pid(any);
                self.ask(by, Request::Kill { id: 0, pid }, Downs::new());
            }
            (10..=18, _) => self.kernel(what % 20, one, number),
            (19, _) if number == 0 => self.stops(),
            (19, _) if number == 1 && self.model.host_open => self.hangs_up(HOST),
            _ => {}
        }
    }

    /// Something happens to this process, if it can.
    fn kernel(&mut self, what: u8, process: Serial, number: u64) {
        let Some(known) = self.model.processes.get(&process) else {
            return;
        };
        let (life, open) = (known.life, known.open);
        match (what, life) {
            (10..=12, Life::Ordered) => self.begins(process),
            (13, Life::Ordered) if open => self.hangs_up(process),
            (13, Life::Ordered) => self.ends_unseen(process),
            (14, Life::Ordered) => self.is_not_made(process),
            (15..=16, Life::Ordered) if !open => self.is_relaunched(process),
            (10, Life::Runs) if open => self.hangs_up(process),
            (11..=12, Life::Runs) => {
                let status = [code(0), code(1), signal(9), code(7)];
                self.ends(process, status[usize::try_from(number).unwrap()]);
            }
            (13, Life::Runs) if open => {
                let report = Packet::of(kind::VALUE, &()).unwrap().into_envelope();
                self.handle(Event::Said { process, report }, Downs::new());
            }
            (15..=16, _) if self.model.examined.contains(&process) => {
                // One that has not closed its socket is not exiting.
                self.is_examined(process, number == 0 && !open);
            }
            (17..=18, _) => {
                let on_its_way = |(a, b): &&(Serial, Serial)| *a == process || *b == process;
                let pair = self.model.pairs.iter().find(on_its_way).copied();
                if let Some(pair) = pair {
                    self.pair_is_made(pair);
                }
            }
            _ => {}
        }
    }

    /// Lets everything end that goes on, and checks that nothing is left.
    fn wind_up(mut self) {
        let examined: Vec<Serial> = self.model.examined.iter().copied().collect();
        for process in examined {
            self.is_examined(process, false);
        }
        while let Some(pair) = self.model.pairs.first().copied() {
            self.pair_is_made(pair);
        }
        self.stops();
        let all: Vec<(Serial, Life)> = self
            .model
            .processes
            .iter()
            .map(|(serial, known)| (*serial, known.life))
            .collect();
        for (process, life) in all {
            if life == Life::Ordered {
                self.begins(process);
            }
            assert!(
                self.model.killed.contains(&process),
                "{process} was not killed"
            );
            self.ends(process, signal(9));
        }
        self.stops();
        assert!(self.model.finished);
        assert_eq!(
            self.state.processes.keys().copied().collect::<Vec<_>>(),
            [HOST]
        );
        let host = &self.state.processes[&HOST];
        assert!(host.peers.is_empty() && host.questions.is_empty());
        // Of all monitors only those of the host of itself are left.
        assert!(host.watching.values().all(|target| *target == HOST));
        assert!(host.watchers.iter().all(|(watcher, _)| *watcher == HOST));
    }
}

fn os_pid(process: Serial) -> OsPid {
    OsPid::new(1000 + u32::try_from(process).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_gets_what_is_owed_whatever_happens(
        steps in prop::collection::vec(any::<[u8; 4]>(), 0..200),
    ) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.wind_up();
    }
}
