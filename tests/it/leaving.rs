//! `exit` and `fail`: from anywhere in a process, past everything.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;

use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, role, test_path};
use occasional::{Down, ExitReason, exit, fail, receive, run, spawn_monitor};

struct SaysWhenDropped(Say);

impl Drop for SaysWhenDropped {
    fn drop(&mut self) {
        self.0.line("dropped");
    }
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Leave {
    Exit,
    Fail,
    Return,
}

fn leave(way: Leave, say: String) {
    let _guard = SaysWhenDropped(Say::open(&say));
    let left = catch_unwind(AssertUnwindSafe(|| deep_down(way, 10)));
    assert!(left.is_ok(), "nothing is caught, because nothing is thrown");
}

fn deep_down(way: Leave, depth: u32) {
    match (depth, way) {
        (0, Leave::Exit) => exit(5_u8),
        (0, Leave::Fail) => fail("a value".to_owned()),
        (0, Leave::Return) => {}
        _ => deep_down(way, depth - 1),
    }
}

/// What the process said, and its end.
fn end_of(way: Leave) -> anyhow::Result<(Vec<String>, Down)> {
    let (ready, say) = Ready::new();
    spawn_monitor(leave, (way, say.address()))?;
    let down: Down = receive()?;
    say.line("that is all");
    let mut said = Vec::new();
    loop {
        let line = ready.line(LIMIT);
        if line == "that is all" {
            return Ok((said, down));
        }
        said.push(line);
    }
}

fn leaves() -> anyhow::Result<()> {
    let (said, down) = end_of(Leave::Exit)?;
    assert!(said.is_empty(), "{said:?}");
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert_eq!(value.get::<u8>()?, 5);
    assert_eq!(down.report.status.and_then(|status| status.code()), Some(0));

    let (said, down) = end_of(Leave::Fail)?;
    assert!(said.is_empty(), "{said:?}");
    let ExitReason::Error(failure) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert_eq!(
        failure.value().expect("there is one").get::<String>()?,
        "a value"
    );
    assert_eq!(down.report.status.and_then(|status| status.code()), Some(1));

    // One that returns runs its destructors.
    let (said, down) = end_of(Leave::Return)?;
    assert_eq!(said, ["dropped"]);
    assert!(matches!(down.reason, ExitReason::Value(value) if value.is::<()>()));
    Ok(())
}

#[test]
fn exit_and_fail_cannot_be_caught_and_run_no_destructors() {
    in_a_system!(leaves);
}

fn leave_on_another_thread(way: Leave) -> anyhow::Result<()> {
    let thread = std::thread::spawn(move || deep_down(way, 3));
    // It does not come back.
    let _ = thread.join();
    receive::<()>()?;
    Ok(())
}

fn leaves_from_a_thread() -> anyhow::Result<()> {
    spawn_monitor(leave_on_another_thread, (Leave::Exit,))?;
    let ExitReason::Value(value) = receive::<Down>()?.reason else {
        anyhow::bail!("no value")
    };
    assert_eq!(value.get::<u8>()?, 5);
    spawn_monitor(leave_on_another_thread, (Leave::Fail,))?;
    let ExitReason::Error(failure) = receive::<Down>()?.reason else {
        anyhow::bail!("no error")
    };
    assert!(failure.value().is_some_and(|value| value.is::<String>()));
    Ok(())
}

#[test]
fn any_thread_of_a_process_can_end_it() {
    in_a_system!(leaves_from_a_thread);
}

#[test]
fn exit_and_fail_in_a_program_that_is_no_process_are_panics_with_a_clear_text() {
    bounded!(|| {
        for (name, leave) in [("exit", (|| exit(1_u8)) as fn()), ("fail", || fail(1_u8))] {
            let payload = catch_unwind(leave).unwrap_err();
            let text = payload.downcast_ref::<String>().unwrap();
            assert!(
                text.contains(name) && text.contains("std::process::exit"),
                "{text}"
            );
        }
    });
}

/// Prints without an end of line, so that all of it is in a buffer, and leaves.
fn print_and_leave(way: Leave) {
    print!("[printed");
    deep_down(way, 0);
    print!(" and returned");
}

fn print_and_fail() -> anyhow::Result<()> {
    print!("[printed and failed");
    anyhow::bail!("on purpose")
}

fn print_and_panic() {
    print!("[printed and panicked");
    panic!("on purpose");
}

#[test]
fn role_prints() {
    if role::is(test_path!()) {
        // What this program has in its own buffer is not printed once more by each process.
        print!("[the program's own");
        let _ = run(print_and_leave, (Leave::Return,));
        let _ = run::<_, _, _, ()>(print_and_leave, (Leave::Exit,));
        let _ = run::<_, _, _, ()>(print_and_leave, (Leave::Fail,));
        let _ = run(print_and_fail, ());
        let _ = run(print_and_panic, ());
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_a_process_has_printed_is_written_however_it_ends() {
    bounded!(|| {
        let mut role = role::command("leaving::role_prints");
        let role = role
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = role.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        for (text, times) in [
            ("[printed", 5),
            ("[printed and returned", 1),
            ("[printed and failed", 1),
            ("[printed and panicked", 1),
            ("[the program's own", 1),
        ] {
            assert_eq!(printed.matches(text).count(), times, "{text}: {printed}");
        }
    });
}

/// A program whose stdout is closed ends as it would.
#[test]
fn role_prints_to_nobody() {
    if role::is(test_path!()) {
        let ended = run::<_, _, _, u8>(print_and_exit, ());
        assert_eq!(ended.unwrap(), 5);
    }
}

fn print_and_exit() -> u8 {
    print!("[printed");
    exit(5_u8)
}

#[test]
fn a_value_is_handed_over_though_nobody_reads_what_is_printed() {
    bounded!(|| {
        let mut role = role::command("leaving::role_prints_to_nobody");
        let mut role = role
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(role.stdout.take());
        // libtest itself cannot print its own line any more, and says so with its status.
        dead::how(&mut role, LIMIT);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut role.stderr.take().unwrap(), &mut said).unwrap();
        assert!(
            !said.contains("assertion") && !said.contains("unwrap"),
            "{said}"
        );
    });
}
