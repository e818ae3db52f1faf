//! hash_tree: as a program, whose output is compared with that of sha256sum, and part by part.

mod chaos;
mod lines;
mod options;
mod output;
mod parts;
mod queue;
mod trees;
mod trouble;

use std::ffi::OsStr;
use std::path::Path;

use crate::program::{self, Ran};

/// Runs the program in the directory `at`.
#[track_caller]
fn hash_tree<A: AsRef<OsStr>>(at: &Path, args: impl IntoIterator<Item = A>) -> Ran {
    program::run(program::example("hash_tree").args(args).current_dir(at))
}

/// What the closing line says: files, and how many workers ended in which way.
fn closing_line(ran: &Ran) -> (usize, Vec<(String, usize)>) {
    let line = ran.stderr.lines().last().unwrap_or_default();
    let parsed = || {
        let (files, ends) = line.strip_prefix("hash_tree: ")?.split_once("; ")?;
        let files = files.split_once(" file")?.0.parse().ok()?;
        let (total, ends) = ends.split_once(" ended: ")?;
        let total: usize = total.split_once(" worker")?.0.parse().ok()?;
        let end = |end: &str| {
            let (count, end) = end.split_once(" by ")?;
            Some((end.to_owned(), count.parse().ok()?))
        };
        let ends: Vec<(String, usize)> = ends.split(", ").map(end).collect::<Option<_>>()?;
        assert_eq!(
            ends.iter().map(|(_, count)| count).sum::<usize>(),
            total,
            "{line}"
        );
        Some((files, ends))
    };
    parsed().unwrap_or_else(|| panic!("not a closing line: {line:?} of {:?}", ran.stderr))
}

/// How many workers ended in this way, by the closing line.
fn ended_by(ran: &Ran, end: &str) -> usize {
    let (_, ends) = closing_line(ran);
    ends.iter()
        .find(|(name, _)| name == end)
        .map_or(0, |(_, count)| *count)
}
