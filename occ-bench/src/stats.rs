//! Rounds that take turns, and the medians of what they find.

use crate::meter::Meter;

/// Rounds of which the median is taken.
const ROUNDS: usize = 7;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    quick: bool,
}

impl Scale {
    pub(crate) fn new(quick: bool) -> Scale {
        Scale {
            rounds: if quick { 1 } else { ROUNDS },
            quick,
        }
    }

    /// How often something is done in a round, of which `full` gives a steady figure.
    pub(crate) fn count(self, full: usize) -> usize {
        if self.quick { full.min(3) } else { full }
    }
}

/// Lets each meter measure in turn, round by round, and gives the median of each. A round before them, whose
/// figures are thrown away, brings caches and connections to the state that lasts.
pub(crate) fn interleave<const N: usize>(
    scale: Scale,
    meters: [Meter; N],
) -> anyhow::Result<[f64; N]> {
    let mut figures = [const { Vec::new() }; N];
    for round in 0..=scale.rounds {
        for (meter, figures) in meters.iter().zip(&mut figures) {
            let figure = meter.round()?;
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    for meter in meters {
        meter.end()?;
    }
    Ok(figures.map(median))
}

/// The median of `count` samples.
pub(crate) fn median_of(
    count: usize,
    mut sample: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    let samples: anyhow::Result<Vec<f64>> = (0..count).map(|_| sample()).collect();
    Ok(median(samples?))
}

/// The middle figure; the mean of the two in the middle of an even number; 0 of none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_one() {
        for (figures, expected) in [
            (vec![], 0.0),
            (vec![4.0], 4.0),
            (vec![3.0, 1.0], 2.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![1.0, 100.0, 3.0, 2.0], 2.5),
        ] {
            assert_eq!(median(figures), expected);
        }
    }
}
