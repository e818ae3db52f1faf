//! Faults that were there once, and that no other module is the place for.

use occ_core::protocol::Request;
use occ_core::{Down, Pid, Process, SendError};
use occ_test_support::{
    LIMIT, Signal, dead, isolated,
    ready::{Ready, Say},
    stress, within,
};

use crate::{
    Gate, code, is_asleep, me, raw, reason, say, signal, stay, system, try_kill, value, wait,
};

/// Sends more than the coordinator reads in one turn, and is dead when it reads the rest.
fn chatter_and_die() {
    let control = raw::control();
    for _ in 0..200 {
        let garbage = std::io::IoSlice::new(b"garbage");
        control
            .send(&[garbage], &[], occ_sck::Deadline::Never)
            .unwrap();
    }
    raw::die_by(libc::SIGKILL);
}

fn end_with_3() {
    raw::exit_now(3)
}

/// Makes the next new process of the machine get this OS pid, if it is free.
fn next_os_pid(os_pid: u32) -> bool {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (os_pid - 1).to_string()).is_ok()
}

/// A process that was reaped before its hang-up was read stayed on the list of those to ask the kernel about. Once its
/// number was another's, that one's end was taken for its own, and told to nobody.
#[test]
fn an_os_pid_that_is_used_again_is_the_new_ones() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let mut again = 0;
        for _ in 0..stress::times(100) {
            let (pid, monitor) = process.spawn_monitor(chatter_and_die, ()).unwrap();
            let os_pid = process.os_pid(pid);
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
            let Ok(os_pid) = os_pid else { continue };
            if !next_os_pid(os_pid.get()) {
                occ_test_support::skipped("/proc/sys/kernel/ns_last_pid cannot be written");
                break;
            }
            let (_, monitor) = process.spawn_monitor(end_with_3, ()).unwrap();
            let down = within(LIMIT, || crate::down(process, monitor));
            assert_eq!(code(&down.reason), 3);
            again += u32::from(down.report.os_pid == Some(os_pid));
        }
        println!("{again} OS pids were used again");
        system.stop();
    });
}

/// A monitor under a number that was in use took the place of the first in one table and not in the other.
#[test]
fn a_request_to_monitor_under_a_number_in_use_changes_nothing() {
    fn twice(first: Pid, second: Pid) -> (i32, bool) {
        let monitor = me(|me| me.monitor(first)).unwrap();
        let control = raw::control();
        say(
            &control,
            &Request::Monitor {
                number: 1,
                target: second,
            },
        );
        me(|me| {
            me.kill(second).unwrap();
            me.kill(first).unwrap();
            let down: Down = Process::receive(me).unwrap();
            let killed = signal(&down.reason);
            (killed, down.monitor == monitor && down.pid == first)
        })
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let two = [(); 2].map(|()| process.spawn(stay, ()).unwrap());
        let (_, monitor) = process.spawn_monitor(twice, (two[0], two[1])).unwrap();
        let told = within(LIMIT, || reason(process, monitor));
        assert_eq!(value::<(i32, bool)>(&told), (libc::SIGKILL, true));
        system.stop();
    });
}

/// Two wishes for a connection that crossed left an answer that nobody waited for, and that was taken for the answer
/// to the next question about the same process.
#[test]
fn the_answer_to_a_wish_that_crossed_another_is_not_that_to_the_next() {
    fn want(whom: Pid, gate: String, ready: String) {
        let control = raw::control();
        wait(gate);
        let standing = occ_inbox::Standing::New;
        let (id, to) = (1, whom);
        say(&control, &Request::Connect { id, to, standing });
        Say::open(&ready).ready();
        raw::stay()
    }
    isolated!(|| {
        let mut system = system();
        let coordinator = dead::Watch::of(system.coordinator().get());
        let process = system.process();
        for _ in 0..stress::times(20) {
            let gate = Gate::new();
            let (ready, told) = Ready::new();
            let args = (process.self_pid(), gate.address(), told.address());
            let pid = process.spawn(want, args).unwrap();
            let os_pid = crate::os_pid(process, pid);
            coordinator.signal(Signal::STOP);
            let _open = gate.open();
            ready.wait(LIMIT);
            // Its wish is there; ours comes second.
            let here = rustix::thread::gettid()
                .as_raw_nonzero()
                .get()
                .unsigned_abs();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    within(LIMIT, || while !is_asleep(here) {});
                    coordinator.signal(Signal::CONT);
                });
                within(LIMIT, || process.send(pid, &1_u8).unwrap());
            });
            try_kill(os_pid);
            dead::gone(os_pid, LIMIT);
            // Its end of the connection was never taken out of its socket, and goes a little later.
            let error = within(LIMIT, || {
                loop {
                    if let Err(error) = process.send(pid, &1_u8) {
                        break error;
                    }
                }
            });
            assert!(matches!(error, SendError::NoProcess { .. }), "{error}");
        }
        system.stop();
    });
}
