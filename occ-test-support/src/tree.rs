//! Who is there: processes by descent and by mark, as /proc tells.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::dead::Watch;
use crate::stat::Stat;

const KEY: &str = "OCC_TOKEN";

/// The children of `pid`, zombies included, in no order.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    parents()
        .into_iter()
        .filter(|(_, parent)| *parent == pid)
        .map(|(child, _)| child)
        .collect()
}

/// The children of `pid`, their children, and so on; zombies included, parents first.
#[must_use]
pub fn descendants(pid: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = Vec::new();
    let mut generation = vec![pid];
    while !generation.is_empty() {
        generation = parents
            .iter()
            .filter(|(_, parent)| generation.contains(parent))
            .map(|(child, _)| *child)
            .collect();
        found.extend(&generation);
    }
    found
}

/// `pid` with its state and command line, for messages.
#[must_use]
pub fn describe(pid: u32) -> String {
    let Some(Stat { name, state, .. }) = Stat::of(pid) else {
        return format!("process {pid} (gone)");
    };
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line)
        .trim_end_matches('\0')
        .replace('\0', " ");
    format!("process {pid} ({name}, state {state}): {line}")
}

/// The living processes other than this one whose environment at their start had `key` set to `value`.
///
/// A child inherits it unless it is started with another environment, so it marks a test's whole tree,
/// however far a process strays. Processes of other users are not seen, nor one whose main thread has ended
/// while others run on.
#[must_use]
pub fn with_env(key: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{key}={value}");
    pids()
        .filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            environment(*pid)
                .split(|byte| *byte == 0)
                .any(|entry| entry == wanted.as_bytes())
        })
        .collect()
}

/// The environment that a process was started with; empty if it has ended, or is another user's.
fn environment(pid: u32) -> Vec<u8> {
    let path = format!("/proc/{pid}/environ");
    let mut mismatches = 0;
    // In the middle of an exec a process shows no environment for some microseconds, and reading the one it
    // had before may stop half-way. Nothing tells when that is over, so look again until the program has
    // started and what was read is as long as the kernel says.
    loop {
        let Ok(environment) = fs::read(&path) else {
            return Vec::new();
        };
        let Some(stat) = Stat::of(pid) else {
            return Vec::new();
        };
        if stat.has_no_memory_for_good() {
            return environment;
        }
        if stat.has_started() {
            // The bound is for programs that play tricks with their own environment.
            mismatches += 1;
            if stat.environment_size() == Some(environment.len()) || mismatches == 1000 {
                return environment;
            }
        }
        std::thread::yield_now();
    }
}

/// A unique mark for everything that a test starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(OsString);

impl Token {
    /// A mark that no other process carries yet.
    #[must_use]
    pub fn new() -> Token {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Token(format!("{}-{count}-{}", std::process::id(), time.as_nanos()).into())
    }

    /// The mark that this process carries itself, as every body of [`isolated`](crate::isolated()) does: it
    /// finds what the test started in any way.
    ///
    /// # Panics
    ///
    /// If it carries none.
    #[must_use]
    #[track_caller]
    pub fn own() -> Token {
        Token(std::env::var_os(KEY).expect("this process was started with a mark"))
    }

    /// Marks what `command` starts, and everything below it.
    pub fn mark(&self, command: &mut Command) {
        command.env(KEY, &self.0);
    }

    /// The living processes that carry the mark, without this one.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        with_env(KEY, &self.0.to_string_lossy())
    }

    /// Waits until no living process but this one carries the mark.
    ///
    /// # Panics
    ///
    /// If any still does after `limit`.
    #[track_caller]
    pub fn wait_none_left(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        // Twice: a process forked by one that we had not come to yet may have a number that we had passed
        // already.
        let mut seen_none = 0;
        while seen_none < 2 {
            let left = self.processes();
            let Some(any) = left.first() else {
                seen_none += 1;
                continue;
            };
            seen_none = 0;
            // All of them must end, so any one will do to wait for.
            if !Watch::of(*any).ends_by(deadline) {
                let left: Vec<_> = left.into_iter().map(describe).collect();
                panic!("still there after {limit:?}:\n{}", left.join("\n"));
            }
        }
    }
}

impl Default for Token {
    fn default() -> Token {
        Token::new()
    }
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| {
            String::from_utf8(entry.ok()?.file_name().into_vec())
                .ok()?
                .parse()
                .ok()
        })
}

/// Every process with its parent.
fn parents() -> BTreeMap<u32, u32> {
    pids()
        .filter_map(|pid| Some((pid, Stat::of(pid)?.parent)))
        .collect()
}
