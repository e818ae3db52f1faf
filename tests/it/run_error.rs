//! What `main` prints when it returns the error of `run`.

use std::process::Stdio;

use anyhow::Context;
use occ_test_support::{role, test_path};
use occasional::{RunError, exit, run};

fn fail() -> anyhow::Result<()> {
    Err(anyhow::anyhow!("the disk is full"))
        .context("cannot write the file")
        .context("cannot save")
}

fn panic() {
    panic!("on purpose");
}

fn leave() {
    std::process::exit(3)
}

fn other_type() -> String {
    exit(1_u8)
}

fn fail_with_a_value() {
    occasional::fail(vec![1_u8])
}

const KEY: &str = "OCC_ENDS_BY";

/// A test that returns a `Result` is to libtest what `main` is to std: its `Debug` goes to stderr.
#[test]
fn role_main() -> Result<(), RunError> {
    if !role::is(test_path!()) {
        return Ok(());
    }
    match std::env::var(KEY).unwrap().as_str() {
        "error" => run(fail, ()),
        "panic" => run(panic, ()),
        "code" => run(leave, ()),
        "type" => run(other_type, ()).map(drop),
        _ => run(fail_with_a_value, ()),
    }
}

/// What such a `main` prints.
fn printed(ends_by: &str, backtrace: bool) -> String {
    let mut role = role::command("run_error::role_main");
    role.env(KEY, ends_by)
        .env_remove("RUST_LIB_BACKTRACE")
        .env_remove("RUST_BACKTRACE");
    if backtrace {
        role.env("RUST_BACKTRACE", "1");
    }
    let output = role
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(101),
        "libtest's word for a failure"
    );
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_error_is_printed_cause_by_cause() {
    bounded!(|| {
        let expected = "Error: cannot save\n\nCaused by:\n    0: cannot write the file\n    \
                        1: the disk is full\n";
        assert_eq!(printed("error", false), expected);
        let with_backtrace = printed("error", true);
        let (before, after) = with_backtrace.split_once("\n\nBacktrace:\n").unwrap();
        assert_eq!(before, expected.trim_end());
        assert!(after.contains("run_error::fail"), "{after}");
    });
}

#[test]
fn everything_else_is_printed_as_what_it_is() {
    bounded!(|| {
        let panic = printed("panic", false);
        let begins = "Error: the process panicked: on purpose at tests/it/run_error.rs:";
        assert!(panic.starts_with(begins), "{panic}");
        let panic = printed("panic", true);
        assert!(
            panic.contains("\n\nBacktrace:\n") && panic.contains("run_error::panic"),
            "{panic}"
        );

        assert_eq!(
            printed("code", false),
            "Error: the process exited with code 3\n"
        );
        assert_eq!(
            printed("type", false),
            "Error: the process ended with a value of another type\n\nCaused by:\n    \
             0: expected a `alloc::string::String`, and this is a `u8`\n"
        );
        assert_eq!(
            printed("value", false),
            "Error: failed with a value of type `alloc::vec::Vec<u8>`\n"
        );
    });
}
