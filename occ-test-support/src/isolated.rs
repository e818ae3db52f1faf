//! A test in processes of its own, that leaves nothing.
//!
//! ```text
//! cargo test ── the test, as libtest started it: starts a reaper, shows what it printed
//!               └─ reaper   the same binary and test: child subreaper, no user code
//!                  └─ body  the same binary and test: runs the body; fds and children are compared
//! ```
//!
//! Why two processes and not one: a subreaper gets two kinds of dead children, those it made itself and
//! those whose parent died. The first must have been reaped by whoever made them, and a zombie among them is
//! a fault of the tested code. The second are nobody's, and must be reaped by somebody. In one process they
//! could not be told apart. So the body has only children of its own, as an ordinary program has, and must
//! end with ECHILD at once; its orphans land with the reaper, which gives them time to end.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::fds::OpenFds;
use crate::role::this_test;
use crate::tree::{self, Token};
use crate::{reaper, skip, sys};

/// Which test a process is to run, and as what: `reaper:path` or `body:path`.
pub(crate) const KEY: &str = "OCC_ISOLATED";

/// [`isolated`](crate::isolated()) with the name of the enclosing test function.
///
/// ```no_run
/// #[test]
/// fn a_child_is_reaped() {
///     occ_test_support::isolated!(|| {
///         std::process::Command::new("true").status().expect("true runs");
///     });
/// }
/// ```
#[macro_export]
macro_rules! isolated {
    ($body:expr) => {
        $crate::isolated($crate::test_path!(), $body)
    };
}

/// Runs `body` in a re-exec of this test binary and checks that it leaves no process and no fd.
///
/// `test` is the full libtest path of the calling test: the re-exec runs that test, comes here again, and
/// goes on with the body. Nothing before this call should matter. The body's process has no stdin, and
/// carries a mark that what it starts inherits: [`Token::own`].
///
/// # Panics
///
/// - If the body panics, is killed or takes longer than five minutes (times `OCC_STRESS`).
/// - If it has children when it returns, zombies included, or its fds are not as before.
/// - If anything it started, at any depth, still lives ten seconds later.
///
/// What it printed is part of the message.
#[track_caller]
#[doc(alias = "PR_SET_CHILD_SUBREAPER")]
pub fn isolated(test: &str, body: impl FnOnce()) {
    match std::env::var(KEY) {
        Ok(role) if role == format!("reaper:{test}") => reaper::run(body_command(test)),
        Ok(role) if role == format!("body:{test}") => checked(body),
        _ => outside(test),
    }
}

#[track_caller]
#[expect(
    clippy::print_stdout,
    reason = "what the body printed is what this test prints"
)]
fn outside(test: &str) {
    // A file in memory, not a pipe: a process that were left could hold a pipe open, and we would wait.
    let mut output =
        File::from(memfd_create("output of a test", MemfdFlags::CLOEXEC).expect("memfd"));
    let copy = || Stdio::from(output.try_clone().expect("dup"));
    let mut command = this_test(test);
    command
        .env(KEY, format!("reaper:{test}"))
        .stdin(Stdio::null())
        .stdout(copy())
        .stderr(copy());
    sys::die_with_spawner(&mut command);
    let status = command.status().expect("re-exec of the test binary");

    let mut shown = Vec::new();
    output.rewind().expect("seek in memory");
    output.read_to_end(&mut shown).expect("read from memory");
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        status.success(),
        "{test}, isolated, ended with {status}:\n{shown}"
    );
    // libtest succeeds also if no test has this name.
    assert!(
        shown.contains("1 passed"),
        "{test:?} is not the path of a test:\n{shown}"
    );
    print!("{shown}");
    skip::pass_on(&shown);
}

fn body_command(test: &str) -> Command {
    let mut command = this_test(test);
    command.env(KEY, format!("body:{test}"));
    Token::new().mark(&mut command);
    sys::die_with_spawner(&mut command);
    command
}

fn checked(body: impl FnOnce()) {
    let before = OpenFds::now();
    body();

    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let any_child = waitid(WaitId::All, options);
    if !matches!(any_child, Err(Errno::CHILD)) {
        let left: Vec<_> = tree::children(std::process::id())
            .into_iter()
            .map(tree::describe)
            .collect();
        panic!("the test left children:\n{}", left.join("\n"));
    }
    let changes = before.changes(&OpenFds::now());
    assert!(
        changes.is_empty(),
        "the test changed the open fds:\n{}",
        changes.join("\n")
    );
}
