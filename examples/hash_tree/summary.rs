//! How it went: what could not be read, and how the workers ended.

use std::collections::BTreeMap;
use std::fmt;

use occasional::ExitReason;
use serde::{Deserialize, Serialize};

use super::line::shown;

/// What the boss tells at the end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Files that there were.
    pub(crate) files: usize,
    /// What is missing from the output.
    pub(crate) unreadable: Vec<Unreadable>,
    /// Why there were not as many workers as were asked for.
    pub(crate) too_few_workers: Option<String>,
    /// How many workers ended in which way.
    pub(crate) ends: BTreeMap<End, usize>,
}

/// A file or a directory that is missing from the output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Unreadable {
    pub(crate) path: Vec<u8>,
    pub(crate) reason: String,
}

/// An exit reason, without what differs from one process to the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum End {
    Value,
    Error,
    Panic,
    Code(i32),
    Signal(String),
    NoProcess,
}

impl From<&ExitReason> for End {
    fn from(reason: &ExitReason) -> End {
        match reason {
            ExitReason::Value(_) => End::Value,
            ExitReason::Error(_) => End::Error,
            ExitReason::Panic(_) => End::Panic,
            ExitReason::Code(code) => End::Code(*code),
            ExitReason::Signal(signal) => End::Signal(signal.to_string()),
            ExitReason::NoProcess => End::NoProcess,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Value => f.write_str("value"),
            End::Error => f.write_str("error"),
            End::Panic => f.write_str("panic"),
            End::Code(code) => write!(f, "code {code}"),
            End::Signal(signal) => f.write_str(signal),
            End::NoProcess => f.write_str("no process"),
        }
    }
}

impl Summary {
    /// Nothing is missing from the output.
    pub(crate) fn is_complete(&self) -> bool {
        self.unreadable.is_empty()
    }

    /// What is said on stderr, line by line. Paths are bytes, and so are the lines.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for Unreadable { path, reason } in &self.unreadable {
            lines.push([&shown(path), b": ".as_slice(), reason.as_bytes()].concat());
        }
        if let Some(why) = &self.too_few_workers {
            lines.push(format!("fewer workers than asked for: {why}").into_bytes());
        }
        lines.push(self.closing_line().into_bytes());
        lines
    }

    fn closing_line(&self) -> String {
        let files = count(self.files, "file");
        let workers: usize = self.ends.values().sum();
        if workers == 0 {
            return format!("{files}; no worker was needed, and none was killed");
        }
        let ends: Vec<_> = self
            .ends
            .iter()
            .map(|(end, count)| format!("{count} by {end}"))
            .collect();
        format!(
            "{files}; {} ended: {}",
            count(workers, "worker"),
            ends.join(", ")
        )
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
