//! A process that panics: what is a panic, what is survived, what aborts.

use occ_spawn::{EarlierPanic, Evidence, Exit, ExitReason, Panic, Spawner};

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

/// The panics that were not the end of a process: how many, and the last few.
fn before(exit: &Exit) -> (u64, &[EarlierPanic]) {
    let found = exit.report.evidence.iter().find_map(|piece| match piece {
        Evidence::PanickedBefore { count, last } => Some((*count, last.as_slice())),
        _ => None,
    });
    found.unwrap_or((0, &[]))
}

#[test]
fn panics_that_are_survived_are_evidence_and_change_no_reason() {
    fn survive() -> u8 {
        let worker = std::thread::Builder::new().name("worker".to_owned());
        let worker = worker.spawn(|| panic!("elsewhere")).unwrap();
        let _ = worker.join();
        let _ = std::panic::catch_unwind(|| panic!("here"));
        7
    }
    let exit = run(survive, ());
    assert_eq!(value::<u8>(&exit), 7);
    let (count, last) = before(&exit);
    assert_eq!((count, last.len()), (2, 2));
    assert_eq!(
        (last[0].message.as_str(), last[0].thread.as_deref()),
        ("elsewhere", Some("worker"))
    );
    assert_eq!((last[1].message.as_str(), &last[1].thread), ("here", &None));
    assert!(last[1].location.as_ref().unwrap().contains("panics.rs:"));
    assert!(
        exit.report
            .to_string()
            .contains(" (2 panics before) after "),
        "{}",
        exit.report
    );

    // The control.
    let exit = run(|| 7_u8, ());
    assert_eq!(before(&exit).0, 0);
    assert!(
        !exit.report.to_string().contains("before"),
        "{}",
        exit.report
    );
}

#[test]
fn they_are_told_whatever_the_end_is_if_the_process_can_speak() {
    fn caught() {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
    }
    fn is_told(exit: &Exit) {
        let (count, last) = before(exit);
        assert_eq!(count, 1, "{}", exit.report);
        assert_eq!(last[0].message, "caught");
        assert!(
            exit.report.to_string().contains(" (1 panic before) "),
            "{}",
            exit.report
        );
    }
    let fails = || -> anyhow::Result<()> {
        caught();
        Err(anyhow::anyhow!("failed"))
    };
    is_told(&run(fails, ()));
    let exits = || -> () {
        caught();
        occ_spawn::exit(7_u8)
    };
    is_told(&run(exits, ()));
    let panics = || {
        caught();
        panic!("the end")
    };
    let exit = run(panics, ());
    assert_eq!(panic_of(&exit).message, "the end");
    is_told(&exit);
    let faults = || {
        caught();
        raw::fault()
    };
    let exit = run(faults, ());
    assert_eq!(signal(&exit), libc::SIGSEGV);
    is_told(&exit);
    let aborts = || {
        caught();
        std::process::abort()
    };
    let exit = run(aborts, ());
    assert_eq!(signal(&exit), libc::SIGABRT);
    is_told(&exit);

    // One that ends without a word tells nothing.
    let leaves = || {
        caught();
        raw::exit_now(3)
    };
    assert_eq!(before(&run(leaves, ())).0, 0);
}

#[test]
fn of_many_the_number_and_the_last_are_told() {
    fn worker() {
        for n in 0..1000 {
            let _ = std::panic::catch_unwind(|| panic!("{n} {}", "x".repeat(1 << 20)));
        }
    }
    let exit = run(worker, ());
    let (count, last) = before(&exit);
    assert_eq!(count, 1000);
    let begins = |panic: &EarlierPanic, n: u64| {
        panic.number == n + 1
            && panic.message.starts_with(&format!("{n} xxx"))
            && panic.message.len() < 1000
    };
    assert!(
        last.len() == 3 && begins(&last[0], 997) && begins(&last[2], 999),
        "{last:?}"
    );
}

#[test]
fn the_panic_that_is_the_end_is_not_one_before_it() {
    let exit = run(|| panic!("the end"), ());
    assert_eq!(before(&exit), (0, &[][..]));

    // Said by a signal handler, which cannot leave it out.
    fn both() {
        let _bomb = Bomb;
        panic!("first");
    }
    let exit = run(both, ());
    assert_eq!(panic_of(&exit).message, "second");
    let (count, last) = before(&exit);
    assert_eq!((count, last[0].message.as_str()), (1, "first"));
}

#[test]
fn what_is_thrown_on_is_not_the_panic_that_was_caught_before_it() {
    fn throws_on() {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        let worker = std::thread::spawn(|| panic!("of the worker"));
        let Err(payload) = worker.join();
        std::panic::resume_unwind(payload)
    }
    let exit = run(throws_on, ());
    assert_eq!(panic_of(&exit).message, "of the worker");
    let messages: Vec<&str> = before(&exit)
        .1
        .iter()
        .map(|panic| panic.message.as_str())
        .collect();
    assert_eq!(messages, ["caught", "of the worker"]);
}

#[test]
fn what_a_fork_panics_over_is_not_told() {
    fn forks() {
        match raw::fork() {
            None => {
                let _ = std::panic::catch_unwind(|| panic!("in a fork"));
                raw::exit_now(0)
            }
            Some(fork) => assert_eq!(raw::wait_for(fork), 0),
        }
    }
    assert_eq!(before(&run(forks, ())).0, 0);
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
