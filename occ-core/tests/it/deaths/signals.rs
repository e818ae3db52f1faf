//! Ends by a signal: where it came from.

use super::*;

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
