//! A guard that is stopped while the coordinator is killed.

use occ_core::ReceiveError;
use occ_test_support::{LIMIT, dead, isolated, within};

use super::until;
use crate::{raw, stay, system, try_kill};

/// The descriptors of the coordinator are open until the guard closes them, and the host is told all the same.
#[test]
fn a_host_is_told_that_the_coordinator_died_while_its_guard_is_stopped() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let guard = crate::Stat::of(coordinator).unwrap().parent;
        let me = system.process();
        let process = me.spawn(stay, ()).unwrap();
        let process = me.os_pid(process).unwrap().get();
        raw::signal(guard, libc::SIGSTOP);
        until(|| crate::Stat::of(guard).unwrap().state == 'T');
        // The control: that the guard is stopped tells nobody anything.
        assert_eq!(me.processes().unwrap().len(), 2);

        try_kill(coordinator);
        let received = within(LIMIT, || me.receive::<u8>());
        assert!(
            matches!(received, Err(ReceiveError::SystemDown)),
            "{received:?}"
        );
        dead::gone(process, LIMIT);
        raw::signal(guard, libc::SIGCONT);
        within(LIMIT, || system.stop());
        dead::gone(guard, LIMIT);
    });
}
