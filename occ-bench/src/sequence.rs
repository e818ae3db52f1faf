//! The messages of one sender to one receiver, by their numbers: what came of it that was sent, and how.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What is wrong with messages that came, or did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// It came, and was not as it was sent.
    pub(crate) torn: u64,
    /// It was sent, as its sender was told, and did not come.
    pub(crate) lost: u64,
    /// It came, and had come.
    pub(crate) doubled: u64,
    /// It came after one that was sent later.
    pub(crate) out_of_order: u64,
    /// It came, and was not sent; or not to this receiver, or after the end of its sender was told.
    pub(crate) stray: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Faults) {
        self.torn += other.torn;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.stray += other.stray;
    }

    pub(crate) fn sum(self) -> u64 {
        self.torn + self.lost + self.doubled + self.out_of_order + self.stray
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Faults {
            torn,
            lost,
            doubled,
            out_of_order,
            stray,
        } = self;
        write!(
            f,
            "{torn} torn, {lost} lost, {doubled} doubled, {out_of_order} out of order, {stray} that nobody sent"
        )
    }
}

/// What has come of messages that are numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// One more than the highest that came.
    next: u64,
    /// What lies below that and has not come.
    gaps: Vec<Range<u64>>,
    faults: Faults,
}

impl Sequence {
    /// A message came; `is_whole` if all of it is as it was sent. Of one that is not, the number may be wrong as well.
    pub(crate) fn take(&mut self, number: u64, is_whole: bool) {
        if !is_whole {
            self.faults.torn += 1;
        } else if number >= self.next {
            if number > self.next {
                self.gaps.push(self.next..number);
            }
            self.next = number.saturating_add(1);
        } else if let Some(at) = self.gaps.iter().position(|gap| gap.contains(&number)) {
            self.faults.out_of_order += 1;
            let gap = self.gaps.swap_remove(at);
            let parts = [gap.start..number, number + 1..gap.end];
            self.gaps
                .extend(parts.into_iter().filter(|part| !part.is_empty()));
        } else {
            self.faults.doubled += 1;
        }
    }

    /// No more will come. So many were sent, as their sender knows; so many more may have been, of which it does not.
    pub(crate) fn end(mut self, sent: u64, more: u64) -> Faults {
        let until = |end: u64| end.min(sent);
        let in_gaps = self.gaps.iter();
        let in_gaps: u64 = in_gaps
            .map(|gap| until(gap.end).saturating_sub(gap.start))
            .sum();
        self.faults.lost += in_gaps + sent.saturating_sub(self.next);
        let most = sent.saturating_add(more);
        self.faults.stray += self.next.saturating_sub(most);
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(numbers: &[u64], sent: u64, one_more: bool) -> [u64; 5] {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.take(*number, true);
        }
        let all = sequence.end(sent, u64::from(one_more));
        [all.torn, all.lost, all.doubled, all.out_of_order, all.stray]
    }

    #[test]
    fn what_came_is_compared_with_what_was_sent() {
        for (numbers, sent, one_more, expected) in [
            (&[][..], 0, false, [0; 5]),
            (&[0, 1, 2], 3, false, [0; 5]),
            // The one that was under way may have come or not.
            (&[0, 1, 2], 2, true, [0; 5]),
            (&[0, 1], 2, true, [0; 5]),
            (&[], 0, true, [0; 5]),
            // Lost: the first, one in the middle, the last, all.
            (&[1, 2], 3, true, [0, 1, 0, 0, 0]),
            (&[0, 3], 4, true, [0, 2, 0, 0, 0]),
            (&[0, 1], 3, true, [0, 1, 0, 0, 0]),
            (&[], 7, true, [0, 7, 0, 0, 0]),
            // Of those that are missing the last was not known as sent.
            (&[0, 3], 3, true, [0, 2, 0, 0, 0]),
            // Doubled: at once, later, and one that was late before.
            (&[0, 0, 1], 2, true, [0, 0, 1, 0, 0]),
            (&[0, 1, 0], 2, true, [0, 0, 1, 0, 0]),
            (&[1, 0, 0], 2, true, [0, 0, 1, 1, 0]),
            // Out of order, and not lost.
            (&[0, 2, 1, 3], 4, false, [0, 0, 0, 1, 0]),
            (&[3, 1, 0, 2], 4, false, [0, 0, 0, 3, 0]),
            // Of what nobody sent.
            (&[0, 1, 2], 2, false, [0, 0, 0, 0, 1]),
            (&[0, 1, 2, 3], 2, true, [0, 0, 0, 0, 1]),
            (&[u64::MAX], 0, true, [0, 0, 0, 0, u64::MAX - 1]),
        ] {
            let seen = faults(numbers, sent, one_more);
            assert_eq!(seen, expected, "{numbers:?} of {sent}");
        }
    }

    /// As several of them were sent at a time, by as many.
    #[test]
    fn more_than_one_may_have_been_under_way() {
        for (count, stray) in [(2, 0), (3, 0), (4, 0), (5, 1)] {
            let mut sequence = Sequence::default();
            (0..count).for_each(|number| sequence.take(number, true));
            assert_eq!(sequence.end(2, 2).sum(), stray, "{count}");
        }
    }

    #[test]
    fn one_that_is_torn_did_not_come() {
        let mut sequence = Sequence::default();
        sequence.take(0, true);
        sequence.take(1, false);
        let faults = sequence.end(2, 0);
        let expected = Faults {
            torn: 1,
            lost: 1,
            ..Faults::default()
        };
        assert_eq!(faults, expected);
        assert_eq!(faults.sum(), 2);
    }
}
