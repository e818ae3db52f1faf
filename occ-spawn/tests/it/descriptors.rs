//! What a function does to its own descriptors, and what its forks do: the exit is told as it was, and when it was.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use occ_spawn::{ExitReason, Spawner, exit, fail};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated};
use rustix::process::{Pid, Signal, kill_process};

use crate::{code, end_of, raw, run, value};

/// The end of its socket is not its end.
#[test]
fn a_process_that_closes_every_descriptor_lives_2_s_and_exits_7_is_told_at_its_end() {
    fn close_and_live(say: String) {
        raw::close_all();
        Say::open(&say).ready();
        raw::live(Duration::from_secs(2));
        raw::exit_now(7);
    }
    isolated!(|| {
        let (ready, say) = Ready::new();
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(close_and_live, (say.address(),)).unwrap();
        ready.wait(LIMIT);
        let closed = Instant::now();
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(code(&end_of(&mut child)), 7);
        let lived = closed.elapsed();
        assert!(
            lived > Duration::from_millis(1900) && lived < Duration::from_secs(20),
            "{lived:?}"
        );
    });
}

/// There is no telling the value, and code 0 would say that none was meant.
#[test]
fn a_function_that_closed_every_descriptor_and_returns_is_no_success() {
    fn close() -> u8 {
        raw::close_all();
        7
    }
    assert_eq!(code(&run(close, ())), 1);
    assert_eq!(code(&run(raw::close_all, ())), 1);
    fn close_and_panic() {
        raw::close_all();
        panic!("unheard");
    }
    assert_eq!(code(&run(close_and_panic, ())), 101);
}

#[test]
fn a_process_that_ends_while_its_fork_holds_every_descriptor_is_told_at_once() {
    fn leave_a_fork(say: String) -> u32 {
        let say = Say::open(&say);
        match raw::fork() {
            None => {
                say.ready();
                raw::stay()
            }
            Some(pid) => pid,
        }
    }
    isolated!(|| {
        let (ready, say) = Ready::new();
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(leave_a_fork, (say.address(),)).unwrap();
        ready.wait(LIMIT);
        let fork = value::<u32>(&end_of(&mut child));
        assert!(occ_test_support::alive::alive(fork));
        kill_process(
            Pid::from_raw(i32::try_from(fork).unwrap()).unwrap(),
            Signal::KILL,
        )
        .unwrap();
        occ_test_support::dead::gone(fork, LIMIT);
    });
}

#[test]
fn a_fork_of_a_process_cannot_report_in_its_name() {
    fn fork_and(how: u8) -> String {
        let ended = raw::fork().map(raw::wait_for);
        let Some(status) = ended else {
            match how {
                0 => exit("the fork's".to_owned()),
                1 => fail("the fork's".to_owned()),
                2 => return "the fork's".to_owned(),
                _ => panic!("the fork's"),
            }
        };
        format!("own, after {status}")
    }
    let spawner = Spawner::new().unwrap();
    for (how, status) in [(0, 0), (1, 1 << 8), (2, 0), (3, 101 << 8)] {
        let mut child = spawner.spawn(fork_and, (how,)).unwrap();
        assert_eq!(
            value::<String>(&end_of(&mut child)),
            format!("own, after {status}")
        );
    }
}

/// A fork writes a frame of its own on the socket that it shares with the process: the kernel says whose it is.
#[test]
fn a_report_forged_by_a_fork_is_not_believed() {
    fn forge() {
        if let Some(pid) = raw::fork() {
            raw::wait_for(pid);
            raw::exit_now(0);
        }
        let packet =
            occ_sck::Packet::of(occ_spawn::entry::kind::VALUE, &"forged".to_owned()).unwrap();
        let control = raw::duplicate(3);
        packet
            .send_whole(&control.into(), &[], occ_sck::Deadline::Now)
            .unwrap();
        raw::exit_now(0);
    }
    assert_eq!(code(&run(forge, ())), 0);

    // The control: the same frame from the process itself is its value.
    fn speak() {
        let packet = occ_sck::Packet::of(occ_spawn::entry::kind::VALUE, &"own".to_owned()).unwrap();
        packet
            .send_whole(&raw::duplicate(3).into(), &[], occ_sck::Deadline::Now)
            .unwrap();
        raw::exit_now(0);
    }
    assert_eq!(value::<String>(&run(speak, ())), "own");
}

#[test]
fn garbage_on_the_control_socket_is_no_report_and_does_no_harm() {
    fn garbage() {
        let control = raw::duplicate(3);
        for frame in [
            &[0_u8; 1][..],
            &[255; 40],
            &[20; 39],
            &[21; 100],
            &[24; 4096],
        ] {
            rustix::io::write(&control, frame).unwrap();
        }
        raw::exit_now(0);
    }
    assert_eq!(code(&run(garbage, ())), 0);
}

/// The function closed a number that was not its own and got it again for a file of its own.
#[test]
fn a_report_is_never_written_into_a_socket_of_the_functions_own() {
    fn own_file_at_3(say: String) -> String {
        let say = Say::open(&say);
        raw::close(3);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = raw::put_at(ours.into(), 3);
        // A fork reads the other end: only what the process writes at its end could be there.
        if raw::fork().is_none() {
            drop(ours);
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            say.line(got.len());
            raw::exit_now(0);
        }
        std::mem::forget(ours);
        "a value".to_owned()
    }
    isolated!(|| {
        let (ready, say) = Ready::new();
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(own_file_at_3, (say.address(),)).unwrap();
        assert_eq!(code(&end_of(&mut child)), 1);
        assert_eq!(ready.line(LIMIT), "0");
    });
}

#[test]
fn a_function_may_close_its_standard_descriptors() {
    fn close() -> u8 {
        (0..=2).for_each(raw::close);
        println!("to nobody");
        7
    }
    assert_eq!(value::<u8>(&run(close, ())), 7);
}

#[test]
fn a_long_value_is_told_also_when_the_process_has_no_descriptor_left() {
    fn full() -> String {
        while let Ok(file) = std::fs::File::open("/dev/null") {
            std::mem::forget(file);
        }
        "z".repeat(1 << 20)
    }
    fn limited() -> String {
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = Some(32);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        full()
    }
    assert_eq!(value::<String>(&run(limited, ())).len(), 1 << 20);
}

#[test]
fn a_value_that_cannot_be_handed_over_is_an_error_that_says_so() {
    fn no_room() -> String {
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = Some(0);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        "z".repeat(1 << 20)
    }
    let exit = run(no_room, ());
    let ExitReason::Error(failure) = &exit.reason else {
        panic!("it {}", exit.reason)
    };
    let text = failure.to_string();
    assert!(text.contains(" bytes of `alloc::string::String`"), "{text}");
    assert!(text.contains("memfd_create"), "{text}");
    assert_eq!(exit.report.status.unwrap().code(), Some(1));
}

#[test]
fn a_process_that_is_killed_while_its_report_is_on_its_way_is_a_signal_or_a_value() {
    fn quick() -> String {
        "w".repeat(100_000)
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let (mut values, mut signals) = (0, 0);
        for _ in 0..occ_test_support::stress::times(200) {
            let mut child = spawner.spawn(quick, ()).unwrap();
            child.kill().unwrap();
            let exit = end_of(&mut child);
            match &exit.reason {
                ExitReason::Value(_) => {
                    values += 1;
                    assert_eq!(value::<String>(&exit).len(), 100_000);
                }
                ExitReason::Signal(_) => {
                    signals += 1;
                    assert_eq!(crate::signal(&exit), libc::SIGKILL);
                }
                other => panic!("it {other}"),
            }
        }
        println!("{values} ended before the signal, {signals} by it");
    });
}
