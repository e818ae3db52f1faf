//! What yeshup is asked to do.

use std::ffi::CString;
use std::time::Duration;

use crate::tree::GRACE;

pub(super) const HELP: &str = "\
Usage: yeshup [--grace TIME] [--report] [--] COMMAND [ARGUMENT...]

Runs COMMAND. When it ends, or when the process that started yeshup or any part of yeshup
ends in whatever way, nothing that COMMAND has started is left.

  --grace TIME  how long COMMAND may take to end after SIGTERM, before all is killed:
                500ms, 5s, 2m (default 5s); with 0s it has no time to, and is killed right
                after SIGTERM
  --report      say in a line on stderr how it ended, what it used, what it left behind
  --help        this text
  --version     the version

Signals are passed on to COMMAND. A SIGTERM begins the grace period, and so does the end of
the process that started yeshup, which is told COMMAND as SIGTERM.

The exit code is that of COMMAND; 128+N if signal N ended it; 127 if there is no such
command, 126 if it cannot be executed, 125 if yeshup itself failed.
";

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Help,
    Version,
    Run(Options),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) grace: Duration,
    pub(super) report: bool,
    /// The program and its arguments: one at least.
    pub(super) command: Vec<CString>,
}

impl Options {
    /// The program, as it was asked for.
    pub(super) fn path(&self) -> String {
        let path = self.command.first().map(|path| path.to_string_lossy());
        path.unwrap_or_default().into_owned()
    }

    /// What it is called: the last part of its path.
    pub(super) fn name(&self) -> String {
        let path = self.path();
        path.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// Reads the arguments, without `argv[0]`.
pub(super) fn parse(arguments: impl Iterator<Item = CString>) -> Result<Asked, String> {
    let mut arguments = arguments.peekable();
    let (mut grace, mut report) = (GRACE, false);
    // The options end at the first that is none: what follows is the program's.
    while let Some(option) = arguments.next_if(|argument| argument.to_bytes().starts_with(b"-")) {
        let option = option.to_string_lossy();
        match option.as_ref() {
            "--" => break,
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--report" => report = true,
            "--grace" => {
                let text = arguments.next().ok_or("--grace needs a time, such as 5s")?;
                grace = time(&text.to_string_lossy())?;
            }
            other => match other.strip_prefix("--grace=") {
                Some(text) => grace = time(text)?,
                None => return Err(format!("unknown option {other:?}")),
            },
        }
    }
    let command: Vec<_> = arguments.collect();
    if command.is_empty() {
        return Err("which command?".to_owned());
    }
    Ok(Asked::Run(Options {
        grace,
        report,
        command,
    }))
}

/// `5s`, `500ms`, `2m`; parts of a second as in `1.5s`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 500ms, 5s or 2m, and this is {text:?}");
    let unit = text.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit.ok_or_else(wrong)?);
    let one = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * one).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Asked, String> {
        let words = text.split_whitespace();
        parse(words.map(|word| CString::new(word).unwrap()))
    }

    fn options(text: &str) -> (Duration, bool, Vec<String>) {
        let Ok(Asked::Run(options)) = parsed(text) else {
            panic!("{:?}", parsed(text))
        };
        let command = options.command.iter();
        let command = command.map(|word| word.to_string_lossy().into_owned());
        (options.grace, options.report, command.collect())
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let five = Duration::from_secs(5);
        let of = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (text, grace, report, command) in [
            ("make -j 4", five, false, &["make", "-j", "4"][..]),
            ("-- make", five, false, &["make"]),
            ("--report make --report", five, true, &["make", "--report"]),
            ("-- --grace", five, false, &["--grace"]),
            (
                "--grace 0s x -- y",
                Duration::ZERO,
                false,
                &["x", "--", "y"],
            ),
            (
                "--grace=2m --report x",
                Duration::from_secs(120),
                true,
                &["x"],
            ),
        ] {
            assert_eq!(options(text), (grace, report, of(command)), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_says_so() {
        for (text, part) in [
            ("", "which command?"),
            ("--report --", "which command?"),
            ("--grace", "needs a time"),
            ("--wrong x", "\"--wrong\""),
            ("-x", "\"-x\""),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(parsed("--help x"), Ok(Asked::Help));
        assert_eq!(parsed("--version"), Ok(Asked::Version));
    }

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "5x",
            "1.2.3s",
            "1e3s",
            "99999999999999999999h",
        ] {
            let error = time(text).unwrap_err();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
