//! The queue, without a process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use occasional::Pid;

use super::parts::chaos::Chaos;
use super::parts::queue::{DEATHS, Queue};

fn worker(serial: u64) -> Pid {
    Pid {
        node: 0,
        incarnation: 1,
        serial,
    }
}

/// A queue with these workers, and no kills planned.
fn queue(files: usize, workers: u64) -> Queue {
    let mut queue = Queue::new(files, 100, Chaos::default());
    for serial in 0..workers {
        queue.add_worker(worker(serial));
    }
    queue
}

/// Everything that is handed out now: which file, to whom.
fn handed_out(queue: &mut Queue) -> Vec<(usize, u64)> {
    let next = || {
        queue
            .hand_out()
            .map(|(worker, number, _)| (number, worker.serial))
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_worker_gets_the_next_file_when_it_is_done_with_one() {
    let mut queue = queue(100, 2);
    assert_eq!(handed_out(&mut queue), [(0, 0), (1, 1), (2, 0), (3, 1)]);
    assert_eq!(handed_out(&mut queue), []);
    assert!(queue.done(worker(1), 1));
    assert_eq!(handed_out(&mut queue), [(4, 1)]);
    assert!(queue.done(worker(1), 3));
    assert!(queue.done(worker(1), 4));
    assert_eq!(handed_out(&mut queue), [(5, 1), (6, 1)]);
}

#[test]
fn near_the_end_nobody_takes_two() {
    let mut queue = queue(2, 2);
    assert_eq!(handed_out(&mut queue), [(0, 0), (1, 1)]);
    let mut queue = self::queue(3, 2);
    assert_eq!(handed_out(&mut queue), [(0, 0), (1, 1)]);
    assert!(queue.done(worker(1), 1));
    assert_eq!(handed_out(&mut queue), [(2, 1)]);
}

#[test]
fn what_a_dead_worker_held_goes_to_others_first() {
    let mut queue = queue(100, 2);
    handed_out(&mut queue);
    assert_eq!(queue.ended(worker(0)), None);
    assert!(queue.done(worker(1), 1));
    assert!(queue.done(worker(1), 3));
    assert_eq!(handed_out(&mut queue), [(0, 1), (2, 1)]);
}

#[test]
fn workers_are_wanted_while_there_is_work_for_them() {
    let mut queue = Queue::new(2, 100, Chaos::default());
    for serial in 0..2 {
        assert!(queue.wants_worker());
        queue.add_worker(worker(serial));
    }
    assert!(!queue.wants_worker());

    let mut queue = Queue::new(50, 1, Chaos::default());
    assert!(queue.wants_worker());
    queue.add_worker(worker(0));
    assert!(!queue.wants_worker());
    handed_out(&mut queue);
    queue.ended(worker(0));
    assert!(queue.wants_worker());
    queue.no_more_workers();
    assert!(!queue.wants_worker());
}

#[test]
fn a_file_that_kills_its_workers_is_given_up() {
    let mut queue = queue(2, 0);
    for death in 1..=DEATHS as u64 {
        assert!(!queue.is_done());
        queue.add_worker(worker(death));
        assert_eq!(queue.hand_out(), Some((worker(death), 0, None)));
        let given_up = queue.ended(worker(death));
        assert_eq!(given_up, (death == DEATHS as u64).then_some(0));
    }
    // The other one is none the worse for it.
    queue.add_worker(worker(9));
    assert_eq!(handed_out(&mut queue), [(1, 9)]);
    assert!(!queue.is_done());
    assert!(queue.done(worker(9), 1));
    assert!(queue.is_done());
}

#[test]
fn a_file_is_not_blamed_for_the_deaths_of_workers_that_had_not_come_to_it() {
    let mut queue = queue(10, 0);
    for death in 0..DEATHS as u64 {
        queue.add_worker(worker(death));
        // The file 1 is always the second.
        assert_eq!(handed_out(&mut queue), [(0, death), (1, death)]);
        queue.ended(worker(death));
    }
    queue.add_worker(worker(9));
    assert_eq!(handed_out(&mut queue), [(1, 9), (2, 9)]);
    assert_eq!(queue.ended(worker(9)), None);
}

#[test]
fn what_is_killed_on_purpose_counts_against_no_file() {
    let mut queue = Queue::new(1, 1, Chaos::new(1, 1));
    for serial in 0..10 {
        queue.add_worker(worker(serial));
        assert!(matches!(queue.hand_out(), Some((_, 0, Some(_)))));
        queue.killed(worker(serial));
        assert_eq!(queue.ended(worker(serial)), None);
    }
    queue.add_worker(worker(10));
    assert_eq!(queue.hand_out(), Some((worker(10), 0, None)));
}

#[test]
fn a_kill_that_did_not_come_to_pass_is_still_to_come() {
    let mut queue = Queue::new(1, 1, Chaos::new(1, 1));
    queue.add_worker(worker(0));
    let (_, _, hold) = queue.hand_out().unwrap();
    assert!(hold.is_some());
    // It dies, and not by us.
    assert_eq!(queue.ended(worker(0)), None);
    queue.add_worker(worker(1));
    assert_eq!(queue.hand_out(), Some((worker(1), 0, hold)));
}

#[test]
fn a_worker_that_is_forgotten_leaves_its_files_to_others() {
    let mut queue = Queue::new(1, 2, Chaos::new(1, 1));
    queue.add_worker(worker(0));
    let (_, _, hold) = queue.hand_out().unwrap();
    queue.forget(worker(0));
    // Whatever it still says is not heard.
    assert!(!queue.done(worker(0), 0));
    assert_eq!(queue.ended(worker(0)), None);
    assert!(!queue.is_done());
    queue.add_worker(worker(1));
    assert_eq!(queue.hand_out(), Some((worker(1), 0, hold)));
    assert!(!queue.done(worker(1), 7));
    assert!(queue.done(worker(1), 0));
    assert!(queue.is_done());
}

/// A worker that is imagined: what it was given, in order, and whether it is to be killed over it.
type Imagined = BTreeMap<u64, VecDeque<(usize, bool)>>;

/// Whatever order things happen in, every file is done or given up exactly once, and every kill takes place.
#[test]
fn every_file_is_settled_once_whoever_dies_when() {
    for seed in 1..2000 {
        let mut random = Random(seed);
        let files = random.below(40);
        let most = 1 + random.below(5);
        let mut queue = Queue::new(files, most, Chaos::new(seed, files));
        let mut workers = Imagined::new();
        let (mut serial, mut kills, mut given_up) = (0, 0, 0);
        let mut settled = BTreeSet::new();
        while !queue.is_done() {
            while queue.wants_worker() {
                serial += 1;
                queue.add_worker(worker(serial));
                workers.insert(serial, VecDeque::new());
            }
            while let Some((to, number, hold)) = queue.hand_out() {
                workers
                    .get_mut(&to.serial)
                    .unwrap()
                    .push_back((number, hold.is_some()));
            }
            assert!(workers.len() <= most);
            assert!(workers.values().all(|jobs| jobs.len() <= 2));

            let at = random.below(workers.len());
            let (&who, jobs) = workers.iter_mut().nth(at).unwrap();
            if random.below(100) == 0 {
                queue.forget(worker(who));
                workers.remove(&who);
                continue;
            }
            let ends = match jobs.front() {
                _ if random.below(50) == 0 => true,
                Some((_, true)) => {
                    queue.killed(worker(who));
                    kills += 1;
                    true
                }
                Some((number, false)) => {
                    assert!(queue.done(worker(who), *number));
                    assert!(settled.insert(*number), "{seed}: {number} is done twice");
                    jobs.pop_front();
                    false
                }
                None => false,
            };
            if ends {
                workers.remove(&who);
                if let Some(number) = queue.ended(worker(who)) {
                    assert!(
                        settled.insert(number),
                        "{seed}: {number} is given up, and was done"
                    );
                    given_up += 1;
                }
            }
        }
        assert_eq!(settled, (0..files).collect(), "{seed}");
        // What was to be killed over a file that is given up is lost with it.
        assert!(
            kills == 10 || given_up > 0 || files == 0,
            "{seed}: {kills} kills"
        );
    }
}

/// Enough of a generator for choosing what happens next.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
