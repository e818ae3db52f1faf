//! A process that a signal ends, and one that a signal does not end.

use std::process::Command;
use std::time::Duration;

use occ_spawn::{Child, ExitReason, OsStatus, Spawner};
use occ_test_support::isolated;
use occ_test_support::stat::Stat;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::{Echo, end_of, raw, run, send, signal, stay};

/// Ends a process that stays with `number`, and checks the whole record.
fn ended_by(sent: Signal, name: &str, description: &str) {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(stay, ()).unwrap();
    let os_pid = child.os_pid();
    assert!(child.try_wait().unwrap().is_none());
    send(os_pid, sent);
    let exit = end_of(&mut child);

    assert_eq!(exit.os_pid, os_pid);
    let ExitReason::Signal(signal) = exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!(signal.number(), sent.as_raw());
    assert_eq!(signal.name(), Some(name));
    assert_eq!(signal.description(), Some(description));
    assert!(!signal.core_dumped());
    assert_eq!(exit.report.os_pid, Some(os_pid));
    let status = OsStatus {
        si_code: libc::CLD_KILLED,
        si_status: sent.as_raw(),
    };
    assert_eq!(exit.report.status, Some(status));
    assert_eq!(status.code(), None);
    assert!(exit.report.started.unwrap().boot <= exit.report.ended.unwrap().boot);
    assert!(exit.reason.is_abnormal());
    assert_eq!(exit.reason.to_string(), format!("was killed by {name}"));
}

/// SP-6
#[test]
fn sigterm_is_told_by_number_name_and_description() {
    ended_by(Signal::TERM, "SIGTERM", "Terminated");
}

/// SP-7
#[test]
fn sigkill_is_told_by_number_name_and_description() {
    ended_by(Signal::KILL, "SIGKILL", "Killed");
}

/// What the test was started with as ignored, by nohup or a shell in the background, would stay so.
fn ignore_none() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        raw::set_ignored(signal, false);
    }
}

/// From kill(2), not from a terminal: these end the process, as they would without us.
#[test]
fn the_signals_that_processes_handle_themselves_end_them_all_the_same() {
    isolated!(|| {
        ignore_none();
        ended_by(Signal::HUP, "SIGHUP", "Hangup");
        for sent in [
            Signal::INT,
            Signal::QUIT,
            Signal::ABORT,
            Signal::SEGV,
            Signal::BUS,
        ] {
            let spawner = Spawner::new().unwrap();
            let mut child = spawner.spawn(stay, ()).unwrap();
            send(child.os_pid(), sent);
            assert_eq!(signal(&end_of(&mut child)), sent.as_raw());
        }
    });
}

#[test]
fn a_process_that_signals_itself_is_told_by_that_signal() {
    isolated!(|| {
        ignore_none();
        let spawner = Spawner::new().unwrap();
        for number in [
            libc::SIGTERM,
            libc::SIGSEGV,
            libc::SIGABRT,
            libc::SIGINT,
            libc::SIGRTMIN() + 3,
        ] {
            let mut child = spawner.spawn(raw::raise, (number,)).unwrap();
            assert_eq!(signal(&end_of(&mut child)), number);
        }
    });
}

#[test]
fn a_real_time_signal_has_a_number_and_no_name() {
    let exit = run(raw::raise, (libc::SIGRTMIN() + 3,));
    let ExitReason::Signal(signal) = exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert_eq!((signal.name(), signal.description()), (None, None));
    assert_eq!(
        signal.to_string(),
        format!("signal {}", libc::SIGRTMIN() + 3)
    );
}

#[test]
fn a_fault_is_sigsegv_and_an_overflow_of_the_stack_is_sigabrt() {
    #[expect(unconditional_recursion, reason = "what is tested")]
    fn deeper(n: u64) -> u64 {
        let frame = std::hint::black_box([n; 64]);
        deeper(frame[0] + 1) + frame[63]
    }
    assert_eq!(signal(&run(raw::fault, ())), libc::SIGSEGV);
    assert_eq!(signal(&run(deeper, (0,))), libc::SIGABRT);
}

#[test]
fn a_write_to_a_closed_pipe_is_an_error_and_no_signal() {
    fn write() -> String {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        format!("{:?}", rustix::io::write(&writer, b"x").unwrap_err().kind())
    }
    assert_eq!(crate::value::<String>(&run(write, ())), "BrokenPipe");
}

#[test]
fn kill_ends_a_process_once_and_is_no_error_after_that() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(stay, ()).unwrap();
    child.kill().unwrap();
    assert_eq!(signal(&end_of(&mut child)), libc::SIGKILL);
    child.kill().unwrap();
}

#[test]
fn a_value_that_was_reported_does_not_hide_the_signal_that_came_after_it() {
    /// Reports a value and is then held in the flush of stdout.
    fn report_and_stick() -> u8 {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        rustix::io::write(&writer, &[0; 4096]).unwrap();
        rustix::stdio::dup2_stdout(&writer).unwrap();
        print!("no room for this");
        std::mem::forget((reader, writer));
        7
    }
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(report_and_stick, ()).unwrap();
    // The report is there once the socket can be read; only the process itself could have closed it.
    wait_for_report(&child);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(signal(&end_of(&mut child)), libc::SIGKILL);
}

/// Waits until `child` sleeps in write(2), which here is the end of all that it says.
fn wait_for_report(child: &Child) {
    let path = format!("/proc/{}/syscall", child.os_pid());
    let write = format!("{} ", libc::SYS_write);
    occ_test_support::within(occ_test_support::LIMIT, || {
        while !std::fs::read_to_string(&path).unwrap().starts_with(&write) {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_stopped_process_is_not_dead() {
    let spawner = Spawner::new().unwrap();
    let mut echo = Echo::new(&spawner);
    send(echo.child.os_pid(), Signal::STOP);
    occ_test_support::within(occ_test_support::LIMIT, || {
        while Stat::of(echo.child.os_pid().get()).unwrap().state != 'T' {
            std::thread::yield_now();
        }
    });
    assert!(echo.child.try_wait().unwrap().is_none());
    assert!(
        echo.child
            .wait_timeout(Duration::from_millis(50))
            .unwrap()
            .is_none()
    );
    send(echo.child.os_pid(), Signal::CONT);
    echo.ping();
    assert!(echo.child.try_wait().unwrap().is_none());
}

#[test]
fn a_core_dump_is_told() {
    fn dump(folder: String) {
        std::env::set_current_dir(folder).unwrap();
        let mut limit = getrlimit(Resource::Core);
        limit.current = limit.maximum;
        setrlimit(Resource::Core, limit).unwrap();
        std::process::abort()
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let none = getrlimit(Resource::Core).maximum == Some(0);
    if none || pattern.trim().is_empty() || pattern.starts_with(['|', '/']) {
        occ_test_support::skipped(&format!(
            "no core file can be had here (pattern {pattern:?}, hard limit 0: {none})"
        ));
        return;
    }
    let folder = std::env::temp_dir().join(format!("occ-spawn-core-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let exit = run(dump, (folder.to_str().unwrap().to_owned(),));
    std::fs::remove_dir_all(&folder).unwrap();
    let ExitReason::Signal(signal) = exit.reason else {
        panic!("it {}", exit.reason)
    };
    assert!(signal.core_dumped());
    assert_eq!(exit.report.status.unwrap().si_code, libc::CLD_DUMPED);
    assert_eq!(
        exit.reason.to_string(),
        "was killed by SIGABRT (core dumped)"
    );
}

/// What the terminal does not say, a shell does: the same words, from the same numbers.
#[test]
fn signals_have_the_names_that_the_shell_has() {
    isolated!(|| {
        ignore_none();
        let stop = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
        for number in (1..31).filter(|number| !stop.contains(number)) {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("kill -l {number}"))
                .output();
            let named = String::from_utf8(output.unwrap().stdout).unwrap();
            let exit = run(
                |number: i32| {
                    let none = Rlimit {
                        current: Some(0),
                        maximum: Some(0),
                    };
                    setrlimit(Resource::Core, none).unwrap();
                    raw::raise(number);
                },
                (number,),
            );
            // Some are for nothing by default.
            if let ExitReason::Signal(signal) = exit.reason {
                assert_eq!(signal.number(), number);
                let (ours, shells) = (signal.name().unwrap(), named.trim());
                assert!(
                    ours == format!("SIG{shells}")
                        || number == libc::SIGIO
                        || shells == number.to_string(),
                    "{ours} {shells}"
                );
            }
        }
    });
}
