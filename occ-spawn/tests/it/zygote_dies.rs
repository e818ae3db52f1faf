//! The zygote is expendable.

use std::io::{PipeWriter, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use occ_sck::Fd;
use occ_spawn::{SpawnError, Spawner};
use occ_test_support::dead::Watch;
use occ_test_support::fds::OpenFds;
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, Signal, isolated, stress, tree, within};

use crate::{Echo, end_of, value};

fn seven() -> u8 {
    7
}

/// The only child of this process that none of `echoes` is.
fn zygote(echoes: &[&Echo]) -> Watch {
    let mut children = tree::children(std::process::id());
    children.retain(|pid| !echoes.iter().any(|echo| echo.child.os_pid().get() == *pid));
    assert_eq!(children.len(), 1, "{children:?}");
    Watch::of(children[0])
}

#[test]
fn the_next_spawn_makes_another_and_running_children_live_on() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut echo = Echo::new(&spawner);
        for _ in 0..5 {
            let zygote = zygote(&[&echo]);
            zygote.signal(Signal::KILL);
            zygote.wait_gone(LIMIT);
            echo.ping();
            let mut child = within(LIMIT, || spawner.spawn(seven, ()).unwrap());
            assert_eq!(value::<u8>(&end_of(&mut child)), 7);
            echo.ping();
        }
    });
}

#[test]
fn a_spawn_that_it_had_taken_fails_by_name_and_is_not_repeated() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let zygote = zygote(&[]);
        zygote.signal(Signal::STOP);
        std::thread::scope(|scope| {
            let spawns: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| spawner.spawn(seven, ()).map(drop)))
                .collect();
            // The requests wait in the zygote's socket, and the spawns for a word.
            within(LIMIT, || {
                while blocked_threads() < 4 {
                    std::thread::yield_now();
                }
            });
            zygote.signal(Signal::KILL);
            for spawn in spawns {
                let error = within(LIMIT, || spawn.join().unwrap().unwrap_err());
                assert!(matches!(error, SpawnError::ZygoteDied), "{error:?}");
            }
        });
        let mut child = spawner.spawn(seven, ()).unwrap();
        assert_eq!(value::<u8>(&end_of(&mut child)), 7);
    });
}

/// What goes with a request is under way when nobody is left who could take it.
#[test]
fn one_that_dies_with_descriptors_to_pass_on_leaves_none_open() {
    fn hold(_: Fd<PipeWriter>, _: Fd<PipeWriter>) {
        crate::stay()
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let before = OpenFds::now();
        let zygote = zygote(&[]);
        zygote.signal(Signal::STOP);
        let (mut reader, writer) = std::io::pipe().unwrap();
        std::thread::scope(|scope| {
            let args = (Fd(writer.try_clone().unwrap()), Fd(writer));
            let spawn = scope.spawn(|| spawner.spawn(hold, args).map(drop));
            within(LIMIT, || {
                while blocked_threads() < 1 {
                    std::thread::yield_now();
                }
            });
            zygote.signal(Signal::KILL);
            let error = within(LIMIT, || spawn.join().unwrap().unwrap_err());
            assert!(matches!(error, SpawnError::ZygoteDied), "{error:?}");
        });
        zygote.wait_gone(LIMIT);
        let read = within(LIMIT, || reader.read(&mut [0]).unwrap());
        assert_eq!(read, 0, "nobody holds the other end");
        drop((reader, zygote));
        // The next one has a socket of its own.
        let mut child = spawner.spawn(seven, ()).unwrap();
        assert_eq!(value::<u8>(&end_of(&mut child)), 7);
        drop(child);
        assert_eq!(before.count(), OpenFds::now().count());
    });
}

/// How many threads of this process wait in poll(2) with a limit: each in a spawn whose request is sent.
fn blocked_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let waits = |task: std::fs::DirEntry| {
        let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let fields: Vec<&str> = call.split(' ').collect();
        // ppoll(fds, 1, limit, …): the spawner's own thread waits without one.
        fields[0] == libc::SYS_ppoll.to_string() && fields[2] == "0x1" && fields[3] != "0x0"
    };
    tasks
        .filter_map(Result::ok)
        .map(waits)
        .filter(|w| *w)
        .count()
}

#[test]
fn killed_at_any_moment_each_spawn_works_or_fails_by_name() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let done = AtomicBool::new(false);
        let (mut worked, mut failed) = (0, 0);
        let mut killed = Vec::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut worked, mut failed) = (0, 0);
                        while !done.load(Ordering::Relaxed) {
                            match within(LIMIT, || spawner.spawn(seven, ())) {
                                Ok(mut child) => {
                                    assert_eq!(value::<u8>(&end_of(&mut child)), 7);
                                    worked += 1;
                                }
                                Err(SpawnError::ZygoteDied) => failed += 1,
                                Err(error) => panic!("{error:?}"),
                            }
                        }
                        (worked, failed)
                    })
                })
                .collect();
            for _ in 0..stress::times(100) {
                for pid in tree::children(std::process::id()) {
                    // The zygote is the one that reads no function's socket: it has been booted.
                    if is_zygote(pid) {
                        let zygote = Watch::of(pid);
                        zygote.signal(Signal::KILL);
                        killed.push(zygote);
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
            for thread in threads {
                let (w, f) = thread.join().unwrap();
                worked += w;
                failed += f;
            }
        });
        println!("{worked} spawns worked, {failed} failed by name");
        // One that is about to die can still take a request.
        killed.iter().for_each(|zygote| zygote.wait_gone(LIMIT));
        let mut child = spawner.spawn(seven, ()).unwrap();
        assert_eq!(value::<u8>(&end_of(&mut child)), 7);
    });
}

/// A zygote sleeps in recvmsg(2), and processes of this test sleep nowhere.
fn is_zygote(pid: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    Stat::of(pid).is_some_and(|stat| stat.state == 'S')
        && call.starts_with(&format!("{} ", libc::SYS_recvmsg))
}
