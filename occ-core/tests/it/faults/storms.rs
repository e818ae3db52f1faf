//! Many at once: strays of all kinds, spares, a system within another, and somebody is killed or stopped at no moment in particular.

use std::sync::atomic::{AtomicBool, Ordering};

use occ_core::{
    Builder, Containment, ExitReason, Process, ReceiveError, StartError, System, SystemBuilder,
};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stress::times;
use occ_test_support::tree::{self, Token};
use occ_test_support::{LIMIT, dead, isolated, raw, within};

use crate::spares::spares;
use crate::{Stat, assert_works, reason, try_kill};

fn quiet(spares: usize) -> System {
    let made = SystemBuilder::new().on_abnormal_exit(|_| ()).spares(spares);
    made.start().unwrap()
}

fn guard_of(coordinator: u32) -> u32 {
    Stat::of(coordinator).unwrap().parent
}

/// Forks forks, in sessions of their own and not, that the death of a parent does not kill.
fn strays(count: u32) {
    for i in 0..count {
        if raw::fork().is_none() {
            if i % 2 == 0 {
                rustix::process::setsid().unwrap();
            }
            if raw::fork().is_none() {
                rustix::process::set_parent_process_death_signal(None).unwrap();
                raw::stay()
            }
            if i % 4 == 0 {
                raw::stay()
            }
            raw::exit_now(0)
        }
    }
    raw::stay()
}

/// One after the other forks and ends.
fn runs_away() {
    if raw::fork().is_none() {
        rustix::process::setsid().unwrap();
        for _ in 0..300 {
            if raw::fork().is_some() {
                raw::exit_now(0);
            }
        }
    }
    raw::stay()
}

fn start_all_kinds(system: &mut System, round: u32) {
    let me = system.process();
    for more in 0..5 {
        me.spawn(strays, (more + round % 3,)).unwrap();
    }
    me.spawn(runs_away, ()).unwrap();
    let script = "setsid sleep 1000 & (sleep 1000 &); sleep 1000";
    me.spawn_exe(&Builder::new().args(["-c", script]), "sh")
        .unwrap();
    // It takes a privilege, and there may be none.
    let alone = Builder::new().containment(Containment::PidNamespace);
    let _ = me.spawn_with(&alone, strays, (2,));
}

/// Ways for a system to end before its time.
const WAYS: [fn(&mut System, u32); 4] = [
    |system, _| try_kill(system.coordinator().get()),
    |system, _| {
        let coordinator = system.coordinator().get();
        crate::raw::signal(guard_of(coordinator), libc::SIGSTOP);
        try_kill(coordinator);
    },
    |system, _| {
        let coordinator = system.coordinator().get();
        crate::raw::signal(coordinator, libc::SIGSTOP);
        tree::children(coordinator).into_iter().for_each(try_kill);
        try_kill(coordinator);
    },
    |system, round| {
        let coordinator = system.coordinator().get();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..round).for_each(|_| std::thread::yield_now());
                try_kill(coordinator);
            });
            while system.process().spawn(strays, (3,)).is_ok() {}
        });
    },
];

#[test]
fn nothing_is_left_of_a_system_full_of_strays_however_it_ends() {
    isolated!(|| {
        for round in 0..times(2) {
            for (way, end) in (0..).zip(WAYS) {
                let round = round as u32 * 7 + way;
                let mut system = quiet(4);
                let guard = guard_of(system.coordinator().get());
                start_all_kinds(&mut system, round);
                end(&mut system, round);
                let received = within(LIMIT, || system.process().receive::<u8>());
                assert!(
                    matches!(received, Err(ReceiveError::SystemDown)),
                    "{received:?}"
                );
                crate::raw::signal(guard, libc::SIGCONT);
                within(LIMIT, || system.stop());
                Token::own().wait_none_left(LIMIT);
            }
            // Or by a stop.
            let mut system = quiet(4);
            start_all_kinds(&mut system, round as u32);
            within(LIMIT, || system.stop());
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// Has a system of its own, with strays.
fn has_a_system(ready: String) {
    let mut system = quiet(2);
    start_all_kinds(&mut system, 0);
    assert_works(system.process());
    // A plain fork is nobody, and cannot have one.
    if let Some(fork) = raw::fork() {
        assert_eq!(raw::wait_for(fork), 0);
    } else {
        let told = SystemBuilder::new().start();
        raw::exit_now(i32::from(!matches!(told, Err(StartError::Forked))));
    }
    Say::open(&ready).line(system.coordinator());
    raw::stay()
}

#[test]
fn nothing_is_left_of_a_system_within_another_whoever_is_killed() {
    isolated!(|| {
        for way in 0..4 {
            let (ready, say) = Ready::new();
            let mut system = quiet(4);
            spares(&mut system);
            let outer = system.coordinator().get();
            let guard = guard_of(outer);
            system
                .process()
                .spawn(has_a_system, (say.address(),))
                .unwrap();
            let inner = ready.pid(LIMIT);
            let guard_within = guard_of(inner);
            match way {
                0 => try_kill(outer),
                1 => {
                    try_kill(inner);
                    dead::gone(guard_within, LIMIT);
                    // The one without is untouched.
                    assert_works(system.process());
                }
                2 => {
                    crate::raw::signal(guard_within, libc::SIGSTOP);
                    try_kill(inner);
                    try_kill(outer);
                }
                _ => {
                    try_kill(guard_within);
                    crate::raw::signal(guard, libc::SIGSTOP);
                    try_kill(outer);
                    crate::raw::signal(guard, libc::SIGCONT);
                }
            }
            within(LIMIT, || system.stop());
            Token::own().wait_none_left(LIMIT);
        }
    });
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// All that the coordinator has started is killed, stopped and woken: zygotes, spares, processes.
#[test]
fn each_is_told_rightly_while_all_that_the_coordinator_has_is_killed_stopped_and_woken() {
    isolated!(|| {
        let mut system = quiet(4);
        let coordinator = system.coordinator().get();
        spares(&mut system);
        let over = AtomicBool::new(false);
        let mut chance = 1_u64;
        let mut storm = || {
            for child in tree::children(coordinator) {
                // Knuth's generator: any would do.
                chance = chance
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                match (chance >> 33) % 16 {
                    0 => try_kill(child),
                    1 | 2 => {
                        crate::raw::signal(child, libc::SIGSTOP);
                        crate::raw::signal(child, libc::SIGCONT);
                    }
                    3 => {
                        crate::raw::signal(child, libc::SIGSTOP);
                        try_kill(child);
                    }
                    _ => std::thread::yield_now(),
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    storm();
                }
            });
            let me = system.process();
            for number in 0..times(100) as u64 {
                // Two zygotes may have died over one.
                let made = (0..6).filter_map(|_| me.spawn_monitor(add, (number, 1)).ok());
                for (_, monitor) in made.collect::<Vec<_>>() {
                    match within(LIMIT, || reason(me, monitor)) {
                        ExitReason::Value(sum) => {
                            assert_eq!(sum.get::<u64>().unwrap(), number + 1);
                        }
                        ExitReason::Signal(signal) => assert_eq!(signal.number(), libc::SIGKILL),
                        other => panic!("it {other}"),
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        // The last that were killed may be about to die: one may still be taken for a process.
        let me = system.process();
        let works = |me: &mut Process| {
            let (_, monitor) = me.spawn_monitor(add, (2, 3)).unwrap();
            matches!(reason(me, monitor), ExitReason::Value(_))
        };
        within(LIMIT, || while !works(me) {});
        spares(&mut system);
        within(LIMIT, || system.stop());
    });
}
