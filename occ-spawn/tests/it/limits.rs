//! At the limits of the machine: a named error, and everything else goes on.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use occ_spawn::{ExitReason, SpawnError, Spawner};
use occ_test_support::cgroup::Cgroup;
use occ_test_support::{LIMIT, isolated, stress, tree, within};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{Echo, end_of, value};

fn square(n: u64) -> u64 {
    n * n
}

fn works(spawner: &Spawner) {
    assert_eq!(
        value::<u64>(&end_of(&mut spawner.spawn(square, (3,)).unwrap())),
        9
    );
}

/// Opens files until there is no descriptor left, but for `left`.
fn use_up(left: usize) -> Vec<fs::File> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(64);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        files.push(file);
    }
    files.truncate(files.len() - left);
    files
}

#[test]
fn without_descriptors_a_spawn_is_a_named_error_and_the_next_works() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut echo = Echo::new(&spawner);
        let before = getrlimit(Resource::Nofile);
        // At each number of free descriptors another call is the one that fails.
        for left in 0..8 {
            for long in [false, true] {
                let files = use_up(left);
                let spawned = if long {
                    let text = "x".repeat(1 << 20);
                    spawner.spawn(|text: String| text.len() as u64 / (1 << 20) * 9, (text,))
                } else {
                    spawner.spawn(square, (3,))
                };
                match spawned {
                    Ok(mut child) => assert_eq!(value::<u64>(&end_of(&mut child)), 9),
                    Err(error) => {
                        let text = format!("{:#}", anyhow::Error::from(error));
                        assert!(text.contains("Too many open files"), "{text}");
                        assert!(left < 4, "{left}: {text}");
                    }
                }
                drop(files);
                works(&spawner);
                echo.ping();
            }
        }
        setrlimit(Resource::Nofile, before).unwrap();
    });
}

#[test]
fn without_descriptors_a_spawner_is_a_named_error_and_the_next_works() {
    isolated!(|| {
        let before = getrlimit(Resource::Nofile);
        for left in 0..6 {
            let files = use_up(left);
            if let Err(error) = Spawner::new() {
                let text = format!("{:#}", anyhow::Error::from(error));
                assert!(text.contains("Too many open files"), "{text}");
            } else {
                assert!(left > 2);
            }
            drop(files);
            works(&Spawner::new().unwrap());
        }
        setrlimit(Resource::Nofile, before).unwrap();
    });
}

/// A long value comes as a descriptor. The one that watched the process makes room for it.
#[test]
fn without_descriptors_a_long_value_is_received_all_the_same() {
    isolated!(|| {
        let before = getrlimit(Resource::Nofile);
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(|| "v".repeat(1 << 20), ()).unwrap();
        let mut other = spawner.spawn(|| "v".repeat(1 << 20), ()).unwrap();
        occ_test_support::dead::gone(other.os_pid().get(), LIMIT);
        let files = use_up(0);
        let exit = end_of(&mut child);
        assert_eq!(value::<String>(&exit).len(), 1 << 20);

        // The control: the value keeps its descriptor, and where there is none the loss is told.
        let done = AtomicBool::new(false);
        let taken = std::thread::scope(|scope| {
            // Whatever gets free is taken by others at once.
            let greedy = scope.spawn(|| {
                let mut taken = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    taken.extend(fs::File::open("/dev/null"));
                }
                taken
            });
            let exit = end_of(&mut other);
            done.store(true, Ordering::Relaxed);
            match &exit.reason {
                ExitReason::Value(_) => assert_eq!(value::<String>(&exit).len(), 1 << 20),
                ExitReason::Error(lost) => {
                    assert!(lost.to_string().contains("descriptors were lost"), "{lost}");
                    assert_eq!(exit.report.status.unwrap().code(), Some(0));
                }
                other => panic!("it {other}"),
            }
            greedy.join().unwrap()
        });
        drop((files, taken, exit));
        setrlimit(Resource::Nofile, before).unwrap();
        works(&spawner);
    });
}

#[test]
fn a_fork_that_the_kernel_refuses_is_a_named_error_and_the_rest_goes_on() {
    isolated!(|| {
        let Some(cgroup) = Cgroup::of_pids() else {
            occ_test_support::skipped("no pids cgroup can be made in /sys/fs/cgroup/pids");
            return;
        };
        let spawner = Spawner::new().unwrap();
        let zygote = tree::children(std::process::id())[0];
        let mut echo = Echo::new(&spawner);
        cgroup.set("cgroup.procs", &zygote.to_string());
        cgroup.set("pids.max", "1");
        for _ in 0..3 {
            let error = within(LIMIT, || spawner.spawn(square, (1,)).map(drop).unwrap_err());
            let SpawnError::Fork(source) = &error else {
                panic!("{error:?}")
            };
            assert_eq!(source.raw_os_error(), Some(libc::EAGAIN));
            echo.ping();
        }
        cgroup.set("pids.max", "max");
        works(&spawner);
        echo.ping();
        drop((echo, spawner));
    });
}

#[test]
fn two_hundred_processes_at_once_from_8_threads_leave_nothing() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let own = occ_test_support::fds::OpenFds::now();
        for _ in 0..stress::times(1) {
            std::thread::scope(|scope| {
                for thread in 0..8_u64 {
                    let spawner = &spawner;
                    scope.spawn(move || {
                        let of = |n: u64| thread * 25 + n;
                        let mut children: Vec<_> = (0..25)
                            .map(|n| spawner.spawn(square, (of(n),)).unwrap())
                            .collect();
                        for (n, child) in (0..25).zip(&mut children) {
                            assert_eq!(value::<u64>(&end_of(child)), of(n) * of(n));
                        }
                    });
                }
            });
        }
        let changes = own.changes(&occ_test_support::fds::OpenFds::now());
        assert!(changes.is_empty(), "{changes:?}");
        // The zygote.
        assert_eq!(tree::children(std::process::id()).len(), 1);
    });
}

#[test]
fn many_processes_live_at_once() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut echoes: Vec<_> = (0..100).map(|_| Echo::new(&spawner)).collect();
        echoes.iter_mut().for_each(Echo::ping);
        for mut echo in echoes {
            echo.child.kill().unwrap();
            assert_eq!(crate::signal(&end_of(&mut echo.child)), libc::SIGKILL);
        }
        works(&spawner);
    });
}
