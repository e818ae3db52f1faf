//! No room for descriptors that are under way: a request waits for some, and gives up by name.

use occ_sck::SendError;
use occ_spawn::{SpawnError, Spawner};
use occ_test_support::in_flight::{NoRoom, be_a_user_of_its_own};
use occ_test_support::{LIMIT, isolated, within};

use crate::{Echo, end_of, value};

const ROOM: u64 = 40;
const LONG: usize = 1 << 20;

/// Answers until it is not asked any more, and ends with something long.
fn answer_at_length(socket: occ_sck::Socket) -> String {
    crate::echo(socket).unwrap();
    "v".repeat(LONG)
}

#[test]
fn a_spawn_waits_for_room_and_one_that_waits_in_vain_is_an_error_and_costs_nothing() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let spawner = Spawner::new().unwrap();
            let mut echo = Echo::new(&spawner);
            let full = NoRoom::now();
            let error = spawner.spawn(|| (), ()).unwrap_err();
            let SpawnError::Io { op, source } = &error else {
                panic!("{error:?}")
            };
            assert_eq!(*op, "sendmsg");
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
            assert!(
                matches!(inner, Some(SendError::TooManyInFlight { limit: ROOM })),
                "{error:?}"
            );
            echo.ping();

            std::thread::scope(|scope| {
                let spawn = scope.spawn(|| spawner.spawn(|| 7_u8, ()));
                drop(full);
                let mut child = spawn.join().unwrap().unwrap();
                assert_eq!(value::<u8>(&end_of(&mut child)), 7);
            });
            echo.ping();
        });
    });
}

/// What a process says last needs a descriptor if it is long. It has no use for a limit any more.
#[test]
fn the_soft_limit_is_not_in_the_way_of_last_words() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, false) {
            return;
        }
        within(LIMIT, || {
            let spawner = Spawner::new().unwrap();
            let (mut child, socket) = spawner.spawn_with_socket(answer_at_length, ()).unwrap();
            let _full = NoRoom::now();
            drop(socket);
            assert_eq!(value::<String>(&end_of(&mut child)).len(), LONG);
        });
    });
}

/// Where the hard limit is, it waits, and if that is in vain its end is told with the reason why.
#[test]
fn last_words_wait_for_room_and_are_missed_by_name() {
    isolated!(|| {
        if !be_a_user_of_its_own(ROOM, true) {
            return;
        }
        within(LIMIT, || {
            let spawner = Spawner::new().unwrap();
            let (mut child, socket) = spawner.spawn_with_socket(answer_at_length, ()).unwrap();
            let full = NoRoom::now();
            drop(socket);
            let exit = end_of(&mut child);
            drop(full);
            let reason = exit.reason.to_string();
            for word in ["could not be handed over", "under way", "40"] {
                assert!(reason.contains(word), "{reason}");
            }
        });
    });
}
