//! The test binary as another program.
//!
//! A test that kills a host, or looks at one from outside, needs the host to be a program of its own. It is
//! a test function of the same binary that does nothing unless it was started in its role:
//!
//! ```no_run
//! # use occ_test_support::{role, test_path, dead, LIMIT};
//! #[test]
//! fn role_host() {
//!     if role::is(test_path!()) {
//!         // … what the host does …
//!     }
//! }
//!
//! #[test]
//! fn a_host_ends_well() {
//!     let mut host = role::command("role_host").spawn().expect("spawn");
//!     assert!(dead::how(&mut host, LIMIT).success());
//! }
//! ```
//!
//! libtest writes its own lines to the program's stdout, and the role runs on a thread that is not the main
//! one; it ends with status 101 if the role panics.

use std::os::unix::process::CommandExt;
use std::process::Command;

const KEY: &str = "OCC_ROLE";

/// A command that starts the test binary as the program that the test `path` plays.
///
/// Add environment variables for arguments. Use it inside [`isolated`](crate::isolated()), so that a failing
/// test leaves nothing behind.
#[must_use]
pub fn command(path: &str) -> Command {
    let mut command = this_test(path);
    command.env(KEY, path).env_remove(crate::isolated::KEY);
    command
}

/// Whether this process was started to play the test `path`.
#[must_use]
pub fn is(path: &str) -> bool {
    std::env::var(KEY).is_ok_and(|role| role == path)
}

/// The test binary, running the one test `path`.
pub(crate) fn this_test(path: &str) -> Command {
    // /proc/self/exe is this very image, also if a build has meanwhile replaced the file.
    let mut command = Command::new("/proc/self/exe");
    if let Some(shown) = std::env::args_os().next() {
        command.arg0(shown);
    }
    command.args([
        path,
        "--exact",
        "--include-ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command
}
