//! Prints what `find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum` prints, byte for byte, with
//! the work spread over processes:
//!
//! ```text
//! cargo run --release --example hash_tree -- DIR [-j N] [--chaos SEED]
//! ```
//!
//! One process, the boss, lists the files and hands them out, one by one, to N workers; a worker gets the next when
//! it is done with one. When a worker ends before that, for whatever reason, the boss is told, another
//! worker is made, and the file is somebody else's. `--chaos` shows it: workers are killed while they hold a file, and the
//! output is the same.
//!
//! - `walk` lists the files, `boss` has them hashed, and `worker` is what a worker does.
//! - `queue` knows who holds what, and `chaos` who is to be killed.
//! - `line` writes a line as sha256sum does, and `summary` tells how it went.

mod boss;
mod chaos;
mod line;
mod options;
mod queue;
mod summary;
mod walk;
mod worker;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use occasional::{ExitReason, RunError};

use crate::boss::Plan;
use crate::options::{Command, Options};
use crate::summary::Summary;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Hash(options)) => options,
        Ok(Command::Help) => return help(),
        Err(mistake) => {
            say(format!("{mistake}\n{}", options::USAGE).as_bytes());
            return ExitCode::from(2);
        }
    };
    match occasional::run(hash_tree, (options,)) {
        Ok(Some(summary)) => {
            for line in summary.lines() {
                say(&line);
            }
            if summary.is_complete() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        // Whoever read our output has had enough of it.
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            say(in_one_line(error).as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// The boss: the first process of the system. It gives no summary if nobody reads the output.
fn hash_tree(options: Options) -> anyhow::Result<Option<Summary>> {
    let listing = walk::list(&options.dir)?;
    let plan = Plan {
        workers: options.workers,
        chaos: options.chaos,
    };
    match boss::hash_all(listing.files, plan, worker::work, output()?) {
        Ok(mut summary) => {
            summary.unreadable.splice(0..0, listing.unreadable);
            Ok(Some(summary))
        }
        Err(error) if nobody_reads(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Standard output without the buffer of `std::io::stdout`, which would look for the end of each line.
fn output() -> anyhow::Result<impl Write> {
    let stdout = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .context(boss::OUTPUT)?;
    Ok(BufWriter::new(File::from(stdout)))
}

fn nobody_reads(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// What went wrong, without a word about processes if one of ours just returned an error.
fn in_one_line(error: RunError) -> String {
    match error {
        RunError::Ended {
            reason: ExitReason::Error(failure),
            ..
        } => failure.to_string(),
        error => format!("{:#}", anyhow::Error::new(error)),
    }
}

fn help() -> ExitCode {
    match writeln!(io::stdout(), "{}\n\n{}", options::USAGE, options::HELP) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says it on stderr. There is nobody to tell if that does not work.
fn say(line: &[u8]) {
    let _ = io::stderr().write_all(&[b"hash_tree: ", line, b"\n"].concat());
}
