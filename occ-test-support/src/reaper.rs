//! The process above an isolated test: takes its orphans, and says what it left.

use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use rustix::process::{
    getpid, kill_process, pidfd_open, pidfd_send_signal, set_child_subreaper, wait,
};

use crate::dead::{Watch, os_pid};
use crate::deadline::say;
use crate::{stress, tree};

/// How long the body may take; multiplied by `OCC_STRESS`.
const LIMIT: Duration = Duration::from_secs(300);

/// How long an orphan may take to end by itself: its killer may just have died.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `body` as a child subreaper and returns when it and all its descendants are gone.
///
/// # Panics
///
/// If the body did not end with success in time, or a descendant outlived it.
#[expect(
    clippy::zombie_processes,
    reason = "reap_until_end waits for all children, this one too"
)]
pub(crate) fn run(mut body: Command) {
    set_child_subreaper(Some(getpid())).expect("PR_SET_CHILD_SUBREAPER");
    let limit = LIMIT.saturating_mul(u32::try_from(stress::factor()).unwrap_or(u32::MAX));
    let limit = from_environment("OCC_BODY_LIMIT_MS").unwrap_or(limit);
    let grace = from_environment("OCC_GRACE_MS").unwrap_or(GRACE);

    let child = body.spawn().expect("spawn of the test's body");
    let status = reap_until_end(&child, limit);

    // Where the body failed, what it left is no news.
    let failed = !(status.exited() && status.exit_status() == Some(0));
    let left = if failed {
        Vec::new()
    } else {
        wait_for_orphans(grace)
    };
    kill_what_is_left();

    assert!(!failed, "the body ended with {status:?}");
    assert!(
        left.is_empty(),
        "still there {grace:?} after the test:\n{}",
        left.join("\n")
    );
}

/// Another time, for the tests that run out of it.
fn from_environment(key: &str) -> Option<Duration> {
    let text = std::env::var(key).ok()?;
    Some(Duration::from_millis(
        text.parse().expect("a number of milliseconds"),
    ))
}

/// Reaps everything until `child` ends; kills it if that takes longer than `limit`.
fn reap_until_end(child: &Child, limit: Duration) -> WaitStatus {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd of our child");
    let (ended, watched) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                let tree = described_descendants().join("\n");
                say(&format!(
                    "the body did not end within {limit:?} and is killed:\n{tree}\n"
                ));
                // By pidfd: it may end, and be reaped, while we talk.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        });
        let _ended = ended;
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((reaped, status))) if reaped == pid => return status,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => panic!("waiting for the test's body: {error}"),
            }
        }
    })
}

/// Reaps until there is no child; what still lives after `grace` is described.
fn wait_for_orphans(grace: Duration) -> Vec<String> {
    let deadline = Instant::now() + grace;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Err(Errno::CHILD) => return Vec::new(),
            Err(error) => panic!("waiting for orphans: {error}"),
            Ok(None) => {}
        }
        // All children live, and all must end, so any one will do to wait for.
        let Some(any) = tree::children(std::process::id()).pop() else {
            continue;
        };
        if !Watch::of(any).ends_by(deadline) {
            return described_descendants();
        }
    }
}

/// Ends and reaps every descendant.
fn kill_what_is_left() {
    loop {
        // Only our own children, whose numbers nobody can have reused; theirs become ours, and are next.
        for child in tree::children(std::process::id()) {
            let _ = kill_process(os_pid(child), Signal::KILL);
        }
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn described_descendants() -> Vec<String> {
    let all = tree::descendants(std::process::id());
    all.into_iter().map(tree::describe).collect()
}
