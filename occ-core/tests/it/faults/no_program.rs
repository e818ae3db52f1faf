//! One that is to be a program, and is a function: its control socket would be in the hands of a user before it has begun.

use occ_core::protocol::{Care, NotSpawned, Reply, Request, Wanted};
use occ_spawn::Step;
use occ_spawn::entry::{Context, Descriptor, End};
use occ_test_support::isolated;

use super::until;
use crate::{down, raw, say, system, value};

fn stays(_: Context) -> End {
    raw::stay()
}

const STAYS: &Descriptor = &Descriptor::new(|| "stays", stays);

/// Asks for a program, and for one that is a function; what it is told.
fn asks_for_a_program_that_is_none(function: u64) -> String {
    let control = raw::control();
    let care = Care {
        executes: true,
        ..Care::default()
    };
    let wanted = Box::new(Wanted {
        function,
        care,
        ..Wanted::default()
    });
    let (id, monitor) = (1, None);
    say(
        &control,
        &Request::Spawn {
            id,
            monitor,
            wanted,
        },
    );
    match crate::hear(&control).decode().unwrap() {
        Reply::NotSpawned {
            why: NotSpawned::NotBegun(why),
            ..
        } if why.step == Step::Orders => why.what,
        other => format!("{other:?}"),
    }
}

#[test]
fn one_that_is_to_be_a_program_and_is_none_does_not_begin() {
    isolated!(|| {
        let mut system = system();
        let me = system.process();
        let made = me.spawn_monitor(asks_for_a_program_that_is_none, (STAYS.offset(),));
        let told = value::<String>(&down(me, made.unwrap().1).reason);
        assert!(told.contains("said to execute a program"), "{told}");
        until(|| me.processes().unwrap().len() == 1);
        system.stop();
    });
}
