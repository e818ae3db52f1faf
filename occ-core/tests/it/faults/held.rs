//! What was tried, and held.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use occ_core::{Builder, Down, ExitReason, SystemBuilder};
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, isolated, tree, within};

use super::{SOON, comm};
use crate::{code, system, try_kill};

#[test]
fn a_thousand_programs_at_once_are_each_told_once() {
    isolated!(|| {
        let mut system = system();
        let me = system.process();
        let script = ["-c", "echo words >&2; exit 3"];
        let builder = Builder::new().args(script).capture_stderr();
        let mut monitors = BTreeSet::new();
        for _ in 0..1000 {
            let (_, monitor) = me.spawn_exe_monitor(&builder, "sh").unwrap();
            assert!(monitors.insert(monitor));
        }
        for _ in 0..1000 {
            let down = within(LIMIT, || me.receive::<Down>().unwrap());
            assert!(monitors.remove(&down.monitor));
            assert_eq!(code(&down.reason), 3);
            assert_eq!(down.report.stderr.unwrap().bytes(), b"words\n");
        }
        system.stop();
    });
}

fn numbered(number: usize) -> usize {
    number
}

/// Spares and zygotes are killed as they come.
#[test]
fn with_spares_and_zygotes_killed_all_the_while_each_is_told_once() {
    isolated!(|| {
        let made = SystemBuilder::new().on_abnormal_exit(|_| ()).spares(8);
        let mut system = made.start().unwrap();
        let coordinator = system.coordinator().get();
        let me = system.process();
        let over = AtomicBool::new(false);
        let kill_some = |round: u32| {
            for child in tree::children(coordinator) {
                let is_one = match comm(child).trim() {
                    "occ-spare" => (round + child).is_multiple_of(3),
                    "occ-zygote" => round.is_multiple_of(40),
                    _ => false,
                };
                if is_one {
                    try_kill(child);
                }
            }
            std::thread::yield_now();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..)
                    .take_while(|_| !over.load(Ordering::Relaxed))
                    .for_each(kill_some);
            });
            for number in 0..times(500) {
                let made = within(LIMIT, || {
                    if number % 4 == 0 {
                        me.spawn_exe_monitor(&Builder::new(), "true")
                    } else {
                        me.spawn_monitor(numbered, (number,))
                    }
                });
                // Two zygotes may have died over it.
                let Ok((_, monitor)) = made else { continue };
                let told = within(LIMIT, || me.receive::<Down>().unwrap());
                assert_eq!(told.monitor, monitor);
                match told.reason {
                    ExitReason::Value(value) => assert_eq!(value.get::<usize>().unwrap(), number),
                    ExitReason::Code(code) => assert_eq!(code, 0),
                    // It was a spare that had been killed.
                    ExitReason::Signal(signal) => assert_eq!(signal.number(), libc::SIGKILL),
                    other => panic!("it {other}"),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        within(SOON, || system.stop());
    });
}
