//! A process that ends by itself: with a value, or with a bare code.

use occ_spawn::{ExitReason, OsPid, Spawner, exit};
use occ_test_support::isolated;

use crate::{code, raw, run, value};

/// SP-1
#[test]
fn a_function_that_returns_nothing_ends_with_the_value_unit() {
    fn nothing() {}
    let exit = run(nothing, ());
    value::<()>(&exit);
    assert!(!exit.reason.is_abnormal());
}

/// SP-2
#[test]
fn process_exit_0_is_code_0() {
    #[expect(clippy::exit, reason = "what is tested")]
    fn leave() {
        std::process::exit(0)
    }
    let exit = run(leave, ());
    assert_eq!(code(&exit), 0);
    assert!(!exit.reason.is_abnormal());
}

/// SP-3
#[test]
fn raw_exit_0_is_code_0() {
    assert_eq!(code(&run(|| raw::exit_now(0), ())), 0);
}

/// SP-4
#[test]
fn process_exit_1_is_code_1() {
    #[expect(clippy::exit, reason = "what is tested")]
    fn leave() {
        std::process::exit(1)
    }
    let exit = run(leave, ());
    assert_eq!(code(&exit), 1);
    assert!(exit.reason.is_abnormal());
}

/// SP-5
#[test]
fn raw_exit_1_is_code_1() {
    assert_eq!(code(&run(|| raw::exit_now(1), ())), 1);
}

#[test]
fn every_code_is_told_as_it_is() {
    let spawner = Spawner::new().unwrap();
    fn leave(code: i32) {
        raw::exit_now(code)
    }
    for (given, told) in [
        (2, 2),
        (101, 101),
        (127, 127),
        (255, 255),
        (256, 0),
        (-1, 255),
    ] {
        let mut child = spawner.spawn(leave, (given,)).unwrap();
        assert_eq!(code(&crate::end_of(&mut child)), told);
    }
}

/// SP-12
#[test]
fn a_function_that_returns_a_string_ends_with_that_string() {
    fn text() -> String {
        "some text".to_owned()
    }
    assert_eq!(value::<String>(&run(text, ())), "some text");
}

/// SP-13
#[test]
fn exit_0_is_the_value_0_and_not_a_code() {
    assert_eq!(value::<i32>(&run(|| exit(0_i32), ())), 0);
}

/// SP-14
#[test]
fn exit_with_a_string_is_that_string() {
    assert_eq!(
        value::<String>(&run(|| exit("text".to_owned()), ())),
        "text"
    );
}

#[test]
fn exit_ends_the_process_from_any_thread_of_it() {
    fn elsewhere() {
        let _ = std::thread::spawn(|| exit(5_u8)).join();
    }
    assert_eq!(value::<u8>(&run(elsewhere, ())), 5);
}

#[test]
fn of_many_threads_that_call_exit_at_once_one_is_heard() {
    fn all_at_once() {
        let threads: Vec<_> = (0..8_u8)
            .map(|n| std::thread::spawn(move || exit(n)))
            .collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
    for _ in 0..20 {
        assert!(value::<u8>(&run(all_at_once, ())) < 8);
    }
}

#[test]
fn exit_runs_no_destructors_and_is_not_caught() {
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            raw::exit_now(9)
        }
    }
    fn leave() {
        let _loud = Loud;
        let _ = std::panic::catch_unwind(|| exit(1_u8));
    }
    assert_eq!(value::<u8>(&run(leave, ())), 1);
}

#[test]
#[should_panic(expected = "`exit` ends a process that was spawned")]
fn exit_in_a_program_that_nobody_spawned_is_a_panic() {
    exit(0_u8);
}

/// SP-17
#[test]
fn the_os_pid_told_is_the_one_that_the_process_sees() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(std::process::id, ()).unwrap();
    let known = child.os_pid();
    let exit = child.wait().unwrap();
    assert_eq!(exit.os_pid, known);
    assert_eq!(exit.report.os_pid, Some(known));
    assert_eq!(OsPid::new(value::<u32>(&exit)), known);
}

/// SP-18
#[test]
fn the_os_pid_is_told_also_for_a_bare_code() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(|| raw::exit_now(0), ()).unwrap();
    let known = child.os_pid();
    let exit = child.wait().unwrap();
    assert_eq!((exit.os_pid, code(&exit)), (known, 0));
}

#[test]
fn a_function_that_never_returns_can_be_run() {
    fn never() -> ! {
        raw::exit_now(3)
    }
    assert_eq!(code(&run(never, ())), 3);
}

#[test]
fn a_fallible_function_that_succeeds_ends_with_its_value() {
    fn parse() -> Result<i32, std::num::ParseIntError> {
        "12".parse()
    }
    fn through_anyhow() -> anyhow::Result<Vec<u8>> {
        Ok(vec![1, 2])
    }
    assert_eq!(value::<i32>(&run(parse, ())), 12);
    assert_eq!(value::<Vec<u8>>(&run(through_anyhow, ())), [1, 2]);
}

#[test]
fn values_of_many_types_come_back() {
    fn option() -> Option<String> {
        Some("x".to_owned())
    }
    fn tuple() -> (u8, Vec<(String, f64)>) {
        (1, vec![("a".to_owned(), 0.5)])
    }
    assert_eq!(value::<Option<String>>(&run(option, ())), option());
    assert_eq!(value::<(u8, Vec<(String, f64)>)>(&run(tuple, ())), tuple());
}

#[test]
fn a_value_of_64_mib_comes_back_though_nobody_reads_it_meanwhile() {
    fn large() -> String {
        "0123456789abcde\n".repeat(4 << 20)
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(large, ()).unwrap();
        // It ends while nobody reads: the process is gone before the value is asked for.
        occ_test_support::dead::gone(child.os_pid().get(), occ_test_support::LIMIT);
        let text = value::<String>(&child.wait().unwrap());
        assert_eq!(text.len(), 64 << 20);
        assert!(
            text.as_bytes()
                .chunks(16)
                .all(|line| line == b"0123456789abcde\n")
        );
    });
}

/// It is written to its memory file piece by piece, and read from it so.
#[test]
fn a_long_value_needs_no_second_copy_in_the_process_that_ends_with_it() {
    const LONG: usize = 256 << 20;
    let exit = run(|| occ_sck::Bytes(vec![1; LONG]), ());
    let peak = exit.report.usage.as_ref().unwrap().peak_rss.unwrap();
    // What is measured counts the value.
    assert!(peak >= LONG as u64, "{peak}");
    assert!(peak < LONG as u64 + (64 << 20), "{peak}");
    assert_eq!(value::<occ_sck::Bytes>(&exit).len(), LONG);
}

#[test]
fn a_value_taken_for_another_type_is_an_error_that_names_both_and_the_exit_is_what_it_was() {
    let exit = run(|| 7_u16, ());
    let ExitReason::Value(value) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    let error = value.get::<String>().unwrap_err().to_string();
    assert!(
        error.contains("alloc::string::String") && error.contains("u16"),
        "{error}"
    );
    assert!(value.is::<u16>() && !value.is::<i16>());
    assert_eq!(value.type_name(), "u16");
    assert_eq!(value.get::<u16>().unwrap(), 7);
    assert!(!exit.reason.is_abnormal());
}

#[test]
fn a_value_that_cannot_be_decoded_is_an_error_and_the_exit_is_what_it_was() {
    /// Writes a number and wants a text back.
    struct Crooked;
    impl serde::Serialize for Crooked {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(u64::MAX)
        }
    }
    impl<'de> serde::Deserialize<'de> for Crooked {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Crooked, D::Error> {
            String::deserialize(deserializer).map(|_| Crooked)
        }
    }
    let exit = run(|| Crooked, ());
    let ExitReason::Value(value) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    let error = value.get::<Crooked>().err().unwrap().to_string();
    assert!(error.contains("Crooked"), "{error}");
    assert_eq!(exit.report.status.unwrap().code(), Some(0));
}

#[test]
fn the_times_of_begin_and_end_are_told() {
    let before = occ_spawn::Moment::now();
    let exit = run(|| (), ());
    let (started, ended) = (exit.report.started.unwrap(), exit.report.ended.unwrap());
    assert!(before.wall <= started.wall && started.boot <= ended.boot);
    assert!(ended.boot <= occ_spawn::Moment::now().boot);
}
