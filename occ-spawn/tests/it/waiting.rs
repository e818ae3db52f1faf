//! Waiting for a process: in each way, more than once, and when somebody else was first.

use std::time::{Duration, Instant};

use occ_spawn::{Spawner, WaitError};
use occ_test_support::{isolated, within};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::{Echo, code, end_of, raw, stay, value};

#[test]
fn asked_again_it_says_the_same() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(|| 7_u8, ()).unwrap();
    let first = end_of(&mut child);
    let second = child.wait().unwrap();
    let third = child.try_wait().unwrap().unwrap();
    let fourth = child.wait_timeout(Duration::ZERO).unwrap().unwrap();
    for exit in [first, second, third, fourth] {
        assert_eq!((exit.os_pid, value::<u8>(&exit)), (child.os_pid(), 7));
    }
}

#[test]
fn try_wait_says_nothing_of_a_process_that_lives() {
    let spawner = Spawner::new().unwrap();
    let mut echo = Echo::new(&spawner);
    assert!(echo.child.try_wait().unwrap().is_none());
    echo.ping();
    drop(echo.channel);
    value::<()>(&end_of(&mut echo.child));
}

#[test]
fn wait_timeout_is_never_early() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(stay, ()).unwrap();
    let limit = Duration::from_millis(60);
    let before = Instant::now();
    assert!(child.wait_timeout(limit).unwrap().is_none());
    let took = before.elapsed();
    assert!(took >= limit && took < 10 * limit, "{took:?}");
}

#[test]
fn the_descriptor_of_a_child_is_readable_once_it_has_ended() {
    let spawner = Spawner::new().unwrap();
    let mut echo = Echo::new(&spawner);
    let readable = |echo: &Echo, limit| {
        let mut fds = [PollFd::new(&echo.child, PollFlags::IN)];
        poll(&mut fds, limit).unwrap() == 1
    };
    assert!(!readable(
        &echo,
        Some(&rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0
        })
    ));
    drop(std::mem::replace(
        &mut echo.channel,
        occ_sck::Channel::pair().unwrap().0,
    ));
    assert!(within(occ_test_support::LIMIT, || readable(&echo, None)));
    value::<()>(&echo.child.try_wait().unwrap().unwrap());
}

#[test]
fn many_threads_wait_for_children_of_their_own() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let spawner = &spawner;
                scope.spawn(move || {
                    for n in 0..25 {
                        let mut child = spawner.spawn(|a: u32, b: u32| a * 100 + b, (thread, n));
                        let exit = end_of(child.as_mut().unwrap());
                        assert_eq!(value::<u32>(&exit), thread * 100 + n);
                    }
                });
            }
        });
    });
}

#[test]
fn a_child_that_somebody_else_reaped_is_a_named_error() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut child = spawner.spawn(|| raw::exit_now(3), ()).unwrap();
        let pid = Pid::from_raw(i32::try_from(child.os_pid().get()).unwrap());
        waitpid(pid, WaitOptions::empty()).unwrap().unwrap();
        for _ in 0..2 {
            let error = child.wait().unwrap_err();
            assert!(matches!(error, WaitError::Stolen { os_pid } if os_pid == child.os_pid()));
        }
        assert_eq!(code(&crate::run(|| raw::exit_now(4), ())), 4);
    });
}

#[test]
fn dropped_children_are_reaped_and_killed_with_the_spawner() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut last = Echo::new(&spawner);
        let stays: Vec<u32> = (0..5)
            .map(|_| spawner.spawn(stay, ()).unwrap().os_pid().get())
            .collect();
        let ends = spawner.spawn(|| (), ()).unwrap().os_pid();
        occ_test_support::dead::gone(ends.get(), occ_test_support::LIMIT);
        drop(spawner);

        // One child is left: it keeps the others alive, and itself.
        last.ping();
        assert!(stays.iter().all(|pid| occ_test_support::alive::alive(*pid)));
        drop(last);
        assert!(!stays.iter().any(|pid| occ_test_support::alive::alive(*pid)));
        // `isolated` finds whatever is not reaped.
    });
}

#[test]
fn a_spawner_may_be_dropped_before_its_children() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut echo = Echo::new(&spawner);
        drop(spawner);
        echo.ping();
        echo.child.kill().unwrap();
        assert_eq!(crate::signal(&end_of(&mut echo.child)), libc::SIGKILL);
    });
}
