//! The command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::thread::available_parallelism;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// How it is used, in one line.
pub(crate) const USAGE: &str = "usage: hash_tree DIR [-j N] [--chaos SEED]";

/// What `--help` adds to that.
pub(crate) const HELP: &str = "\
Prints the SHA-256 of every file in DIR, as sha256sum does, sorted by path.

  -j N          hash in N processes; as many as there are cores if not given
  --chaos SEED  kill at least 10 of them, and one per 50 files, while they hold a file
  --            what follows is DIR, even if it begins with a dash
  --help        print this";

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Hash(Options),
}

/// A tree to hash, and how.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Options {
    /// A path is bytes, and only most of the time text.
    pub(crate) dir: Vec<u8>,
    pub(crate) workers: usize,
    pub(crate) chaos: Option<u64>,
}

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Command> {
    let mut args = args.into_iter();
    let (mut dir, mut workers, mut chaos) = (None, None, None);
    let mut options_end = false;
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--") if !options_end => options_end = true,
            Some("--help" | "-h") if !options_end => return Ok(Command::Help),
            Some("-j") if !options_end => {
                let number: usize = number("-j", args.next())?;
                ensure!(number > 0, "-j 0: at least one process must do the work");
                workers = Some(number);
            }
            Some("--chaos") if !options_end => chaos = Some(number("--chaos", args.next())?),
            _ if !options_end && is_option(&arg) => {
                bail!("{}: no such option", arg.to_string_lossy())
            }
            _ => {
                ensure!(
                    dir.is_none(),
                    "{}: one DIR is enough",
                    arg.to_string_lossy()
                );
                dir = Some(arg.into_vec());
            }
        }
    }
    Ok(Command::Hash(Options {
        dir: dir.context("DIR is missing")?,
        workers: workers.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
        chaos,
    }))
}

/// What follows an option that is followed by a number.
fn number<N: std::str::FromStr>(option: &str, arg: Option<OsString>) -> anyhow::Result<N> {
    let arg = arg.with_context(|| format!("{option}: a number is missing"))?;
    let number = arg.to_str().and_then(|text| text.parse().ok());
    number.with_context(|| format!("{option} {}: not a number that fits", arg.to_string_lossy()))
}

fn is_option(arg: &OsStr) -> bool {
    let arg = arg.as_encoded_bytes();
    arg.starts_with(b"-") && arg != b"-"
}
