//! Numbers that look random and are the same for the same seed: splitmix64, by Sebastiano Vigna.

/// A sequence of numbers.
pub(crate) struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The sequence number `stream` of those that a seed has. Each thing in a plan has a sequence of its own, so what one
    /// takes of it changes nothing for the others.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let seed = Random(seed).next();
        let stream = Random(stream ^ STEP).next();
        Random(seed ^ stream.rotate_left(32))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The sequence without its first so many numbers.
    pub(crate) fn skip(self, numbers: u64) -> Random {
        Random(self.0.wrapping_add(STEP.wrapping_mul(numbers)))
    }

    /// One of `0..end`. That the first are a little more likely does not matter here.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_first_numbers_are_those_of_splitmix64() {
        let mut random = Random(1_234_567);
        let first: [u64; 3] = std::array::from_fn(|_| random.next());
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first, expected);
    }

    #[test]
    fn numbers_can_be_skipped() {
        let mut all = Random::new(1, 2);
        let first: [u64; 5] = std::array::from_fn(|_| all.next());
        for (skipped, expected) in first.into_iter().enumerate() {
            assert_eq!(Random::new(1, 2).skip(skipped as u64).next(), expected);
        }
    }

    #[test]
    fn seeds_and_streams_differ_and_repeat() {
        let first = |seed, stream| Random::new(seed, stream).next();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 1));
        assert_ne!(first(1, 2), first(1, 3));
    }
}
