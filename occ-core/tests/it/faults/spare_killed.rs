//! A spare that is killed while its number is being given to a process.

use occ_test_support::stress::times;
use occ_test_support::{LIMIT, dead, isolated, within};
use rustix::process::Signal;

use crate::spares::{spares, with_spares};
use crate::{assert_comes_to_rest, assert_works, is_asleep, me, reason, value};

fn knows_of() -> usize {
    me(|me| me.processes().unwrap().len())
}

/// What the coordinator is told of the spare's end is not of the process that has the number.
#[test]
fn who_has_the_number_of_a_spare_that_was_killed_is_part_of_the_system() {
    isolated!(|| {
        let mut system = with_spares();
        let coordinator = dead::Watch::of(system.coordinator().get());
        for _ in 0..times(5) {
            let there = spares(&mut system);
            assert_comes_to_rest(&system);
            coordinator.signal(Signal::STOP);
            let me = system.process();
            let here = rustix::thread::gettid().as_raw_nonzero().get();
            let monitor = std::thread::scope(|scope| {
                scope.spawn(|| {
                    // The wish is there, and the end of the spares comes second.
                    within(LIMIT, || while !is_asleep(here.unsigned_abs()) {});
                    for spare in &there {
                        crate::try_kill(*spare);
                    }
                    for spare in &there {
                        dead::gone(*spare, LIMIT);
                    }
                    coordinator.signal(Signal::CONT);
                });
                me.spawn_monitor(knows_of, ()).unwrap().1
            });
            assert_eq!(value::<usize>(&reason(me, monitor)), 2);
            assert_works(me);
        }
        system.stop();
    });
}
