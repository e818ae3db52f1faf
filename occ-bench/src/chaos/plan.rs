//! Who dies of what, and when, and who watches: all of it from the seed.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// A way to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Way {
    Value,
    Exit,
    LongValue,
    Error,
    Fail,
    Panic,
    Code,
    RawCode,
    OwnSignal,
    Abort,
    StackOverflow,
    CloseAll,
    LeaveFork,
    Exec,
    KilledBySystem,
    KilledFromOutside,
    Terminated,
    Stopped,
}

/// Its name, and its share: what costs much has little.
pub(crate) const WAYS: [(Way, &str, u64); 18] = [
    (Way::Value, "returns a value", 12),
    (Way::Exit, "exit with a value", 6),
    (Way::LongValue, "returns a long value", 4),
    (Way::Error, "returns an error", 10),
    (Way::Fail, "fail with a value", 6),
    (Way::Panic, "panics", 10),
    (Way::Code, "exit code", 6),
    (Way::RawCode, "_exit", 8),
    (Way::OwnSignal, "signal to itself", 10),
    (Way::Abort, "abort", 4),
    (Way::StackOverflow, "stack overflow", 1),
    (Way::CloseAll, "closes all and ends", 4),
    (Way::LeaveFork, "leaves a fork behind", 3),
    (Way::Exec, "becomes /bin/true", 1),
    (Way::KilledBySystem, "killed by the system", 10),
    (Way::KilledFromOutside, "SIGKILL from outside", 10),
    (Way::Terminated, "SIGTERM from outside", 6),
    (Way::Stopped, "stopped, then killed", 3),
];

/// How a watcher dies. None of them leaves anything, or says that it is gone before it is.
const OF_WATCHERS: [Way; 7] = [
    Way::Value,
    Way::Error,
    Way::Panic,
    Way::RawCode,
    Way::OwnSignal,
    Way::KilledBySystem,
    Way::KilledFromOutside,
];

/// Bytes of a long value. Each goes another way: in the Down or just before it, and in a memory file.
const LENGTHS: [i32; 4] = [3_000, 6_000, 70_000, 300_000];

/// Of a signal to oneself. SIGKILL is among them, of which nobody in the process hears.
const SIGNALS: [i32; 8] = [
    libc::SIGKILL,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGUSR1,
    libc::SIGALRM,
    libc::SIGSEGV,
    libc::SIGXCPU,
];

impl Way {
    pub(crate) fn name(self) -> &'static str {
        WAYS[self as usize].1
    }

    /// The process waits for it, and the judge does it.
    pub(crate) fn is_from_outside(self) -> bool {
        self >= Way::KilledBySystem
    }
}

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum When {
    /// With its first line, or, from outside, at any instant since its spawn has returned.
    AtOnce,
    /// After so many messages, which are sent when all its watchers watch.
    After(u8),
    /// Having sent so many messages to the judge and to its watchers; from outside: in the middle of that.
    Sending(u8),
}

/// What a process is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) index: u64,
    pub(crate) way: Way,
    /// The code, the signal or the length, where the way has one.
    pub(crate) number: i32,
    pub(crate) when: When,
}

/// Who watches: the watcher in this slot, by so many monitors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) slot: usize,
    pub(crate) monitors: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) act: Act,
    pub(crate) watches: Vec<Watch>,
}

/// A watcher dies after so many orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) orders: u64,
    pub(crate) act: Act,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) count: u64,
    pub(crate) seed: u64,
}

/// Watchers at a time.
pub(crate) const SLOTS: usize = 16;

/// Where the streams of watchers begin, behind those of all processes.
const WATCHERS: u64 = 1 << 48;

impl Plan {
    pub(crate) fn subject(self, index: u64) -> Subject {
        let mut random = Random::new(self.seed, index);
        let way = weighted(&mut random);
        let number = number(way, &mut random);
        let when = match random.below(10) {
            0..3 => When::AtOnce,
            3..6 => When::After(1),
            6..8 => When::After(2 + random.below(7) as u8),
            _ => When::Sending(1 + random.below(32) as u8),
        };
        let first = random.below(SLOTS as u64) as usize;
        let watches = (0..1 + random.below(4) as usize)
            .map(|next| Watch {
                // Five has no divisor in common with their number, so no slot comes twice.
                slot: (first + 5 * next) % SLOTS,
                monitors: if random.below(10) == 0 { 2 } else { 1 },
            })
            .collect();
        let act = Act {
            index,
            way,
            number,
            when,
        };
        Subject { act, watches }
    }

    /// The watcher that is the `generation`th in its slot.
    pub(crate) fn watcher(self, slot: usize, generation: u64) -> Life {
        let stream = WATCHERS + generation * SLOTS as u64 + slot as u64;
        let mut random = Random::new(self.seed, stream);
        let way = random.pick(&OF_WATCHERS);
        let number = number(way, &mut random);
        Life {
            orders: 20 + random.below(400),
            act: Act {
                index: stream,
                way,
                number,
                when: When::AtOnce,
            },
        }
    }

    /// A number that two plans have in common if they are the same: FNV-1a of all that is in it.
    pub(crate) fn digest(self) -> u64 {
        let mut digest = 0xcbf2_9ce4_8422_2325_u64;
        let mut text = String::new();
        let mut add = |part: std::fmt::Arguments<'_>| {
            text.clear();
            let _ = text.write_fmt(part);
            for byte in text.bytes() {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for index in 0..self.count {
            add(format_args!("{:?}", self.subject(index)));
        }
        // As many lives as there can be: a watcher lives for 20 orders or more, and a process has one from each slot.
        for generation in 0..=self.count / 20 {
            for slot in 0..SLOTS {
                add(format_args!("{:?}", self.watcher(slot, generation)));
            }
        }
        digest
    }
}

fn weighted(random: &mut Random) -> Way {
    let all = WAYS.iter().map(|(_, _, weight)| weight).sum();
    let mut at = random.below(all);
    for (way, _, weight) in WAYS {
        if at < weight {
            return way;
        }
        at -= weight;
    }
    Way::Value
}

fn number(way: Way, random: &mut Random) -> i32 {
    match way {
        Way::Code | Way::RawCode | Way::CloseAll => random.below(256) as i32,
        Way::OwnSignal => random.pick(&SIGNALS),
        Way::LongValue => random.pick(&LENGTHS),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_ways_is_in_order() {
        for (at, (way, _, _)) in WAYS.into_iter().enumerate() {
            assert_eq!(at, way as usize);
        }
    }

    #[test]
    fn the_same_seed_is_the_same_plan_and_another_is_another() {
        let digest = |count, seed| Plan { count, seed }.digest();
        assert_eq!(digest(300, 7), digest(300, 7));
        assert_ne!(digest(300, 7), digest(300, 8));
        assert_ne!(digest(300, 7), digest(301, 7));
    }

    #[test]
    fn a_plan_has_everything_in_it() {
        let plan = Plan {
            count: 3_000,
            seed: 1,
        };
        let all: Vec<Subject> = (0..plan.count).map(|index| plan.subject(index)).collect();
        let ways: BTreeSet<Way> = all.iter().map(|subject| subject.act.way).collect();
        assert_eq!(ways.len(), WAYS.len());
        let sizes: BTreeSet<usize> = all.iter().map(|subject| subject.watches.len()).collect();
        assert_eq!(sizes, BTreeSet::from([1, 2, 3, 4]));
        for subject in &all {
            let slots: BTreeSet<usize> = subject.watches.iter().map(|watch| watch.slot).collect();
            assert_eq!(slots.len(), subject.watches.len());
        }
        for some in [
            |when| when == When::AtOnce,
            |when| when == When::After(1),
            |when| matches!(when, When::After(2..)),
            |when| matches!(when, When::Sending(_)),
        ] {
            assert!(all.iter().any(|subject| some(subject.act.when)));
        }
    }
}
