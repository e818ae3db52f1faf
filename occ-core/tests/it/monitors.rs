//! Monitors: one Down each, and none for one that was taken back.

use std::time::Duration;

use occ_core::{Down, ExitReason, Pid};
use occ_test_support::{
    LIMIT, isolated,
    ready::{Ready, Say},
    stress, within,
};

use crate::{
    Gate, assert_works, code, down, echo, me, ping, raw, reason, signal, stay, system, value, wait,
};

#[test]
fn a_monitor_of_nobody_is_answered_at_once() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let me = process.self_pid();
        let (gone, monitor) = process.spawn_monitor(|| (), ()).unwrap();
        reason(process, monitor);
        for nobody in [
            gone,
            Pid { serial: 99, ..me },
            Pid { serial: 0, ..me },
            Pid { node: 1, ..me },
            Pid {
                incarnation: me.incarnation.wrapping_add(1),
                ..me
            },
        ] {
            let monitor = process.monitor(nobody).unwrap();
            let down = down(process, monitor);
            assert_eq!(down.pid, nobody);
            assert!(matches!(down.reason, ExitReason::NoProcess));
            assert!(down.report.os_pid.is_none() && down.report.status.is_none());
        }
        system.stop();
    });
}

/// OC-9.
#[test]
fn every_way_to_end_is_told_apart() {
    fn end(how: i32) -> anyhow::Result<u8> {
        match how {
            0 => Ok(7),
            1 => Err(anyhow::anyhow!("a cause").context("an error")),
            2 => panic!("a panic"),
            3 => occ_core::exit("text".to_owned()),
            4 => occ_core::fail(8_u8),
            #[expect(clippy::exit, reason = "one way to end")]
            5 => std::process::exit(0),
            6 => raw::exit_now(9),
            7 => raw::die_by(libc::SIGTERM),
            8 => raw::die_by(libc::SIGKILL),
            _ => std::process::abort(),
        }
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let mut of = |how: i32| {
            let (_, monitor) = process.spawn_monitor(end, (how,)).unwrap();
            reason(process, monitor)
        };
        assert_eq!(value::<u8>(&of(0)), 7);
        let ExitReason::Error(error) = of(1) else {
            panic!()
        };
        assert_eq!(error.chain(), ["an error", "a cause"]);
        let ExitReason::Panic(panic) = of(2) else {
            panic!()
        };
        assert_eq!(panic.message, "a panic");
        assert!(panic.location.unwrap().contains("monitors.rs"));
        assert_eq!(value::<String>(&of(3)), "text");
        let ExitReason::Error(error) = of(4) else {
            panic!()
        };
        assert_eq!(error.value().unwrap().get::<u8>().unwrap(), 8);
        assert_eq!((code(&of(5)), code(&of(6))), (0, 9));
        assert_eq!(
            (signal(&of(7)), signal(&of(8))),
            (libc::SIGTERM, libc::SIGKILL)
        );
        assert_eq!(signal(&of(9)), libc::SIGABRT);
        system.stop();
    });
}

#[test]
fn two_monitors_of_one_process_are_two_downs() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let (pid, first) = process.spawn_monitor(wait, (gate.address(),)).unwrap();
        let second = process.monitor(pid).unwrap();
        // Both are known before it ends: requests are answered in their order.
        process.processes().unwrap();
        let _open = gate.open();
        for monitor in [second, first] {
            value::<()>(&reason(process, monitor));
        }
        assert_works(process);
        assert!(process.inbox().unwrap().is_empty());
        system.stop();
    });
}

#[test]
fn demonitor_takes_a_down_that_has_come_out_of_the_inbox() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(100) {
            let (pid, first) = process.spawn_monitor(|| (), ()).unwrap();
            let second = process.monitor(pid).unwrap();
            // Once the second is here, so is the first.
            down(process, second);
            process.demonitor(first).unwrap();
            assert!(
                process
                    .receive_timeout::<Down>(Duration::ZERO)
                    .unwrap()
                    .is_none()
            );
        }
        system.stop();
    });
}

/// Whichever comes first, the end or the wish not to hear of it: after the wish nothing is heard.
#[test]
fn after_demonitor_there_is_no_down_however_the_end_races_with_it() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for n in 0..stress::times(200) {
            let (pid, monitor) = process.spawn_monitor(|| (), ()).unwrap();
            if n % 2 == 0 {
                process.kill(pid).ok();
            }
            process.demonitor(monitor).unwrap();
            // Told after the first would have been.
            let later = process.monitor(pid).unwrap();
            let down: Down = within(LIMIT, || process.receive().unwrap());
            assert_eq!(down.monitor, later);
        }
        assert!(
            process
                .receive_timeout::<Down>(Duration::ZERO)
                .unwrap()
                .is_none()
        );
        system.stop();
    });
}

#[test]
fn demonitor_twice_and_of_one_that_was_told_is_no_error() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(|| (), ()).unwrap();
        down(process, monitor);
        process.demonitor(monitor).unwrap();
        process.demonitor(monitor).unwrap();
        system.stop();
    });
}

#[test]
fn a_monitor_of_oneself_and_of_the_host_is_granted_and_not_answered() {
    fn watch(host: Pid) -> bool {
        me(|me| {
            let myself = me.self_pid();
            me.monitor(myself).unwrap();
            me.monitor(host).unwrap();
            me.processes().unwrap();
            me.receive_timeout::<Down>(Duration::ZERO)
                .unwrap()
                .is_none()
        })
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(watch, (process.self_pid(),)).unwrap();
        assert!(value::<bool>(&reason(process, monitor)));
        assert_works(process);
        system.stop();
    });
}

/// OC-13: what the watcher wanted to know is of no use any more, and the coordinator goes on.
#[test]
fn a_watcher_may_end_before_the_one_that_it_watches() {
    fn watcher(of: Pid) {
        me(|me| me.monitor(of)).unwrap();
        me(|me| me.processes()).unwrap();
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (watched, own) = process.spawn_monitor(echo, ()).unwrap();
        let (_, monitor) = process.spawn_monitor(watcher, (watched,)).unwrap();
        value::<()>(&reason(process, monitor));
        ping(process, watched);
        process.kill(watched).unwrap();
        assert_eq!(signal(&reason(process, own)), libc::SIGKILL);
        assert_works(process);
        system.stop();
    });
}

#[test]
fn every_watcher_of_a_process_is_told_the_same() {
    fn watcher(of: Pid, ready: String) -> i32 {
        let monitor = me(|me| me.monitor(of)).unwrap();
        me(|me| me.processes()).unwrap();
        Say::open(&ready).ready();
        signal(&me(|me| reason(me, monitor)))
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let victim = process.spawn(stay, ()).unwrap();
        let (ready, say) = Ready::new();
        let watchers: Vec<_> = (0..50)
            .map(|_| {
                process
                    .spawn_monitor(watcher, (victim, say.address()))
                    .unwrap()
                    .1
            })
            .collect();
        (0..50).for_each(|_| ready.wait(LIMIT));
        process.kill(victim).unwrap();
        for monitor in watchers {
            assert_eq!(value::<i32>(&reason(process, monitor)), libc::SIGKILL);
        }
        system.stop();
    });
}

/// A value of any length, told to several.
#[test]
fn a_value_of_64_mib_is_told_to_each_watcher() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        fn large(gate: String) -> String {
            wait(gate);
            "v".repeat(64 << 20)
        }
        let (pid, first) = process.spawn_monitor(large, (gate.address(),)).unwrap();
        let second = process.monitor(pid).unwrap();
        process.processes().unwrap();
        let _open = gate.open();
        for monitor in [first, second] {
            let reason = reason(process, monitor);
            assert_eq!(value::<String>(&reason).len(), 64 << 20);
        }
        system.stop();
    });
}
