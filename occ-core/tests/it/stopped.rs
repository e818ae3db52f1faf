//! A coordinator that is stopped, and a control socket that is full: who asks waits for as long as it wants to, and nobody
//! else does.

use std::thread;
use std::time::Duration;

use occ_core::{Pid, Process, SendError};
use occ_test_support::{LIMIT, isolated, raw, within};

use crate::{assert_works, echo, me, ping, reason, system, value};

/// More questions than the control socket holds.
const QUESTIONS: u64 = 5_000;

/// Zero would be as `try_send`, which waits for a second where there is somebody to ask.
const AT_ONCE: Duration = Duration::from_nanos(1);

#[track_caller]
fn is_full(result: Result<(), SendError>, whom: Pid) {
    assert!(
        matches!(result, Err(SendError::Full { to }) if to == whom),
        "{result:?}"
    );
}

#[test]
fn threads_of_a_process_whose_control_socket_is_full_wait_for_no_longer_than_they_want() {
    isolated!(|| within(LIMIT, || {
        let mut system = system();
        let coordinator = system.coordinator().get() as i32;
        let process = system.process();
        let echo = process.spawn(echo, ()).unwrap();
        ping(process, echo);
        let (own, handle) = (process.self_pid(), process.handle().unwrap());
        let nobody = |serial: u64| Pid {
            serial: u64::MAX - serial,
            ..own
        };
        raw::kill(coordinator, libc::SIGSTOP);
        for serial in 1..=QUESTIONS {
            let whom = nobody(serial);
            is_full(handle.send_timeout(whom, 1_u8, AT_ONCE), whom);
        }
        thread::scope(|scope| {
            let handle = &handle;
            let patient = scope.spawn(move || handle.send(nobody(0), 1_u8));
            scope.spawn(move || {
                // There is nobody who could answer within a second.
                for serial in 1..=1_000 {
                    is_full(handle.try_send(nobody(serial), 1_u8), nobody(serial));
                }
                let limit = Duration::from_millis(20);
                is_full(handle.send_timeout(nobody(1), 1_u8, limit), nobody(1));
                // Who is connected is not concerned.
                handle.send(echo, (own, 8_u64)).unwrap();
                raw::kill(coordinator, libc::SIGCONT);
            });
            // The thread that receives waits for an answer of its own, and is not in the way of the others.
            assert_eq!(process.processes().unwrap().len(), 2);
            let patient = patient.join().unwrap();
            assert!(
                matches!(patient, Err(SendError::NoProcess { to }) if to == nobody(0)),
                "{patient:?}"
            );
        });
        assert_eq!(process.receive::<u64>().unwrap(), 8);
        assert_works(process);
        system.stop();
    }));
}

/// The coordinator does not read who is far behind with its answers, so who waits to be read looks at them.
#[test]
fn who_waits_for_room_to_ask_hears_what_it_is_told_meanwhile() {
    fn many_questions() -> u64 {
        let (own, handle) = me(|me| (me.self_pid(), me.handle().unwrap()));
        let nobody = |serial: u64| Pid {
            serial: u64::MAX - serial,
            ..own
        };
        for serial in 0..10 * QUESTIONS {
            let _ = handle.send_timeout(nobody(serial), 1_u8, AT_ONCE);
        }
        me(Process::processes).unwrap().len() as u64
    }
    isolated!(|| within(LIMIT, || {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(many_questions, ()).unwrap();
        assert_eq!(value::<u64>(&reason(process, monitor)), 2);
        assert_works(process);
        system.stop();
    }));
}
