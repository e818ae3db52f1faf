//! What a program does before `main` is done in the zygote, too: it is a start of the program.

use std::process::Stdio;

use occ_spawn::boot::BootError;
use occ_spawn::{SpawnError, Spawner};
use occ_test_support::{isolated, role, test_path};

use crate::{end_of, raw, value};

pub(crate) const KEY: &str = "OCC_TEST_INITIALISER";

/// Runs in every start of this test binary.
pub(crate) fn run() {
    match std::env::var(KEY).as_deref() {
        Ok("print") => print!("[initialised]"),
        Ok("thread") => drop(std::thread::spawn(|| raw::stay())),
        Ok("end") => raw::exit_now(0),
        Ok("stay") => raw::stay(),
        Ok("open") => std::mem::forget(std::fs::File::open("/dev/zero")),
        _ => {}
    }
}

#[test]
fn role_three_processes() {
    if !role::is(test_path!()) {
        return;
    }
    let spawner = Spawner::new().unwrap();
    for _ in 0..3 {
        value::<()>(&end_of(
            &mut spawner.spawn(|| print!("[process]"), ()).unwrap(),
        ));
    }
}

#[test]
fn text_that_an_initialiser_leaves_behind_is_printed_once_for_each_start() {
    isolated!(|| {
        let mut host = role::command("initialisers::role_three_processes");
        let output = host
            .env(KEY, "print")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches("[process]").count(), 3, "{text}");
        // The host's start and the zygote's; not the processes'.
        assert_eq!(text.matches("[initialised]").count(), 2, "{text}");
    });
}

#[test]
fn a_file_that_an_initialiser_opens_is_not_in_a_process() {
    isolated!(|| {
        raw::set_env(KEY, "open");
        let fds = |_: ()| std::fs::read_dir("/proc/self/fd").unwrap().count();
        // The standard ones, the control socket, the folder itself.
        assert_eq!(value::<usize>(&crate::run(fds, ((),))), 5);
    });
}

/// A fork of a process with threads could find any lock held for ever.
#[test]
fn an_initialiser_that_starts_a_thread_is_a_named_error() {
    isolated!(|| {
        raw::set_env(KEY, "thread");
        let error = match Spawner::new() {
            Ok(spawner) => spawner.spawn(|| (), ()).map(drop).unwrap_err(),
            Err(error) => error,
        };
        let SpawnError::Boot(BootError::Refused { why }) = &error else {
            panic!("{error:?}")
        };
        assert!(why.contains("started a thread"), "{why}");
    });
}
