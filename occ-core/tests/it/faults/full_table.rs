//! The coordinator and the guard have one table of descriptors: the guard has room in it when the coordinator is killed.

use occ_test_support::dead::gone;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, isolated, role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fallbacks::{strays_and_stays, take_away};
use crate::{raw, stay, system, try_kill};

/// More than the host, and so the guard, may have open; and fewer than the coordinator may.
const SOFT: u64 = 64;
const MANY: u64 = 100;

#[test]
fn role_host_with_more_processes_than_descriptors() {
    if role::is(occ_test_support::test_path!()) {
        let say = Say::inherited("SAY");
        take_away(&std::env::var("LACKS").unwrap());
        let limit = Rlimit {
            current: Some(SOFT),
            ..getrlimit(Resource::Nofile)
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut system = system();
        let coordinator = system.coordinator();
        let me = system.process();
        for _ in 0..MANY {
            me.spawn(stay, ()).unwrap();
        }
        say.line(coordinator);
        me.spawn(strays_and_stays, (say.address(),)).unwrap();
        raw::stay()
    }
}

#[test]
fn what_is_left_is_killed_where_the_coordinator_had_more_open_than_the_guard_may() {
    isolated!(|| {
        for what in ["nothing", "close_range"] {
            let (ready, say) = Ready::new();
            let mut host =
                role::command("faults::full_table::role_host_with_more_processes_than_descriptors");
            say.pass("SAY", host.env("LACKS", what));
            let mut host = host.spawn().unwrap();
            drop(say);
            let (coordinator, stray) = (ready.pid(LIMIT), ready.pid(LIMIT));
            try_kill(coordinator);
            gone(coordinator, LIMIT);
            gone(stray, LIMIT);
            host.kill().unwrap();
            host.wait().unwrap();
            Token::own().wait_none_left(LIMIT);
        }
    });
}
