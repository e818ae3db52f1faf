//! Nobody wakes up when the coordinator is killed: what is to be killed is killed asleep.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use occ_core::{ReceiveError, System};
use occ_test_support::{LIMIT, dead, isolated, within};

use super::until;
use crate::{me, system, try_kill};

/// How many wait.
const MANY: usize = 200;

/// Waits for a message, and says so before and after.
fn wait_and_say(pipe: String, hang_up: bool) {
    let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
    pipe.write_all(b"-").unwrap();
    if hang_up {
        let control = crate::raw::control();
        rustix::net::shutdown(&control, rustix::net::Shutdown::Both).unwrap();
        std::mem::forget(control);
    }
    let received = me(|me| me.receive::<u8>());
    assert!(
        matches!(received, Err(ReceiveError::SystemDown)),
        "{received:?}"
    );
    pipe.write_all(b"!").unwrap();
}

/// What they say until the coordinator is killed, and after.
fn said(mut system: System, kill: bool) -> String {
    let (mut read, write) = std::io::pipe().unwrap();
    let address = format!("/proc/{}/fd/{}", std::process::id(), write.as_raw_fd());
    let me = system.process();
    let started: Vec<_> = (0..MANY)
        .map(|_| {
            me.spawn_monitor(wait_and_say, (address.clone(), !kill))
                .unwrap()
        })
        .collect();
    if kill {
        for (pid, _) in &started {
            let os_pid = me.os_pid(*pid).unwrap().get();
            until(|| crate::Stat::of(os_pid).unwrap().state == 'S');
        }
        let coordinator = system.coordinator().get();
        try_kill(coordinator);
        dead::gone(coordinator, LIMIT);
    } else {
        for (_, monitor) in started {
            crate::down(me, monitor);
        }
    }
    drop(write);
    let mut said = String::new();
    within(LIMIT, || read.read_to_string(&mut said)).unwrap();
    said
}

#[test]
fn nobody_wakes_up_to_be_killed_with_the_coordinator() {
    isolated!(|| {
        let said = said(system(), true);
        // Some may have been killed before the first, and none has lived to say the second.
        assert!(!said.contains('!'), "{said}");
    });
}

/// The control: who does see that the coordinator is gone says so.
#[test]
fn who_wakes_up_because_the_coordinator_hangs_up_says_so() {
    isolated!(|| {
        let said = said(system(), false);
        assert_eq!(said.matches('!').count(), MANY, "{said}");
    });
}
