//! Exit reasons: each way to end is told apart from every other.

use std::error::Error;
use std::fmt;
use std::fs;

use anyhow::Context;
use occ_test_support::no_cores;
use occ_test_support::{LIMIT, dead, role, test_path};
use occasional::{Backtrace, Down, ExitReason, Failure, Panic, receive, run, spawn_monitor};

/// The reason of the one process that the caller has spawned with a monitor.
pub(crate) fn reason() -> anyhow::Result<ExitReason> {
    let down: Down = receive()?;
    // The OS status says the same as the reason.
    let status = down.report.status.context("there was a process")?;
    let expected = match &down.reason {
        ExitReason::Value(_) => Some(0),
        ExitReason::Error(_) => Some(1),
        ExitReason::Panic(_) => Some(101),
        ExitReason::Code(code) => Some(*code),
        ExitReason::Signal(signal) => {
            assert_eq!(status.signal(), Some(*signal));
            None
        }
        ExitReason::NoProcess => panic!("there was a process"),
    };
    assert_eq!(status.code(), expected);
    let abnormal = !matches!(down.reason, ExitReason::Value(_) | ExitReason::Code(0));
    assert_eq!(down.reason.is_abnormal(), abnormal);
    Ok(down.reason)
}

fn unit() {}

fn number() -> u64 {
    42
}

fn of_values() -> anyhow::Result<()> {
    spawn_monitor(unit, ())?;
    let ExitReason::Value(value) = reason()? else {
        anyhow::bail!("no value")
    };
    assert!(value.is::<()>());
    value.get::<()>()?;
    assert_eq!(format!("{value:?}"), "Value((), 0 bytes)");

    spawn_monitor(number, ())?;
    let reason = reason()?;
    assert_eq!(reason.to_string(), "returned a value of type u64");
    let ExitReason::Value(value) = reason else {
        anyhow::bail!("no value")
    };
    assert_eq!(value.get::<u64>()?, 42);
    assert!(value.get::<u32>().is_err());
    Ok(())
}

#[test]
fn a_value_is_told_with_its_type() {
    in_a_system!(of_values);
}

fn open_what_is_not_there() -> anyhow::Result<()> {
    fs::read("/there/is/no/such/file")
        .context("reading the settings")
        .context("starting up")?;
    Ok(())
}

fn of_errors() -> anyhow::Result<()> {
    spawn_monitor(open_what_is_not_there, ())?;
    let reason = reason()?;
    let ExitReason::Error(failure) = &reason else {
        anyhow::bail!("{reason}")
    };
    assert_eq!(
        failure.chain()[..2],
        ["starting up", "reading the settings"]
    );
    assert!(failure.chain()[2].contains("No such file"), "{failure:?}");
    assert_eq!(failure.chain().len(), 3);
    assert!(failure.value().is_none());
    let shown = reason.to_string();
    assert!(
        shown.starts_with("failed: starting up: reading the settings: No such"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn an_error_is_told_with_its_chain() {
    in_a_system!(of_errors);
}

#[derive(Debug)]
struct Refused(fmt::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn refuse() -> Result<(), Refused> {
    Err(Refused(fmt::Error))
}

fn of_own_errors() -> anyhow::Result<()> {
    spawn_monitor(refuse, ())?;
    let ExitReason::Error(failure) = reason()? else {
        anyhow::bail!("no error")
    };
    assert_eq!(
        failure.chain(),
        ["refused".to_owned(), fmt::Error.to_string()]
    );
    Ok(())
}

#[test]
fn an_error_of_ones_own_type_is_told_with_its_sources() {
    in_a_system!(of_own_errors);
}

fn fail_with_a_value() -> anyhow::Result<()> {
    occasional::fail(("a value".to_owned(), 7_u8))
}

fn of_failures() -> anyhow::Result<()> {
    spawn_monitor(fail_with_a_value, ())?;
    let ExitReason::Error(failure) = reason()? else {
        anyhow::bail!("no error")
    };
    let value = failure.value().context("it has a value")?;
    assert_eq!(value.get::<(String, u8)>()?, ("a value".to_owned(), 7));
    assert!(failure.to_string().contains("String"), "{failure}");
    assert!(value.get::<String>().is_err());
    Ok(())
}

#[test]
fn an_error_value_can_be_had() {
    in_a_system!(of_failures);
}

/// The line of the panic below.
const LINE: u32 = line!() + 2;
fn panic_with(number: u8) {
    panic!("on purpose, with {number}");
}

fn of_panics() -> anyhow::Result<()> {
    spawn_monitor(panic_with, (3,))?;
    let reason = reason()?;
    let ExitReason::Panic(panic) = &reason else {
        anyhow::bail!("{reason}")
    };
    assert_eq!(panic.message, "on purpose, with 3");
    let location = panic.location.as_deref().context("it has a place")?;
    assert!(
        location.starts_with(&format!("{}:{LINE}:", file!())),
        "{location}"
    );
    assert_eq!(panic.thread, None, "the process's own");
    assert_eq!(
        reason.to_string(),
        format!("panicked: on purpose, with 3 at {location}")
    );
    Ok(())
}

#[test]
fn a_panic_is_told_with_its_message_and_its_place() {
    in_a_system!(of_panics);
}

fn panic_oddly() {
    std::panic::panic_any(5_u8)
}

/// A panic that cannot unwind is followed by SIGABRT.
fn panic_in_a_destructor() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    let _bad = Bad;
    panic!("the first");
}

fn of_odd_panics() -> anyhow::Result<()> {
    spawn_monitor(panic_oddly, ())?;
    let ExitReason::Panic(panic) = reason()? else {
        anyhow::bail!("no panic")
    };
    assert!(
        panic.message.contains("no text") && panic.location.is_some(),
        "{panic:?}"
    );

    spawn_monitor(panic_in_a_destructor, ())?;
    let down: Down = receive()?;
    let ExitReason::Panic(panic) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert_eq!(panic.message, "the second");
    let signal = down.report.status.and_then(|status| status.signal());
    assert_eq!(signal.and_then(|signal| signal.name()), Some("SIGABRT"));
    Ok(())
}

#[test]
fn a_panic_without_words_and_one_that_cannot_unwind_are_panics() {
    bounded!(|| {
        no_cores();
        run(of_odd_panics, ()).unwrap();
    });
}

fn survive_a_panic() -> anyhow::Result<u8> {
    let ended = std::thread::spawn(|| panic!("on another thread")).join();
    assert!(ended.is_err());
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    Ok(9)
}

fn of_survived_panics() -> anyhow::Result<()> {
    spawn_monitor(survive_a_panic, ())?;
    let ExitReason::Value(value) = reason()? else {
        anyhow::bail!("no value")
    };
    assert_eq!(value.get::<u8>()?, 9);
    Ok(())
}

#[test]
fn a_panic_that_the_process_survives_is_no_exit() {
    in_a_system!(of_survived_panics);
}

/// Both ends that have a backtrace, if one was asked for.
fn backtraces() -> anyhow::Result<()> {
    let asked = std::env::var_os("RUST_BACKTRACE").is_some();
    spawn_monitor(open_what_is_not_there, ())?;
    let ExitReason::Error(failure) = reason()? else {
        anyhow::bail!("no error")
    };
    spawn_monitor(panic_with, (1,))?;
    let ExitReason::Panic(panic) = reason()? else {
        anyhow::bail!("no panic")
    };
    check(
        asked,
        failure.backtrace().map(Backtrace::text),
        "open_what_is_not_there",
        &failure,
        &panic,
    );
    check(
        asked,
        panic.backtrace.as_ref().map(Backtrace::text),
        "panic_with",
        &failure,
        &panic,
    );
    Ok(())
}

fn check(asked: bool, seen: Option<&str>, function: &str, failure: &Failure, panic: &Panic) {
    match seen {
        Some(text) => assert!(asked && text.contains(function), "{text}"),
        None => assert!(!asked, "asked for: {failure:?} {panic:?}"),
    }
}

#[test]
fn role_has_backtraces() {
    if role::is(test_path!()) {
        run(backtraces, ()).unwrap();
    }
}

#[test]
fn a_backtrace_is_there_if_it_was_asked_for() {
    bounded!(|| {
        for asked in [false, true] {
            let mut role = role::command("exit_reasons::role_has_backtraces");
            role.env_remove("RUST_LIB_BACKTRACE")
                .env_remove("RUST_BACKTRACE");
            if asked {
                role.env("RUST_BACKTRACE", "1");
            }
            let status = dead::how(&mut role.spawn().unwrap(), LIMIT);
            assert!(status.success(), "asked {asked}: {status}");
        }
    });
}

/// An error that could be sent as well as told.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Both;

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("both")
    }
}

impl Error for Both {}

fn fails_with_both() -> Result<u8, Both> {
    Err(Both)
}

fn as_value_and_as_error() -> anyhow::Result<()> {
    use occasional::result_kind::{Fallible, Plain};

    spawn_monitor::<_, _, Fallible>(fails_with_both, ())?;
    let ExitReason::Error(failure) = reason()? else {
        anyhow::bail!("it is an error")
    };
    assert_eq!(failure.chain(), ["both"]);
    spawn_monitor::<_, _, Plain>(fails_with_both, ())?;
    let ExitReason::Value(value) = reason()? else {
        anyhow::bail!("it is a value")
    };
    assert!(value.get::<Result<u8, Both>>()?.is_err());
    Ok(())
}

#[test]
fn a_result_whose_error_could_be_sent_is_what_it_is_said_to_be() {
    in_a_system!(as_value_and_as_error);
}
