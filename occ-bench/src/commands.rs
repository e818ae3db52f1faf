//! The commands: what takes a number, and fails if something is not as it should be.

use std::os::unix::process::CommandExt;
use std::process::Command as Program;
use std::str::FromStr;

use anyhow::Context;

use crate::{backtrace, chaos, fuzz, hold, mesh, teardown, torture};

/// For people.
pub(crate) const LIST: &str = "  \
  hold N                         N idle processes under a limit of 20,000 open files: what each weighs, and what
                                 one too many is told
  teardown N                     SIGKILL of the coordinator of N processes, until nothing is left; beside as many
                                 that are killed directly
  chaos N SEED [--under-way W]   N processes die in all ways at all times, and so do those who watch them: whoever
                                 was told wrongly, twice or not at all; W of them at a time (200)
  backtrace N                    N processes of a kind end with a backtrace, and without: what it costs them, and who
                                 reads it
  mesh N                         N processes send to each other, all of them before they receive, and then ten times as
                                 many to one: whatever was torn, lost, doubled, or came out of its order
  torture SEED [--messages N]    senders of messages of all lengths are killed at random instants, until N messages have come
                                 (10,000,000): whatever was torn, doubled, or lost that a sender was told is sent
  fuzz SECONDS SEED              valid traffic, made invalid by chance, for the decoders, for an inbox and for the coordinator:
                                 whatever panics, hangs, takes memory on the word of a length, or leaves something";

/// Asked for by a word and its numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Hold {
        processes: usize,
    },
    Teardown {
        processes: usize,
    },
    Chaos {
        count: u64,
        seed: u64,
        under_way: usize,
    },
    Backtrace {
        processes: usize,
    },
    Mesh {
        processes: usize,
    },
    Torture {
        seed: u64,
        messages: u64,
    },
    Fuzz {
        seconds: u64,
        seed: u64,
    },
}

impl Command {
    /// `None` if the first word is the name of no command.
    pub(crate) fn parse(words: &[&str]) -> Option<Result<Command, String>> {
        let (name, rest) = words.split_first()?;
        match *name {
            "hold" => Some(one("hold N", rest).map(|processes| Command::Hold { processes })),
            "teardown" => {
                Some(one("teardown N", rest).map(|processes| Command::Teardown { processes }))
            }
            "chaos" => Some(chaos_of(rest)),
            "backtrace" => {
                Some(one("backtrace N", rest).map(|processes| Command::Backtrace { processes }))
            }
            "mesh" => Some(one("mesh N", rest).map(|processes| Command::Mesh { processes })),
            "torture" => Some(torture_of(rest)),
            "fuzz" => Some(fuzz_of(rest)),
            _ => None,
        }
    }

    pub(crate) fn run(&self, quick: bool) -> anyhow::Result<()> {
        without_backtraces()?;
        match *self {
            Command::Hold { processes } => hold::run(processes, quick),
            Command::Teardown { processes } => teardown::run(processes, quick),
            Command::Chaos {
                count,
                seed,
                under_way,
            } => chaos::run(count, seed, under_way),
            Command::Backtrace { processes } => backtrace::run(processes, quick),
            Command::Mesh { processes } => mesh::run(processes),
            Command::Torture { seed, messages } => torture::run(seed, messages),
            Command::Fuzz { seconds, seed } => fuzz::run(seconds, seed),
        }
    }
}

fn one(usage: &str, words: &[&str]) -> Result<usize, String> {
    match words {
        [number] => at_least_one(number),
        _ => Err(format!(
            "`{usage}` takes one number, and not {}",
            words.len()
        )),
    }
}

fn chaos_of(words: &[&str]) -> Result<Command, String> {
    let (numbers, under_way) = match words {
        [numbers @ .., "--under-way", under_way] => (numbers, at_least_one(under_way)?),
        numbers => (numbers, chaos::UNDER_WAY),
    };
    let [count, seed] = numbers else {
        return Err(format!(
            "`chaos N SEED` takes two numbers, and not {}",
            numbers.len()
        ));
    };
    Ok(Command::Chaos {
        count: at_least_one(count)? as u64,
        seed: number(seed)?,
        under_way,
    })
}

fn torture_of(words: &[&str]) -> Result<Command, String> {
    let (numbers, messages) = match words {
        [numbers @ .., "--messages", messages] => (numbers, at_least_one(messages)? as u64),
        numbers => (numbers, torture::MESSAGES),
    };
    let [seed] = numbers else {
        return Err(format!(
            "`torture SEED` takes one number, and not {}",
            numbers.len()
        ));
    };
    Ok(Command::Torture {
        seed: number(seed)?,
        messages,
    })
}

fn fuzz_of(words: &[&str]) -> Result<Command, String> {
    let [seconds, seed] = words else {
        return Err(format!(
            "`fuzz SECONDS SEED` takes two numbers, and not {}",
            words.len()
        ));
    };
    Ok(Command::Fuzz {
        seconds: at_least_one(seconds)? as u64,
        seed: number(seed)?,
    })
}

fn at_least_one(word: &str) -> Result<usize, String> {
    match number(word)? {
        0 => Err("a number of one or more, and not 0, was expected".to_owned()),
        some => Ok(some),
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse()
        .map_err(|_| format!("a number was expected, and not `{word}`"))
}

/// A process that has made one backtrace weighs twice as much, and an error that has one to make takes 50 ms: neither is
/// what is measured here. What is in the environment goes with it to all processes, so this program begins anew without.
fn without_backtraces() -> anyhow::Result<()> {
    const NAMES: [&str; 2] = ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
    if NAMES.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok(());
    }
    let mut args = std::env::args_os();
    let mut again = Program::new("/proc/self/exe");
    again.arg0(args.next().unwrap_or_else(|| "occ-bench".into()));
    again.args(args);
    for name in NAMES {
        again.env_remove(name);
    }
    Err(again.exec()).context("this program cannot be executed again without RUST_BACKTRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_take_numbers() {
        let parse = |line: &str| Command::parse(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(parse("kill_down"), None);
        assert_eq!(
            parse("hold 15000"),
            Some(Ok(Command::Hold { processes: 15_000 }))
        );
        for (line, under_way) in [("chaos 9 42", 200), ("chaos 9 42 --under-way 7", 7)] {
            let expected = Command::Chaos {
                count: 9,
                seed: 42,
                under_way,
            };
            assert_eq!(parse(line), Some(Ok(expected)));
        }
        for (line, seed, messages) in [
            ("torture 0", 0, 10_000_000),
            ("torture 42 --messages 7", 42, 7),
        ] {
            let expected = Command::Torture { seed, messages };
            assert_eq!(parse(line), Some(Ok(expected)));
        }
        assert_eq!(
            parse("fuzz 3 7"),
            Some(Ok(Command::Fuzz {
                seconds: 3,
                seed: 7
            }))
        );
        for (line, told) in [
            ("hold", "one number, and not 0"),
            ("hold 1 2", "one number, and not 2"),
            ("hold many", "not `many`"),
            ("teardown 0", "not 0"),
            ("teardown -1", "not `-1`"),
            ("chaos 5", "two numbers, and not 1"),
            ("chaos 5 x", "not `x`"),
            ("chaos 5 1 --under-way", "two numbers, and not 3"),
            ("chaos 5 1 --under-way 0", "not 0"),
            ("fuzz 1", "two numbers, and not 1"),
            ("fuzz 0 1", "not 0"),
            ("torture", "one number, and not 0"),
            ("torture 1 --messages 0", "not 0"),
            ("torture 1 --messages", "one number, and not 2"),
        ] {
            let error = parse(line).unwrap().unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
