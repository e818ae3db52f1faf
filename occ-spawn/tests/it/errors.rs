//! A process that ends with an error.

use std::fmt;

use occ_spawn::{Exit, ExitReason, Failure, fail};

use crate::{raw, run};

#[track_caller]
fn failure(exit: &Exit) -> &Failure {
    let ExitReason::Error(failure) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!(exit.report.status.unwrap().code(), Some(1));
    assert!(exit.reason.is_abnormal());
    failure
}

#[derive(Debug)]
struct NoRoom {
    shelf: u32,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room on shelf {}", self.shelf)
    }
}

impl std::error::Error for NoRoom {}

/// SP-15
#[test]
fn an_error_is_told_with_its_fields_and_its_chain() {
    fn store() -> anyhow::Result<()> {
        Err(anyhow::Error::new(NoRoom { shelf: 3 }).context("cannot store the box"))
    }
    let exit = run(store, ());
    let failure = failure(&exit);
    assert_eq!(
        failure.chain(),
        ["cannot store the box", "no room on shelf 3"]
    );
    assert_eq!(
        failure.to_string(),
        "cannot store the box: no room on shelf 3"
    );
    assert!(failure.value().is_none());
}

/// SP-15
#[test]
fn an_error_type_of_ones_own_needs_no_anyhow() {
    fn store() -> Result<u8, NoRoom> {
        Err(NoRoom { shelf: 4 })
    }
    assert_eq!(failure(&run(store, ())).chain(), ["no room on shelf 4"]);
}

/// SP-15
#[test]
fn an_error_has_a_backtrace_only_where_it_was_asked_for() {
    fn asked(how: Option<String>) -> anyhow::Result<()> {
        raw::remove_env("RUST_LIB_BACKTRACE");
        match how {
            Some(how) => raw::set_env("RUST_BACKTRACE", &how),
            None => raw::remove_env("RUST_BACKTRACE"),
        }
        Err(NoRoom { shelf: 5 }.into())
    }
    let exit = run(asked, (Some("1".to_owned()),));
    let backtrace = failure(&exit).backtrace().unwrap();
    assert!(backtrace.text().contains("asked"), "{backtrace}");
    for not in [Some("0".to_owned()), None] {
        assert!(failure(&run(asked, (not,))).backtrace().is_none());
    }
}

/// SP-16
#[test]
fn fail_tells_its_value() {
    let exit = run(|| fail(("broken".to_owned(), 3_u8)), ());
    let value = failure(&exit).value().unwrap();
    assert_eq!(
        value.get::<(String, u8)>().unwrap(),
        ("broken".to_owned(), 3)
    );
    assert!(
        failure(&exit)
            .to_string()
            .contains("(alloc::string::String, u8)")
    );
}

#[test]
fn fail_with_is_as_if_the_function_had_returned_the_error() {
    fn returned() -> anyhow::Result<()> {
        Err(anyhow::anyhow!("no such file").context("cannot read the list"))
    }
    fn from_anywhere() {
        let deeper = || occ_spawn::fail_with(returned().unwrap_err());
        let _ = std::panic::catch_unwind(deeper);
    }
    let chains =
        [run(returned, ()), run(from_anywhere, ())].map(|exit| failure(&exit).chain().to_vec());
    assert_eq!(chains[0], ["cannot read the list", "no such file"]);
    assert_eq!(chains[1], chains[0]);
}

/// SP-16
#[test]
fn fail_is_not_caught_and_works_on_any_thread() {
    fn elsewhere() {
        let _ = std::thread::spawn(|| std::panic::catch_unwind(|| fail(1_u8))).join();
    }
    assert_eq!(
        failure(&run(elsewhere, ()))
            .value()
            .unwrap()
            .get::<u8>()
            .unwrap(),
        1
    );
}

#[test]
#[should_panic(expected = "`fail` ends a process that was spawned")]
fn fail_in_a_program_that_nobody_spawned_is_a_panic() {
    fail(0_u8);
}

/// Refuses to be written.
#[derive(serde::Deserialize)]
struct Shy;

impl serde::Serialize for Shy {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("too shy"))
    }
}

#[test]
fn a_value_that_cannot_be_encoded_is_an_error_exit_that_names_it() {
    let exit = run(|| Shy, ());
    let text = failure(&exit).to_string();
    assert!(
        text.contains("exit value") && text.contains("Shy"),
        "{text}"
    );

    let exit = run(|| fail(Shy), ());
    let text = failure(&exit).to_string();
    assert!(
        text.contains("error value") && text.contains("Shy"),
        "{text}"
    );
}

#[test]
fn arguments_that_cannot_be_encoded_are_an_error_of_the_caller_and_no_process() {
    let spawner = occ_spawn::Spawner::new().unwrap();
    let error = spawner.spawn(|_: Shy| (), (Shy,)).unwrap_err();
    assert!(
        matches!(error, occ_spawn::SpawnError::Encode(_)),
        "{error:?}"
    );
    assert!(spawner.spawn(|| (), ()).unwrap().wait().is_ok());
}

#[test]
fn arguments_that_cannot_be_decoded_are_an_error_exit_that_names_them() {
    struct OneWay;
    impl serde::Serialize for OneWay {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl<'de> serde::Deserialize<'de> for OneWay {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<OneWay, D::Error> {
            Err(serde::de::Error::custom("no way back"))
        }
    }
    let text = failure(&run(|_: OneWay| (), (OneWay,))).to_string();
    assert!(
        text.contains("arguments") && text.contains("OneWay"),
        "{text}"
    );
}
