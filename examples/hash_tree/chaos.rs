//! Which files cost a worker its life, and when: the same ones for the same seed.

use std::collections::HashMap;

use super::worker::Moment;

/// Workers that are killed at least, and files for each one that is.
const AT_LEAST: usize = 10;
const FILES_EACH: usize = 50;

/// The kills that are still to come, by file.
#[derive(Debug, Default)]
pub(crate) struct Chaos {
    kills: HashMap<usize, Vec<Moment>>,
}

impl Chaos {
    /// Kills for this many files, at random. Where there are few of them, one may cost many workers.
    pub(crate) fn new(seed: u64, files: usize) -> Chaos {
        let mut chaos = Chaos::default();
        if files == 0 {
            return chaos;
        }
        let mut random = SplitMix(seed);
        for _ in 0..AT_LEAST.max(files.div_ceil(FILES_EACH)) {
            let number = random.below(files);
            let moment = match random.below(2) {
                0 => Moment::BeforeHashing,
                _ => Moment::BeforeAnswering,
            };
            chaos.put_back(number, moment);
        }
        chaos
    }

    /// When the worker that is now given this file is to be killed, if it is.
    pub(crate) fn take(&mut self, number: usize) -> Option<Moment> {
        self.kills.get_mut(&number)?.pop()
    }

    /// That worker died before it came to it, so another has to.
    pub(crate) fn put_back(&mut self, number: usize, moment: Moment) {
        self.kills.entry(number).or_default().push(moment);
    }
}

/// A generator of random numbers that fits in three lines: splitmix64.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, as good as evenly distributed for limits as small as these.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
