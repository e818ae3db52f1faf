//! Every way to die, a row each: the reason, the cause, how sure it is, and the line that people read.

use std::os::unix::process::CommandExt;
use std::process::Command;

use occ_core::{
    Arguments, Cause, Confidence, Down, Evidence, ExitReason, Function, OsPid, Outcome, Pid,
    Process, exit,
};
use occ_test_support::cgroup::Cgroup;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, isolated, raw, skipped, within, workshop};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};

use crate::{Gate, down, me, stay, system, wait};

use Confidence::{Certain, Probable};

/// What is to be told of an end.
struct Told {
    reason: fn(&ExitReason) -> bool,
    cause: fn(&Cause) -> bool,
    confidence: Confidence,
    /// A part of the line. `{host}` is this program's OS pid, `{user}` its user.
    line: &'static str,
}

/// A way to die: its name, how it is done, and what is to be told.
type Row = (&'static str, fn(&mut Process) -> Down, Told);

#[track_caller]
fn check((name, die, told): Row) {
    isolated_row(|process| {
        let down = die(process);
        let line = down.to_string();
        assert!((told.reason)(&down.reason), "{name}: {:?}", down.reason);
        let verdict = down.report.verdict.as_ref().unwrap();
        assert!((told.cause)(&verdict.cause), "{name}: {verdict:?}");
        assert_eq!(verdict.confidence, told.confidence, "{name}: {verdict:?}");
        let expected = told
            .line
            .replace("{host}", &std::process::id().to_string())
            .replace("{user}", &rustix::process::getuid().as_raw().to_string());
        assert!(
            line.contains(&expected),
            "{name}: {line:?} and not {expected:?}"
        );
        let whole = line.contains(&format!(" {} (pid ", down.pid)) && line.ends_with(" MiB");
        assert!(whole && line.contains(" s, peak "), "{name}: {line}");
    });
}

fn isolated_row(body: impl FnOnce(&mut Process)) {
    let mut system = system();
    within(LIMIT, || body(system.process()));
    system.stop();
}

/// Runs a function, and waits for its end.
fn end_of<F, A, K>(process: &mut Process, function: F, args: A) -> Down
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    let (_, monitor) = process.spawn_monitor(function, args).unwrap();
    down(process, monitor)
}

/// Runs a function that says when it is ready, does something to it, and waits for its end.
fn end_after<F, K>(process: &mut Process, function: F, act: impl FnOnce(&mut Process, Pid)) -> Down
where
    F: Function<(String,)>,
    F::Output: Outcome<K>,
{
    let (ready, say) = Ready::new();
    let (pid, monitor) = process.spawn_monitor(function, (say.address(),)).unwrap();
    ready.wait(LIMIT);
    act(process, pid);
    down(process, monitor)
}

fn ready_and_stay(say: String) {
    Say::open(&say).ready();
    stay();
}

fn send(process: &mut Process, to: Pid, signal: Signal) {
    let pid = process.os_pid(to).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.get().cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn is_signal(reason: &ExitReason, number: i32) -> bool {
    matches!(reason, ExitReason::Signal(signal) if signal.number() == number)
}

fn is_code(reason: &ExitReason, code: i32) -> bool {
    matches!(reason, ExitReason::Code(found) if *found == code)
}

fn itself(cause: &Cause) -> bool {
    *cause == Cause::Itself
}

fn limit(resource: Resource, current: u64, maximum: u64) {
    let (current, maximum) = (Some(current), Some(maximum));
    setrlimit(resource, Rlimit { current, maximum }).unwrap();
}

fn leave(code: i32) {
    #[expect(clippy::exit, reason = "what is tested")]
    std::process::exit(code)
}

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
                    text.contains("::asks\n") && text.contains("deaths.rs:"),
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

#[test]
fn execs_are_told_as_what_they_came_to() {
    fn becomes(program: String, script: String) -> anyhow::Result<()> {
        Err(Command::new(program).args(["-c", &script]).exec().into())
    }
    fn script(process: &mut Process, script: &str) -> Down {
        end_of(process, becomes, ("/bin/sh".to_owned(), script.to_owned()))
    }
    fn broken(process: &mut Process, mode: u32, content: &str) -> Down {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("occ-broken-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let name = path.to_string_lossy().into_owned();
        let down = end_of(process, becomes, (name, String::new()));
        std::fs::remove_file(path).unwrap();
        down
    }
    let rows: Vec<Row> = vec![
        (
            "of an absent file",
            |process| {
                end_of(
                    process,
                    becomes,
                    ("/no/such/file".to_owned(), String::new()),
                )
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Error(_)),
                cause: itself,
                confidence: Certain,
                line: ") failed: No such file or directory",
            },
        ),
        (
            "of a file that is not executable",
            |process| broken(process, 0o644, "#!/bin/sh\n"),
            Told {
                reason: |reason| matches!(reason, ExitReason::Error(_)),
                cause: itself,
                confidence: Certain,
                line: ") failed: Permission denied",
            },
        ),
        (
            // The C library gives what the kernel does not know to a shell, which does not know it either.
            "of a broken file",
            |process| broken(process, 0o755, "\u{7f}ELF and no more"),
            Told {
                reason: |reason| is_code(reason, 127),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 127 after",
            },
        ),
        (
            "of a program that exits",
            |process| script(process, "exit 7"),
            Told {
                reason: |reason| is_code(reason, 7),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 7 after",
            },
        ),
        (
            // It has not our handlers, which is no evidence of anything.
            "of a program that faults",
            |process| {
                let down = script(process, "kill -SEGV $$");
                let executed = Evidence::Executed {
                    exe: "sh".to_owned(),
                };
                assert!(
                    down.report.evidence.contains(&executed),
                    "{:?}",
                    down.report
                );
                down
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSEGV),
                cause: |cause| matches!(cause, Cause::BadAddress { address: None }),
                confidence: Probable,
                line: ") touched a bad address [probable: the signal]",
            },
        ),
        (
            "of a program that is terminated",
            |process| script(process, "kill $$"),
            Told {
                reason: |reason| is_signal(reason, libc::SIGTERM),
                cause: |cause| matches!(cause, Cause::SenderUnknown { .. }),
                confidence: Certain,
                line: ") killed by SIGTERM, sender unknown [certain: kernel status] after",
            },
        ),
    ];
    isolated!(|| rows.into_iter().for_each(check));
}

#[test]
fn signals_are_told_with_where_they_came_from() {
    let rows: Vec<Row> = vec![
        (
            "SIGKILL from outside",
            |process| {
                end_after(process, ready_and_stay, |process, pid| {
                    send(process, pid, Signal::KILL)
                })
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| matches!(cause, Cause::SenderUnknown { .. }),
                confidence: Certain,
                line: ") killed by SIGKILL, sender unknown [certain: kernel status] after",
            },
        ),
        (
            "SIGKILL by the system",
            |process| {
                end_after(process, ready_and_stay, |process, pid| {
                    process.kill(pid).unwrap()
                })
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| matches!(cause, Cause::Killed { by, .. } if by == "<0.1>"),
                confidence: Certain,
                line: ") killed by <0.1>: kill was called [certain: we sent it] after",
            },
        ),
        (
            "stopped, which is no end, and then killed",
            |process| {
                end_after(process, ready_and_stay, |process, pid| {
                    send(process, pid, Signal::STOP);
                    let os_pid = process.os_pid(pid).unwrap().get();
                    while Stat::of(os_pid).unwrap().state != 'T' {}
                    assert!(
                        process
                            .processes()
                            .unwrap()
                            .iter()
                            .any(|listed| listed.pid == pid)
                    );
                    process.kill(pid).unwrap();
                })
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| matches!(cause, Cause::Killed { .. }),
                confidence: Certain,
                line: ") killed by <0.1>: kill was called",
            },
        ),
        (
            "in the middle of sending",
            |process| {
                fn sends(to: Pid, say: String) {
                    let say = Say::open(&say);
                    me(|me| {
                        for number in 0_u64.. {
                            if me.try_send(to, &number).is_err() {
                                break;
                            }
                        }
                    });
                    say.ready();
                    me(|me| me.send(to, &"x".repeat(1 << 24))).unwrap();
                }
                let deaf = process.spawn(stay, ()).unwrap();
                let (ready, say) = Ready::new();
                let (pid, monitor) = process.spawn_monitor(sends, (deaf, say.address())).unwrap();
                ready.wait(LIMIT);
                send(process, pid, Signal::KILL);
                process.kill(deaf).unwrap();
                down(process, monitor)
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| matches!(cause, Cause::SenderUnknown { .. }),
                confidence: Certain,
                line: ") killed by SIGKILL, sender unknown",
            },
        ),
        (
            "abort",
            |process| end_of(process, || std::process::abort(), ()),
            Told {
                reason: |reason| is_signal(reason, libc::SIGABRT),
                cause: |cause| *cause == Cause::Aborted,
                confidence: Certain,
                line: ") aborted [certain: told to its handler] after",
            },
        ),
        (
            "a write to address 0",
            |process| {
                let down = end_of(process, raw::write_to_null, ());
                let fault = down.report.fault().unwrap();
                assert_eq!((fault.address, fault.on_main_thread), (Some(0), true));
                down
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSEGV),
                cause: |cause| matches!(cause, Cause::BadAddress { address: Some(0) }),
                confidence: Certain,
                line: ") touched address 0, by a null pointer [certain: told to its handler] after",
            },
        ),
        (
            "a write to address 0 on another thread",
            |process| {
                fn on_a_thread() {
                    let worker = std::thread::Builder::new().name("a worker".to_owned());
                    worker.spawn(raw::write_to_null).unwrap().join().unwrap();
                }
                let down = end_of(process, on_a_thread, ());
                let fault = down.report.fault().unwrap();
                assert_eq!(
                    (fault.thread.as_str(), fault.on_main_thread),
                    ("a worker", false)
                );
                down
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSEGV),
                cause: |cause| matches!(cause, Cause::BadAddress { address: Some(0) }),
                confidence: Certain,
                line: ") touched address 0, by a null pointer [certain: told to its handler] after",
            },
        ),
        (
            "an overflow of the main thread's stack",
            |process| end_of(process, raw::overflow, (0,)),
            Told {
                reason: |reason| is_signal(reason, libc::SIGABRT),
                cause: |cause| matches!(cause, Cause::StackOverflow { thread: None }),
                confidence: Certain,
                line: ") overflowed its stack [certain: told to its handler] after",
            },
        ),
        (
            "an overflow of another thread's stack",
            |process| {
                fn on_a_thread() {
                    std::thread::spawn(|| raw::overflow(0)).join().unwrap();
                }
                end_of(process, on_a_thread, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSEGV),
                cause: |cause| matches!(cause, Cause::StackOverflow { .. }),
                confidence: Probable,
                line: ") overflowed its stack [probable: its handler had no stack to run on] after",
            },
        ),
        (
            "a failed allocation",
            |process| {
                fn takes() -> usize {
                    limit(Resource::As, 1 << 30, 1 << 30);
                    let mut all = Vec::new();
                    loop {
                        all.push(std::hint::black_box(vec![1_u8; 1 << 26]));
                        if all.len() > 1000 {
                            return all.len();
                        }
                    }
                }
                end_of(process, takes, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGABRT),
                cause: |cause| *cause == Cause::Aborted,
                confidence: Certain,
                line: ") aborted [certain: told to its handler] after",
            },
        ),
        (
            "a forbidden system call",
            |process| {
                fn asks() -> bool {
                    raw::forbid_getppid();
                    rustix::process::getppid().is_some()
                }
                end_of(process, asks, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSYS),
                cause: |cause| matches!(cause, Cause::ForbiddenCall { call: Some(call) } if i64::from(*call) == libc::SYS_getppid),
                confidence: Certain,
                line: ") made the forbidden system call ",
            },
        ),
        (
            "the soft limit on processor time",
            |process| {
                fn spins() {
                    limit(Resource::Cpu, 1, 10);
                    raw::spin()
                }
                end_of(process, spins, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGXCPU),
                cause: |cause| *cause == Cause::CpuLimit,
                confidence: Certain,
                line: ") used up its processor time [certain: told to its handler] after",
            },
        ),
        (
            "the hard limit on processor time",
            |process| {
                fn spins() {
                    limit(Resource::Cpu, 1, 1);
                    raw::spin()
                }
                end_of(process, spins, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGKILL),
                cause: |cause| *cause == Cause::CpuLimit,
                confidence: Probable,
                line: ") used up its processor time [probable: its processor time had reached the hard limit] after",
            },
        ),
        (
            "the limit on the size of files",
            |process| {
                fn writes() -> anyhow::Result<()> {
                    limit(Resource::Fsize, 10, 10);
                    let file = rustix::fs::memfd_create("a file", rustix::fs::MemfdFlags::CLOEXEC)?;
                    rustix::io::write(&file, &[0; 10])?;
                    rustix::io::write(&file, &[0; 10])?;
                    Ok(())
                }
                end_of(process, writes, ())
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGXFSZ),
                cause: |cause| *cause == Cause::FileSizeLimit,
                confidence: Probable,
                line: ") wrote a file beyond the limit [probable: told to its handler] after",
            },
        ),
    ];
    isolated!(|| rows.into_iter().for_each(check));
}

/// Every signal that can be caught and ends a process: sent to itself, and from outside.
#[test]
fn each_signal_that_can_be_caught_is_told_with_its_sender() {
    isolated!(|| isolated_row(|process| {
        let standard = (1..32).filter(|number| {
            let others = [
                libc::SIGKILL,
                libc::SIGSTOP,
                libc::SIGPIPE,
                libc::SIGCHLD,
                libc::SIGCONT,
                libc::SIGTSTP,
                libc::SIGTTIN,
                libc::SIGTTOU,
                libc::SIGURG,
                libc::SIGWINCH,
            ];
            !others.contains(number)
        });
        let real_time = [libc::SIGRTMIN(), libc::SIGRTMIN() + 5, libc::SIGRTMAX()];
        let (host, user) = (OsPid::own(), rustix::process::getuid().as_raw());
        for number in standard.chain(real_time) {
            let inside = end_of(process, raw::raise, (number,));
            assert!(is_signal(&inside.reason, number), "{number}: {inside}");
            let cause = &inside.report.verdict.as_ref().unwrap().cause;
            let own = match cause {
                Cause::OwnSignal { signal } => signal.number() == number,
                Cause::Aborted => number == libc::SIGABRT,
                Cause::FileSizeLimit => number == libc::SIGXFSZ,
                _ => false,
            };
            assert!(own, "{number}: {inside}");
            assert_eq!(inside.report.fault().unwrap().signal, number);

            let outside = end_after(process, ready_and_stay, |process, pid| {
                let pid = process.os_pid(pid).unwrap().get().cast_signed();
                raw::kill(pid, number);
            });
            assert!(is_signal(&outside.reason, number), "{number}: {outside}");
            let verdict = outside.report.verdict.as_ref().unwrap();
            let from_us = matches!(&verdict.cause, Cause::SentBy { sender, user: Some(of), .. }
                if *sender == host && *of == user);
            assert!(
                from_us && verdict.confidence == Certain,
                "{number}: {outside}"
            );
            let line = format!(
                ") killed by {} from process {host} of user {user} [certain: ",
                match &verdict.cause {
                    Cause::SentBy { signal, .. } => signal.to_string(),
                    _ => String::new(),
                }
            );
            assert!(outside.to_string().contains(&line), "{outside}");
        }
    }));
}

#[test]
fn a_core_that_was_dumped_is_told() {
    fn dumps(folder: String) {
        std::env::set_current_dir(folder).unwrap();
        limit(Resource::Core, 1 << 30, 1 << 30);
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .unwrap();
        raw::write_to_null();
    }
    isolated!(|| isolated_row(|process| {
        let folder = std::env::temp_dir().join(format!("occ-core-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let down = end_of(process, dumps, (folder.to_string_lossy().into_owned(),));
        std::fs::remove_dir_all(folder).unwrap();
        let ExitReason::Signal(signal) = down.reason else {
            panic!("{down}")
        };
        if !signal.core_dumped() {
            return skipped("this machine, or this user's limit, lets no core be dumped");
        }
        let line = ") touched address 0, by a null pointer [certain: told to its handler], core dumped after";
        assert!(down.to_string().contains(line), "{down}");
    }));
}

const ABORTS_ON_PANIC: &str = r#"
    use occ_core::{Down, SystemBuilder};

    fn on_a_thread() {
        let worker = std::thread::Builder::new().name("worker".to_owned());
        let _ = worker.spawn(|| panic!("on a thread")).unwrap().join();
    }
    fn caught() {
        let _ = std::panic::catch_unwind(|| panic!("not caught"));
    }
    fn main() {
        let mut system = SystemBuilder::new().start().unwrap();
        let process = system.process();
        for function in ["panics", "on a thread", "caught", "aborts"] {
            match function {
                "panics" => process.spawn_monitor(|| panic!("no more"), ()),
                "on a thread" => process.spawn_monitor(on_a_thread, ()),
                "caught" => process.spawn_monitor(caught, ()),
                _ => process.spawn_monitor(|| std::process::abort(), ()),
            }.unwrap();
            let down: Down = process.receive().unwrap();
            println!("{function}: {down}");
            let backtrace = down.report.panic.as_ref().and_then(|panic| panic.backtrace.as_ref());
            println!("{}", backtrace.map_or("none".to_owned(), |text| text.text().replace("\n", " ")));
        }
        system.stop();
    }"#;

/// The hook is the last thing of ours that runs there.
#[test]
fn in_a_build_that_aborts_on_panic_a_panic_is_told_as_one() {
    isolated!(|| {
        let profile = "[profile.dev]\npanic = \"abort\"\n";
        let program = workshop!("deaths", profile).build(ABORTS_ON_PANIC).unwrap();
        let output = Command::new(program)
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LIB_BACKTRACE")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let says = |number: usize, parts: &[&str]| {
            for part in parts {
                assert!(lines[number].contains(part), "{part:?}: {text}");
            }
        };
        assert_eq!(lines.len(), 8, "{text}");
        says(
            0,
            &[
                "panics: ",
                ") panicked: no more at src/main.rs:",
                " after 0.",
                " s, peak ",
            ],
        );
        says(1, &["user::main::{{closure}}", "src/main.rs:"]);
        says(
            2,
            &[
                "on a thread: ",
                ") panicked: on a thread at ",
                " on thread worker after ",
            ],
        );
        says(3, &["user::on_a_thread::{{closure}}"]);
        says(4, &["caught: ", ") panicked: not caught at "]);
        says(5, &["user::caught"]);
        // The control.
        says(
            6,
            &[
                "aborts: ",
                ") aborted [certain: told to its handler] after ",
            ],
        );
        says(7, &["none"]);
    });
}

/// In a group that has not as much memory as it takes.
#[test]
fn one_that_the_out_of_memory_killer_has_killed_is_told_as_such() {
    fn takes(group: String, gate: String) {
        wait(gate);
        std::fs::write(group, std::process::id().to_string()).unwrap();
        let mut all = Vec::new();
        loop {
            all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
    isolated!(|| {
        let Some(group) = Cgroup::of_memory(24 << 20) else {
            return skipped("this user may not limit the memory of a control group of version 1");
        };
        isolated_row(|process| {
            let gate = Gate::new();
            let args = (group.entrance(), gate.address());
            let (_, monitor) = process.spawn_monitor(takes, args).unwrap();
            let open = gate.open();
            let down = down(process, monitor);
            drop(open);
            assert!(is_signal(&down.reason, libc::SIGKILL), "{down}");
            let verdict = down.report.verdict.as_ref().unwrap();
            assert_eq!(verdict.cause, Cause::OutOfMemory, "{down}");
            let log = occ_proc::KernelLog::open();
            let (confidence, because) = match &log {
                Ok(log) if log.has_our_numbers() => (Certain, "certain: kernel log"),
                Ok(_) => (Probable, "probable: kernel log, by name"),
                Err(_) => (Confidence::Guess, "guess: the machine counts such kills"),
            };
            assert_eq!(verdict.confidence, confidence, "{down}");
            let line = format!(") killed by the out-of-memory killer [{because}] after");
            assert!(down.to_string().contains(&line), "{down}");
            let peak = down.report.usage.as_ref().unwrap().peak_rss.unwrap();
            assert!(peak > 10 << 20, "{down}");

            // The control: one that is killed in a group with room is not called that.
            let down = end_after(process, ready_and_stay, |process, pid| {
                send(process, pid, Signal::KILL)
            });
            assert!(matches!(
                down.report.verdict.as_ref().unwrap().cause,
                Cause::SenderUnknown { .. }
            ));
        });
    });
}
