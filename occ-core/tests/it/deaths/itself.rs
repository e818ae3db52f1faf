//! Ends that a process has come to by itself.

use super::*;

fn fails() -> anyhow::Result<()> {
    Err(anyhow::anyhow!("inner").context("outer"))
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

/// Ends the process before a line of its function has run.
#[derive(Serialize)]
struct Deadly;

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Deadly, D::Error> {
        raw::exit_now(44)
    }
}

#[test]
fn ends_of_its_own_are_told_as_such() {
    let rows: Vec<Row> = vec![
        (
            "returns a value",
            |process| end_of(process, || 7_u8, ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Value(value) if value.get::<u8>().ok() == Some(7)),
                cause: itself,
                confidence: Certain,
                line: ") returned a value of type u8 after 0.",
            },
        ),
        (
            "returns nothing",
            |process| end_of(process, || (), ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Value(value) if value.is::<()>()),
                cause: itself,
                confidence: Certain,
                line: ") returned after 0.",
            },
        ),
        (
            "calls exit with a value",
            |process| end_of(process, || -> () { exit("text".to_owned()) }, ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Value(_)),
                cause: itself,
                confidence: Certain,
                line: ") returned a value of type alloc::string::String after",
            },
        ),
        (
            "returns an error with a chain",
            |process| end_of(process, fails, ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Error(failure) if failure.chain() == ["outer", "inner"]),
                cause: itself,
                confidence: Certain,
                line: ") failed: outer: inner after",
            },
        ),
        (
            "panics",
            |process| end_of(process, || panic!("no more"), ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Panic(panic) if panic.message == "no more"),
                cause: itself,
                confidence: Certain,
                line: ") panicked: no more at ",
            },
        ),
        (
            "panics with what is no text",
            |process| end_of(process, || std::panic::panic_any(7_u8), ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Panic(_)),
                cause: itself,
                confidence: Certain,
                line: ") panicked: a panic whose payload is no text",
            },
        ),
        (
            "panics in a destructor",
            |process| end_of(process, || drop(PanicsInDrop), ()),
            Told {
                reason: |reason| matches!(reason, ExitReason::Panic(panic) if panic.message == "in drop"),
                cause: itself,
                confidence: Certain,
                line: ") panicked: in drop at ",
            },
        ),
        (
            "panics in a destructor during a panic",
            |process| {
                fn both() {
                    let _second = PanicsInDrop;
                    panic!("the first");
                }
                end_of(process, both, ())
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Panic(_)),
                cause: |cause| *cause == Cause::Aborted,
                confidence: Probable,
                line: ") panicked: in drop at ",
            },
        ),
        (
            "survives the panic of another thread",
            |process| {
                fn survives() -> bool {
                    std::thread::spawn(|| panic!("of a worker")).join().is_err()
                }
                let down = end_of(process, survives, ());
                let panics = down.report.evidence.iter().find_map(|piece| match piece {
                    Evidence::PanickedBefore { count, last } => Some((*count, last.as_slice())),
                    _ => None,
                });
                let (1, [panic]) = panics.unwrap() else {
                    panic!("{panics:?}")
                };
                assert_eq!(panic.message, "of a worker");
                assert!(
                    panic.thread.is_some() && panic.location.is_some(),
                    "{panic:?}"
                );
                down
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Value(value) if value.get::<bool>().ok() == Some(true)),
                cause: itself,
                confidence: Certain,
                line: ") returned a value of type bool (1 panic before) after",
            },
        ),
        (
            "panics with a backtrace",
            |process| {
                fn asks() {
                    raw::set_env("RUST_BACKTRACE", "1");
                    panic!("no more")
                }
                let down = end_of(process, asks, ());
                let ExitReason::Panic(panic) = &down.reason else {
                    panic!("{down}")
                };
                let text = panic.backtrace.as_ref().unwrap().text();
                assert!(
                    text.contains("::asks\n") && text.contains("itself.rs:"),
                    "{text}"
                );
                down
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Panic(_)),
                cause: itself,
                confidence: Certain,
                line: ") panicked: no more at ",
            },
        ),
        (
            "exit(0)",
            |process| end_of(process, leave, (0,)),
            Told {
                reason: |reason| is_code(reason, 0),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 0 after",
            },
        ),
        (
            "exit(1)",
            |process| end_of(process, leave, (1,)),
            Told {
                reason: |reason| is_code(reason, 1),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 1 after",
            },
        ),
        (
            "exit(255)",
            |process| end_of(process, leave, (255,)),
            Told {
                reason: |reason| is_code(reason, 255),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 255 after",
            },
        ),
        (
            "exit(256), of which the kernel keeps a byte",
            |process| end_of(process, leave, (256,)),
            Told {
                reason: |reason| is_code(reason, 0),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 0 after",
            },
        ),
        (
            "_exit(3)",
            |process| end_of(process, || raw::exit_now(3), ()),
            Told {
                reason: |reason| is_code(reason, 3),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 3 after",
            },
        ),
        (
            "ends before its function",
            |process| end_of(process, |_: Deadly| (), (Deadly,)),
            Told {
                reason: |reason| is_code(reason, 44),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 44 after",
            },
        ),
        (
            "closes all its descriptors, lives, and ends",
            |process| {
                fn closes(_: String) {
                    raw::close_all();
                    stay();
                }
                let (pid, monitor) = process.spawn_monitor(closes, (String::new(),)).unwrap();
                let os_pid = process.os_pid(pid).unwrap();
                // It waits, having closed them.
                while !std::fs::read_dir(format!("/proc/{os_pid}/fd"))
                    .is_ok_and(|fds| fds.count() == 0)
                {}
                assert_ne!(Stat::of(os_pid.get()).unwrap().state, 'Z');
                send(process, pid, Signal::KILL);
                down(process, monitor)
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| matches!(cause, Cause::SenderUnknown { .. }),
                confidence: Certain,
                line: ") killed by SIGKILL, sender unknown [certain: kernel status] after",
            },
        ),
        (
            "ends while its forks hold its descriptors",
            |process| {
                fn forks(pid_of_fork: String) -> u8 {
                    match raw::fork() {
                        None => stay(),
                        Some(pid) => Say::open(&pid_of_fork).line(pid),
                    }
                    5
                }
                let (ready, say) = Ready::new();
                let (_, monitor) = process.spawn_monitor(forks, (say.address(),)).unwrap();
                let fork = ready.pid(LIMIT);
                let down = down(process, monitor);
                crate::try_kill(fork);
                occ_test_support::dead::gone(fork, LIMIT);
                down
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Value(value) if value.get::<u8>().ok() == Some(5)),
                cause: itself,
                confidence: Certain,
                line: ") returned a value of type u8 after",
            },
        ),
    ];
    isolated!(|| rows.into_iter().for_each(check));
}
