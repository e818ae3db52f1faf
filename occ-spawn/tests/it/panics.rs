//! A process that panics: what is a panic, what is survived, what aborts.

use occ_spawn::{Exit, ExitReason, Panic, Spawner};

use crate::{raw, run, signal, value};

#[track_caller]
fn panic_of(exit: &Exit) -> &Panic {
    let ExitReason::Panic(panic) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert!(exit.reason.is_abnormal());
    panic
}

#[test]
fn a_panic_is_told_with_message_and_location_and_status_101() {
    let line = line!() + 2;
    fn overflow(n: usize) -> u8 {
        [1, 2, 3][n]
    }
    let exit = run(overflow, (7,));
    let panic = panic_of(&exit);
    assert_eq!(
        panic.message,
        "index out of bounds: the len is 3 but the index is 7"
    );
    let location = panic.location.as_deref().unwrap();
    assert!(
        location.contains("panics.rs") && location.contains(&line.to_string()),
        "{location}"
    );
    assert_eq!(panic.thread, None);
    assert_eq!(exit.report.status.unwrap().code(), Some(101));
    assert!(exit.reason.to_string().contains(&panic.message));
}

#[test]
fn a_panic_has_a_backtrace_only_where_it_was_asked_for() {
    fn asked(how: Option<String>) {
        match how {
            Some(how) => raw::set_env("RUST_BACKTRACE", &how),
            None => raw::remove_env("RUST_BACKTRACE"),
        }
        raw::remove_env("RUST_LIB_BACKTRACE");
        panic!("as asked");
    }
    let exit = run(asked, (Some("1".to_owned()),));
    let backtrace = panic_of(&exit).backtrace.as_ref().unwrap();
    assert!(backtrace.text().contains("asked"), "{backtrace}");
    for not in [Some("0".to_owned()), None] {
        assert!(panic_of(&run(asked, (not,))).backtrace.is_none());
    }
}

#[test]
fn a_payload_that_is_no_text_is_a_panic_all_the_same() {
    let exit = run(|| std::panic::panic_any(17_i32), ());
    assert_eq!(panic_of(&exit).message, "a panic whose payload is no text");
    assert!(panic_of(&exit).location.is_some());
}

#[test]
fn a_message_of_any_length_is_cut_to_what_can_be_told() {
    let exit = run(|| panic!("{}", "ä".repeat(1 << 20)), ());
    let message = &panic_of(&exit).message;
    assert!(message.len() > 1000 && message.chars().all(|c| c == 'ä'));
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("second");
    }
}

#[test]
fn a_panic_in_a_destructor_during_a_panic_is_a_panic_though_the_process_aborts() {
    fn both() {
        let _bomb = Bomb;
        panic!("first");
    }
    let exit = run(both, ());
    assert_eq!(panic_of(&exit).message, "second");
    assert_eq!(
        exit.report.status.unwrap().signal().unwrap().number(),
        libc::SIGABRT
    );
}

#[test]
fn a_panic_that_may_not_unwind_is_a_panic_though_the_process_aborts() {
    extern "C" fn from_c() {
        panic!("out of C");
    }
    let exit = run(|| from_c(), ());
    let message = &panic_of(&exit).message;
    assert!(
        message.contains("cannot unwind") || message == "out of C",
        "{message}"
    );
    assert_eq!(
        exit.report.status.unwrap().signal().unwrap().number(),
        libc::SIGABRT
    );
}

#[test]
fn a_panic_on_another_thread_that_is_survived_is_no_exit() {
    fn survive() -> String {
        let ended = std::thread::spawn(|| panic!("elsewhere")).join();
        format!("{}", ended.is_err())
    }
    assert_eq!(value::<String>(&run(survive, ())), "true");
}

#[test]
fn a_panic_on_another_thread_that_aborts_names_the_thread() {
    fn elsewhere() {
        let both = || {
            let _bomb = Bomb;
            panic!("first");
        };
        let _ = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(both)
            .unwrap()
            .join();
    }
    let exit = run(elsewhere, ());
    assert_eq!(panic_of(&exit).thread.as_deref(), Some("worker"));
}

#[test]
fn an_abort_long_after_a_panic_that_was_survived_is_an_abort() {
    fn abort() {
        let _ = std::panic::catch_unwind(|| panic!("survived"));
        let _ = std::thread::spawn(|| panic!("survived, too")).join();
        std::process::abort()
    }
    assert_eq!(signal(&run(abort, ())), libc::SIGABRT);
}

#[test]
fn code_101_after_a_panic_that_was_survived_is_a_code() {
    fn leave() {
        let _ = std::panic::catch_unwind(|| panic!("survived"));
        raw::exit_now(101)
    }
    assert_eq!(crate::code(&run(leave, ())), 101);
}

/// Each of them once took a place in the socket's buffer, and the process hung when that was full.
#[test]
fn ten_thousand_panics_that_are_caught_leave_the_process_what_it_was() {
    fn worker() -> u32 {
        (0..10_000)
            .filter(|n| std::panic::catch_unwind(|| panic!("job {n}")).is_err())
            .count() as u32
    }
    assert_eq!(value::<u32>(&run(worker, ())), 10_000);
}

#[test]
fn a_program_that_replaced_the_panic_hook_still_has_its_panics_told() {
    fn replaced() {
        std::panic::set_hook(Box::new(|_| {}));
        panic!("behind your back");
    }
    let exit = run(replaced, ());
    assert_eq!(panic_of(&exit).message, "behind your back");
    assert_eq!(panic_of(&exit).location, None);
}

#[test]
fn a_hook_that_calls_the_one_before_it_loses_nothing() {
    fn chained() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| before(info)));
        panic!("through both");
    }
    let exit = run(chained, ());
    assert_eq!(panic_of(&exit).message, "through both");
    assert!(panic_of(&exit).location.is_some());
}

#[test]
fn a_result_whose_display_panics_is_a_panic() {
    #[derive(Debug)]
    struct Rude;
    impl std::fmt::Display for Rude {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no words for you")
        }
    }
    impl std::error::Error for Rude {}
    let exit = run(|| -> Result<(), Rude> { Err(Rude) }, ());
    assert_eq!(panic_of(&exit).message, "no words for you");
}

#[test]
fn the_panic_of_one_process_is_not_told_of_the_next() {
    let spawner = Spawner::new().unwrap();
    let mut first = spawner.spawn(|| panic!("mine"), ()).unwrap();
    assert_eq!(panic_of(&crate::end_of(&mut first)).message, "mine");
    let mut second = spawner.spawn(|| std::process::abort(), ()).unwrap();
    assert_eq!(signal(&crate::end_of(&mut second)), libc::SIGABRT);
}
