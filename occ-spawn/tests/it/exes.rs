//! Executables as processes.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use occ_spawn::{Child, Options, OsPid, SpawnError, Spawner, Step};
use occ_test_support::stat::Stat;
use occ_test_support::{isolated, test_path};
use rustix::process::Signal;

use crate::{code, end_of, raw, send, signal};

fn sh(script: &str) -> Options {
    Options::new().args(["-c", script])
}

/// What a shell script prints.
fn printed(options: Options) -> String {
    let spawner = Spawner::new().unwrap();
    let mut out =
        File::from(rustix::fs::memfd_create("out", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    let options = options.stdout(out.try_clone().unwrap());
    let mut child = spawner.spawn_exe(&options, "sh").unwrap();
    assert_eq!(code(&end_of(&mut child)), 0);
    let mut text = String::new();
    out.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    text
}

/// SP-8, SP-9
#[test]
fn the_code_of_an_executable_is_told() {
    let spawner = Spawner::new().unwrap();
    for (script, expected) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("exit 256", 0),
    ] {
        let mut child = spawner.spawn_exe(&sh(script), "sh").unwrap();
        let exit = end_of(&mut child);
        assert_eq!(code(&exit), expected, "{script}");
        assert_eq!(exit.reason.is_abnormal(), expected != 0);
        assert!(
            exit.report.evidence.is_empty(),
            "{:?}",
            exit.report.evidence
        );
        assert!(
            exit.report.to_string().starts_with("sh (pid "),
            "{}",
            exit.report
        );
    }
}

fn ended_by(sent: Signal) {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner
        .spawn_exe(&Options::new().args(["-f", "/dev/null"]), "tail")
        .unwrap();
    assert!(child.try_wait().unwrap().is_none());
    // It runs: this is the program and not our image any more.
    let exe = std::fs::read_link(format!("/proc/{}/exe", child.os_pid())).unwrap();
    assert_ne!(exe, std::env::current_exe().unwrap());
    send(child.os_pid(), sent);
    let exit = end_of(&mut child);
    assert_eq!(signal(&exit), sent.as_raw());
    assert!(
        exit.report.evidence.is_empty(),
        "{:?}",
        exit.report.evidence
    );
}

/// SP-10
#[test]
fn an_executable_that_sigterm_ends_is_told() {
    ended_by(Signal::TERM);
}

/// SP-11
#[test]
fn an_executable_that_sigkill_ends_is_told() {
    ended_by(Signal::KILL);
}

#[track_caller]
fn not_executed(made: Result<Child, SpawnError>) -> (String, i32) {
    match made {
        Err(SpawnError::NotBegun {
            step: Step::Execute,
            what,
            source,
        }) => (what, source.raw_os_error().unwrap()),
        other => panic!("it is {other:?}"),
    }
}

#[test]
fn what_cannot_be_executed_is_an_error_of_the_spawn_and_leaves_nothing() {
    isolated(test_path!(), || {
        let dir = scratch("exes");
        let file = |name: &str, text: &str, mode: u32| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let plain = file("plain", "#!/bin/sh\n", 0o600);
        let broken = file("broken", "\x7fELF and no more", 0o700);
        let without = file("without", "#!/no/such/interpreter\n", 0o700);
        let spawner = Spawner::new().unwrap();
        let try_to = |program: &str| not_executed(spawner.spawn_exe(&Options::new(), program));
        let (what, errno) = try_to("/no/such/program");
        assert_eq!(
            (what.as_str(), errno),
            ("\"/no/such/program\"", libc::ENOENT)
        );
        assert_eq!(try_to("no-such-program-at-all").1, libc::ENOENT);
        assert_eq!(try_to(&plain).1, libc::EACCES);
        assert_eq!(try_to(&broken).1, libc::ENOEXEC);
        assert_eq!(try_to(&without).1, libc::ENOENT);
        assert_eq!(try_to("").1, libc::ENOENT);
        assert_eq!(try_to("a\0b").1, libc::EINVAL);
        // The control: the spawner is as good as it was.
        let mut child = spawner.spawn_exe(&sh("exit 7"), "sh").unwrap();
        assert_eq!(code(&end_of(&mut child)), 7);
        std::fs::remove_dir_all(dir).unwrap();
    });
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("occ-spawn-{name}-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    dir
}

#[test]
fn an_executable_has_default_actions_for_all_signals_and_none_blocked() {
    let status = printed(sh("exec cat /proc/self/status"));
    let line = |name: &str| {
        let mut lines = status.lines();
        let found = lines.find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(found.unwrap().trim(), 16).unwrap()
    };
    assert_eq!((line("SigBlk:"), line("SigCgt:")), (0, 0));
    // What we were started with as ignored stays so, and SIGPIPE, which every Rust program ignores, is not among it.
    assert_eq!(line("SigIgn:") & (1 << (libc::SIGPIPE - 1)), 0);
    // The control: here it is.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = own.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    assert_ne!(ignored & (1 << (libc::SIGPIPE - 1)), 0);
}

#[test]
fn an_executable_has_no_descriptor_but_those_it_is_given() {
    let numbers = printed(sh("exec ls /proc/self/fd"));
    // 3 is the directory that ls reads.
    assert_eq!(
        numbers.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );

    // A function has its socket at 3; a program can be given something there.
    let file = File::open("/dev/zero").unwrap();
    let inode = file.metadata().unwrap().ino();
    let script = "stat -L -c %i /proc/self/fd/3 /proc/self/fd/40; exec ls /proc/self/fd";
    let options = sh(script).fd(3, file.try_clone().unwrap()).fd(40, file);
    let said = printed(options);
    let said: Vec<&str> = said.split_whitespace().collect();
    let inode = inode.to_string();
    assert_eq!(said, [&inode, &inode, "0", "1", "2", "3", "4", "40"]);
}

#[test]
fn an_executable_has_a_process_group_of_its_own_unless_it_is_given_the_foreground() {
    let script = "read -r pid rest < /proc/self/stat; set -- $rest; echo $pid $4";
    let said = printed(sh(script));
    let numbers: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
    let said = printed(sh(script).foreground(true));
    let numbers: Vec<&str> = said.split_whitespace().collect();
    let ours = Stat::of(std::process::id()).unwrap().group.to_string();
    assert_eq!(numbers[1], ours);
}

#[test]
fn arguments_environment_and_directory_reach_an_executable() {
    let options = Options::new()
        .args([
            "-c",
            "echo \"$0\" \"$1\" \"$OCC_A\" \"$PWD\"; exec env",
            "a b",
            "*",
        ])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("OCC_A", "x  y")
        .cwd("/proc");
    let said = printed(options);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("a b * x  y /proc"));
    assert!(lines.any(|line| line == "OCC_A=x  y"));
    assert!(!said.contains("CARGO"), "{said}");
}

#[test]
fn long_arguments_reach_an_executable() {
    // Of one argument the kernel takes 128 KiB, and of all of them a quarter of the stack's limit.
    let long = "x".repeat(100_000);
    let options = Options::new()
        .args(["-c", "echo ${#1} ${#2} $#", "sh"])
        .args((0..12).map(|_| &long));
    assert_eq!(printed(options), "100000 100000 12\n");
}

#[test]
fn an_executable_is_found_in_the_path_that_it_is_given() {
    let dir = scratch("path");
    let program = dir.join("occ-test-program");
    let mut file = File::create(&program).unwrap();
    file.write_all(b"#!/bin/sh\nexit 9\n").unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o700))
        .unwrap();
    drop(file);
    let spawner = Spawner::new().unwrap();
    let options = Options::new().env("PATH", &dir);
    let mut child = spawner.spawn_exe(&options, "occ-test-program").unwrap();
    assert_eq!(code(&end_of(&mut child)), 9);
    let refused = spawner.spawn_exe(&Options::new(), "occ-test-program");
    assert_eq!(not_executed(refused).1, libc::ENOENT, "the control");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_executable_dies_with_its_spawner_and_one_that_is_waited_for_does_not() {
    let spawner = Spawner::new().unwrap();
    let options = Options::new().args(["-f", "/dev/null"]);
    let child = spawner.spawn_exe(&options, "tail").unwrap();
    let watch = occ_test_support::dead::Watch::of(child.os_pid().get());
    // A child holds what its parent is.
    drop(spawner);
    assert!(watch.is_alive());
    drop(child);
    watch.wait_gone(occ_test_support::LIMIT);
}

/// A fork of this program, made at the wrong moment, holds the other end of the control socket, so that it does not close.
#[test]
fn a_fork_of_the_host_does_not_keep_a_spawn_waiting() {
    isolated(test_path!(), || {
        let spawner = Spawner::new().unwrap();
        let (stop, mut forks) = (AtomicBool::new(false), Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && forks.len() < 100 {
                    match raw::fork() {
                        Some(fork) => forks.push(fork),
                        None => raw::stay(),
                    }
                }
            });
            for _ in 0..20 {
                let mut child = spawner.spawn_exe(&sh("exit 4"), "sh").unwrap();
                assert_eq!(code(&end_of(&mut child)), 4);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(!forks.is_empty());
        for fork in forks {
            send(OsPid::new(fork), Signal::KILL);
            raw::wait_for(fork);
        }
    });
}
