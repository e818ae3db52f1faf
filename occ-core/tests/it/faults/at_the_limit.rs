//! A full system, many of whose processes end and as many of whose others ask for another, all in one breath.

use occ_core::protocol::Reply;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, isolated, tree};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::until;
use crate::spares::{spares, with_spares};
use crate::{
    Gate, a_spawn, assert_comes_to_rest, assert_works, hear, os_pid, raw, reason, say, signal,
    stay, system, try_kill, value, wait,
};

const FILES: u64 = 256;

/// Three quarters of that.
const FULL: usize = 192;

/// How many end, and how many ask: more than there are descriptors for whatever else.
const MANY: usize = 80;

/// Asks for one, and says so; what the answer was.
fn asks(ready: String, gate: String) -> String {
    let control = raw::control();
    let ready = Say::open(&ready);
    ready.ready();
    wait(gate);
    say(&control, &a_spawn(1, None, None));
    ready.ready();
    let reply: Reply = hear(&control).decode().unwrap();
    format!("{reply:?}")
}

#[test]
fn as_many_can_be_made_as_have_ended_all_at_once() {
    isolated!(|| {
        let limit = Rlimit {
            current: Some(FILES),
            maximum: Some(FILES),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut system = system();
        let coordinator = dead::Watch::of(system.coordinator().get());
        let process = system.process();
        let gate = Gate::new();
        let (ready, told) = Ready::new();
        let askers: Vec<_> = (0..MANY)
            .map(|_| {
                let args = (told.address(), gate.address());
                process.spawn_monitor(asks, args).unwrap()
            })
            .collect();
        for _ in 0..MANY {
            ready.wait(LIMIT);
        }
        let others: Vec<_> = (MANY..FULL)
            .map(|_| {
                let pid = process.spawn(stay, ()).unwrap();
                os_pid(process, pid)
            })
            .collect();
        assert!(process.spawn(stay, ()).is_err());

        coordinator.signal(Signal::STOP);
        for other in &others[..MANY] {
            try_kill(*other);
        }
        for other in &others[..MANY] {
            dead::gone(*other, LIMIT);
        }
        let _open = gate.open();
        for _ in 0..MANY {
            ready.wait(LIMIT);
        }
        coordinator.signal(Signal::CONT);
        for (_, monitor) in askers {
            let told: String = value(&reason(process, monitor));
            assert!(told.starts_with("Spawned"), "{told}");
        }
        assert_works(process);
        system.stop();
    });
}

#[test]
fn spares_are_made_again_when_a_full_system_is_not_full_any_more() {
    isolated!(|| {
        let limit = Rlimit {
            current: Some(64),
            maximum: Some(64),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut system = with_spares();
        spares(&mut system);
        let process = system.process();
        let mut all = Vec::new();
        while let Ok(spawned) = process.spawn_monitor(stay, ()) {
            all.push(spawned);
        }
        // Of those that had to go, none is left, and nobody waits for any.
        let coordinator = system.coordinator().get();
        until(|| tree::children(coordinator).len() == all.len() + 1);
        assert_comes_to_rest(&system);
        let process = system.process();
        for (pid, monitor) in all {
            process.kill(pid).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        }
        spares(&mut system);
        system.stop();
    });
}
