//! A test that cannot be done here says so where it is seen.

use std::io::{self, Write};
use std::panic::Location;

const WORD: &str = "SKIPPED";

/// Says on stderr that the calling test is not done, and why. Write it before returning from the test.
///
/// libtest hides what a test that passes prints; this it does not.
#[track_caller]
pub fn skipped(why: &str) {
    let _ = writeln!(io::stderr(), "{WORD}: {}: {why}", Location::caller());
}

/// Passes on what a test in a process of its own has said of that.
pub(crate) fn pass_on(printed: &str) {
    for line in printed.lines().filter(|line| line.starts_with(WORD)) {
        let _ = writeln!(io::stderr(), "{line}");
    }
}
