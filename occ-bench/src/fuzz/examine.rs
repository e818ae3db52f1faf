//! One input after the other put to a target, and what is found.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::target::Target;
use super::traffic::{Traffic, print};
use crate::random::Random;
use crate::sys::SharedNumbers;

/// What came of inputs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) inputs: u64,
    /// In how many ways they were taken or refused.
    pub(crate) ways: BTreeSet<String>,
    pub(crate) finding: Option<Finding>,
}

/// An input that did what none may do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    /// The input, as a file of the corpus.
    pub(crate) input: String,
}

/// Inputs that a seed makes of a corpus.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) target: Target,
    pub(crate) seed: u64,
    pub(crate) number: u64,
    /// So many, from this one on.
    pub(crate) first: u64,
    pub(crate) inputs: u64,
}

impl Batch {
    /// One of them, the same whoever asks.
    pub(crate) fn input(self, corpus: &[Traffic], number: u64) -> Traffic {
        let numbers = Random::new(self.seed, self.number).skip(number).next();
        self.target.input(corpus, &mut Random::new(numbers, 0))
    }

    /// Puts all of them to `target`, up to the first that finds something: says `Err`, or panics. Which one is under way stands in
    /// `progress`, for when this process does not live to tell.
    pub(crate) fn put(
        self,
        corpus: &[Traffic],
        progress: &SharedNumbers,
        mut target: impl FnMut(&Traffic) -> Result<String, String>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for number in self.first..self.first + self.inputs {
            progress.at(0).store(number, Ordering::Release);
            let traffic = self.input(corpus, number);
            let result = catch_unwind(AssertUnwindSafe(|| target(&traffic)));
            outcome.inputs += 1;
            let what = match result {
                Ok(Ok(way)) => {
                    outcome.ways.insert(way);
                    continue;
                }
                Ok(Err(what)) => what,
                Err(panic) => format!("panicked: {}", words(panic.as_ref())),
            };
            outcome.finding = Some(Finding {
                what,
                input: print(&traffic),
            });
            break;
        }
        outcome
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref().copied())
        .unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::traffic::{Symbols, parse};

    fn put(target: impl FnMut(&Traffic) -> Result<String, String>) -> (Outcome, u64) {
        let batch = Batch {
            target: Target::Decoders,
            seed: 1,
            number: 2,
            first: 0,
            inputs: 100,
        };
        let corpus = [parse("frame 0 @string : 0568656c6c6f", &Symbols::new()).unwrap()];
        let progress = SharedNumbers::new(1).unwrap();
        let outcome = batch.put(&corpus, &progress, target);
        let reached = progress.at(0).load(Ordering::Acquire);
        // What is told is what it was.
        if let Some(finding) = &outcome.finding {
            assert_eq!(finding.input, print(&batch.input(&corpus, reached)));
        }
        (outcome, reached)
    }

    #[test]
    fn what_is_taken_or_refused_is_no_finding() {
        let (outcome, reached) = put(|traffic| Ok(traffic.is_empty().to_string()));
        assert!(outcome.finding.is_none(), "{outcome:?}");
        assert_eq!((outcome.inputs, reached), (100, 99));
        assert!(!outcome.ways.is_empty());
    }

    #[test]
    fn a_panic_and_an_objection_are_found_with_their_input() {
        let mut left = 10;
        let (outcome, reached) = put(|_| {
            left -= 1;
            assert!(left > 0, "the tenth");
            Ok(String::new())
        });
        let finding = outcome.finding.unwrap();
        assert_eq!((outcome.inputs, reached), (10, 9));
        assert!(finding.what.contains("panicked: the tenth"), "{finding:?}");
        let (outcome, _) = put(|_| Err("too much".to_owned()));
        assert_eq!(outcome.finding.unwrap().what, "too much");
    }
}
