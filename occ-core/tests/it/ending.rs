//! Ends: told at once, exactly once, and after the last message.

use std::collections::BTreeSet;

use std::collections::{HashMap, HashSet};

use occ_core::{Down, Pid, SystemBuilder};
use occ_test_support::{
    LIMIT, dead, isolated,
    ready::{Ready, Say},
    stress, within,
};
use rustix::process::Signal;

use crate::{Gate, assert_works, down, me, raw, reason, signal, system, value, wait};

/// Sends some messages, and ends in one of several ways.
fn send_and_end(to: Pid, messages: u64, how: u64) -> u64 {
    for n in 0..messages {
        me(|me| me.send(to, &n)).unwrap();
    }
    match how % 4 {
        0 => messages,
        1 => raw::die_by(libc::SIGKILL),
        2 => raw::exit_now(3),
        _ => occ_core::exit(messages),
    }
}

/// OC-12.
#[test]
fn a_down_comes_once_and_after_the_last_message_10_000_times() {
    const BATCH: usize = 50;
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let host = process.self_pid();
        for batch in 0..stress::times(10_000 / BATCH) {
            let mut sent = HashMap::new();
            for n in 0..BATCH {
                let messages = (n % 4) as u64;
                let how = (n / 4 + batch) as u64;
                let (pid, _) = process
                    .spawn_monitor(send_and_end, (host, messages, how))
                    .unwrap();
                sent.insert(pid, messages);
            }
            let mut seen: HashMap<Pid, u64> = HashMap::new();
            let mut told = HashSet::new();
            while told.len() < BATCH {
                let message = within(LIMIT, || process.receive_any().unwrap());
                let from = message.from;
                assert!(!told.contains(&from), "{from} after its Down");
                if message.is::<Down>() {
                    told.insert(from);
                } else {
                    let next = seen.entry(from).or_default();
                    assert_eq!(message.decode::<u64>().unwrap(), *next);
                    *next += 1;
                }
            }
            for (pid, messages) in sent {
                assert_eq!(seen.get(&pid).copied().unwrap_or(0), messages);
            }
        }
        // Each came once: nothing is left that comes after them.
        assert_works(process);
        assert!(process.inbox().unwrap().is_empty());
        system.stop();
    });
}

/// Forks a copy of the process, which holds all its descriptors, and ends itself.
fn leave_a_fork(gate: String, ready: String) -> u32 {
    let ready = Say::open(&ready);
    match raw::fork() {
        None => raw::stay(),
        Some(fork) => {
            ready.ready();
            wait(gate);
            fork
        }
    }
}

#[test]
fn a_process_whose_fork_holds_every_descriptor_is_told_of_at_once() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let args = (gate.address(), say.address());
        let (_, monitor) = process.spawn_monitor(leave_a_fork, args).unwrap();
        ready.wait(LIMIT);
        let _open = gate.open();
        let fork = value::<u32>(&reason(process, monitor));
        // And what it has left goes with it.
        dead::gone(fork, LIMIT);
        assert_works(process);
        system.stop();
    });
}

/// SIGCHLD merges: of many ends at once a few are signalled. Where a fork holds the socket nothing else tells.
#[test]
fn five_hundred_that_end_at_once_are_all_told_of() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let mut monitors = Vec::new();
        let mut forking = Vec::new();
        for n in 0..500 {
            if n % 5 == 0 {
                let args = (gate.address(), say.address());
                forking.push(process.spawn_monitor(leave_a_fork, args).unwrap().1);
            } else {
                monitors.push(process.spawn_monitor(wait, (gate.address(),)).unwrap().1);
            }
        }
        forking.iter().for_each(|_| ready.wait(LIMIT));
        let _open = gate.open();
        let forks: Vec<u32> = forking
            .into_iter()
            .map(|monitor| value::<u32>(&reason(process, monitor)))
            .collect();
        for monitor in monitors {
            value::<()>(&reason(process, monitor));
        }
        for fork in forks {
            dead::gone(fork, LIMIT);
        }
        assert_eq!(process.processes().unwrap().len(), 1);
        system.stop();
    });
}

/// What was sent last is the report, and the fork that holds the socket does not stop it from being read.
#[test]
fn a_long_value_is_told_though_a_fork_holds_the_socket_and_sends_on_it() {
    fn leave_a_chatterbox() -> (u32, String) {
        let control = raw::control();
        match raw::fork() {
            None => {
                // For ever, and as fast as it goes.
                let garbage = std::io::IoSlice::new(b"garbage");
                while control
                    .send(&[garbage], &[], occ_sck::Deadline::Never)
                    .is_ok()
                {}
                raw::stay()
            }
            Some(fork) => (fork, "v".repeat(1 << 20)),
        }
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(20) {
            let (_, monitor) = process.spawn_monitor(leave_a_chatterbox, ()).unwrap();
            let (fork, text) = value::<(u32, String)>(&reason(process, monitor));
            assert_eq!(text.len(), 1 << 20);
            dead::gone(fork, LIMIT);
        }
        assert_works(process);
        system.stop();
    });
}

/// A process lives for as long as one of its threads does.
#[test]
fn a_process_whose_first_thread_has_ended_is_alive_until_the_last_has() {
    fn go_on_without_me(gate: String) {
        std::thread::spawn(move || {
            wait(gate);
            raw::exit_now(6);
        });
        raw::end_thread()
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let (pid, monitor) = process
            .spawn_monitor(go_on_without_me, (gate.address(),))
            .unwrap();
        assert_works(process);
        assert!(process.os_pid(pid).is_ok());
        let _open = gate.open();
        assert_eq!(crate::code(&reason(process, monitor)), 6);
        system.stop();
    });
}

#[test]
fn a_stopped_process_is_alive_and_can_be_killed() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(crate::echo, ()).unwrap();
        crate::ping(process, pid);
        let os_pid = crate::os_pid(process, pid);
        let watch = dead::Watch::of(os_pid);
        watch.signal(Signal::STOP);
        assert_works(process);
        assert!(process.os_pid(pid).is_ok());
        watch.signal(Signal::CONT);
        crate::ping(process, pid);
        watch.signal(Signal::STOP);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        system.stop();
    });
}

/// OC-23.
#[test]
fn an_abnormal_end_that_nobody_watches_is_reported_and_no_other() {
    fn fail() -> anyhow::Result<()> {
        anyhow::bail!("on purpose")
    }
    isolated!(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let builder = SystemBuilder::new().on_abnormal_exit(move |exit| {
            tell.send((exit.pid, exit.to_string())).unwrap();
        });
        let mut system = builder.start().unwrap();
        let process = system.process();
        let (_, watched) = process.spawn_monitor(fail, ()).unwrap();
        down(process, watched);
        let fine = process.spawn(|| 7_u8, ()).unwrap();
        let gone = process.monitor(fine).unwrap();
        down(process, gone);
        let pid = process.spawn(fail, ()).unwrap();
        let (from, text) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!(from, pid);
        assert!(
            text.contains("failed: on purpose") && text.contains("fail"),
            "{text}"
        );
        // Those that are killed at the end are not abnormal.
        process.spawn(crate::stay, ()).unwrap();
        system.stop();
        assert_eq!(told.iter().count(), 0);
    });
}

/// Whoever is told may take its time; and when it is so much that not all can be kept, their number is told.
#[test]
fn abnormal_ends_wait_for_a_slow_reporter_and_those_that_cannot_are_counted() {
    fn leave() {
        raw::exit_now(7)
    }
    isolated!(|| {
        for (count, all_told) in [(1200, true), (4000, false)] {
            let (tell, told) = std::sync::mpsc::channel();
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let builder = SystemBuilder::new().on_abnormal_exit(move |exit| {
                let _ = wait.recv();
                tell.send((exit.pid, exit.missed, exit.to_string()))
                    .unwrap();
            });
            let mut system = builder.start().unwrap();
            let process = system.process();
            let mut pids = BTreeSet::new();
            for _ in 0..count {
                pids.insert(process.spawn(leave, ()).unwrap());
            }
            // The last of them has ended.
            within(LIMIT, || while process.processes().unwrap().len() > 1 {});
            drop(go_on);
            let mut missed = 0;
            while (pids.len() as u64) > missed {
                let (pid, before, text) = told.recv_timeout(LIMIT).unwrap();
                assert!(pids.remove(&pid), "{pid} twice");
                assert!(text.contains("leave") && text.contains(" 7"), "{text}");
                assert_eq!(
                    text.contains(" before it were not told"),
                    before > 0,
                    "{text}"
                );
                missed += before;
            }
            assert_eq!(pids.len() as u64, missed);
            assert_eq!(missed == 0, all_told, "{missed} of {count}");
            system.stop();
            assert_eq!(told.iter().count(), 0);
        }
    });
}

#[test]
fn a_reporter_that_panics_takes_nothing_down() {
    fn fail() -> anyhow::Result<()> {
        anyhow::bail!("on purpose")
    }
    isolated!(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let builder = SystemBuilder::new().on_abnormal_exit(move |exit| {
            tell.send(exit.pid).unwrap();
            panic!("the reporter panics");
        });
        let mut system = builder.start().unwrap();
        for _ in 0..3 {
            let pid = system.process().spawn(fail, ()).unwrap();
            assert_eq!(told.recv_timeout(LIMIT).unwrap(), pid);
            assert_works(system.process());
        }
        system.stop();
    });
}

/// Whoever died in the middle of a long message has not sent it, and what it had sent before is there.
#[test]
fn of_messages_of_one_that_is_killed_while_it_sends_only_whole_ones_arrive() {
    fn send_long(to: Pid) {
        for n in 0_u64.. {
            me(|me| me.send(to, &(n, vec![n; 50_000]))).unwrap();
        }
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(20) {
            let (pid, monitor) = process
                .spawn_monitor(send_long, (process.self_pid(),))
                .unwrap();
            let (first, _): (u64, Vec<u64>) = within(LIMIT, || process.receive().unwrap());
            assert_eq!(first, 0);
            process.kill(pid).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
            let mut next = 1;
            while let Some((n, long)) = process
                .receive_timeout::<(u64, Vec<u64>)>(std::time::Duration::ZERO)
                .unwrap()
            {
                assert_eq!((n, long.len(), long[49_999]), (next, 50_000, n));
                next += 1;
            }
        }
        system.stop();
    });
}
