//! No room for descriptors that are under way: what needs one waits for room and is told by name if there is none,
//! and all else goes on.

use occ_core::{SendError, SpawnError, SystemBuilder};
use occ_test_support::in_flight::{NoRoom, be_a_user_of_its_own};
use occ_test_support::{LIMIT, isolated, within};

use crate::{
    Gate, assert_comes_to_rest, assert_works, echo, ping, reason, stay, system, value, wait,
};

/// The hard limit, too: the coordinator raises its own as far as it may.
const ROOM: u64 = 64;

const LONG: usize = 1 << 20;

fn answer_at_length(gate: String) -> String {
    wait(gate);
    "v".repeat(LONG)
}

#[test]
fn a_system_that_starts_waits_for_room_and_says_so_if_there_is_none() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let full = NoRoom::now();
            let error = SystemBuilder::new().start().unwrap_err();
            let words = format!("{:#}", anyhow::Error::from(error));
            assert!(words.contains("under way"), "{words}");

            std::thread::scope(|scope| {
                let starts = scope.spawn(|| {
                    let mut system = system();
                    assert_works(system.process());
                    system.stop();
                });
                drop(full);
                starts.join().unwrap();
            });
        });
    });
}

/// One after the other, because each of them would have the coordinator wait.
#[test]
fn a_spawn_waits_for_room_and_is_an_error_if_there_is_none() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let mut system = system();
            let process = system.process();
            let witness = process.spawn(echo, ()).unwrap();
            ping(process, witness);

            let full = NoRoom::now();
            let error = process.spawn(stay, ()).unwrap_err();
            let SpawnError::Io { op, source } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(op, "sendmsg");
            assert_eq!(source.raw_os_error(), Some(libc::ETOOMANYREFS));
            // Nothing is left of it, and everything that needs no descriptor goes on.
            ping(process, witness);
            assert_eq!(process.processes().unwrap().len(), 2);
            process.kill(witness).unwrap();

            std::thread::scope(|scope| {
                scope.spawn(|| drop(full));
                assert_works(process);
            });
            assert_comes_to_rest(&system);
            system.stop();
        });
    });
}

#[test]
fn a_connection_waits_for_room_and_is_refused_if_there_is_none() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let mut system = system();
            let process = system.process();
            let one = process.spawn(echo, ()).unwrap();
            let other = process.spawn(echo, ()).unwrap();
            ping(process, one);

            let full = NoRoom::now();
            let error = process
                .send(other, &(process.self_pid(), 7_u64))
                .unwrap_err();
            assert!(
                matches!(error, SendError::TooManyPeers { to } if to == other),
                "{error:?}"
            );
            ping(process, one);

            std::thread::scope(|scope| {
                scope.spawn(|| drop(full));
                ping(process, other);
            });
            ping(process, one);
            assert_comes_to_rest(&system);
            system.stop();
        });
    });
}

/// What a process said last is kept until there is room to pass it on.
#[test]
fn a_long_report_waits_for_room_and_its_end_is_told_with_it() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let mut system = system();
            let process = system.process();
            let witness = process.spawn(echo, ()).unwrap();
            ping(process, witness);
            let gate = Gate::new();
            let (_, monitor) = process
                .spawn_monitor(answer_at_length, (gate.address(),))
                .unwrap();

            let full = NoRoom::now();
            let open = gate.open();
            ping(process, witness);
            std::thread::scope(|scope| {
                scope.spawn(|| drop(full));
                let text = value::<String>(&reason(process, monitor));
                assert_eq!(text.len(), LONG);
            });
            drop(open);
            assert_works(process);
            assert_comes_to_rest(&system);
            system.stop();
        });
    });
}

/// The value is lost then, and what is told says so; that it ended is never lost.
#[test]
fn without_room_for_a_long_report_the_end_is_told_all_the_same() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let mut system = system();
            let process = system.process();
            let gate = Gate::new();
            let (_, monitor) = process
                .spawn_monitor(answer_at_length, (gate.address(),))
                .unwrap();
            let full = NoRoom::now();
            let open = gate.open();
            let told = reason(process, monitor).to_string();
            assert!(
                told.contains("could not be handed over") && told.contains("under way"),
                "{told}"
            );
            drop(full);
            drop(open);
            assert_works(process);
            system.stop();
        });
    });
}
