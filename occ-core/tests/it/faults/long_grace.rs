//! A grace period longer than epoll_wait(2) can wait.

use std::time::Duration;

use occ_core::Builder;
use occ_test_support::ready::Ready;
use occ_test_support::{LIMIT, isolated, within};

use super::SOON;
use crate::exes::ignores_sigterm;
use crate::{reason, system};

#[test]
fn a_long_grace_period_where_epoll_pwait2_is_missing_is_no_hang() {
    isolated!(|| {
        occ_test_support::raw::refuse(&[(libc::SYS_epoll_pwait2, None, libc::ENOSYS)]);
        asks_and_goes_on();
    });
}

/// The control.
#[test]
fn a_long_grace_period_is_no_hang() {
    isolated!(asks_and_goes_on);
}

fn asks_and_goes_on() {
    let mut system = system();
    let me = system.process();
    let builder = Builder::new().grace(Duration::from_secs(30 * 24 * 3600));
    let (ready, say) = Ready::new();
    let made = me.spawn_monitor_with(&builder, ignores_sigterm, (say.address(),));
    let (pid, monitor) = made.unwrap();
    ready.wait(LIMIT);
    within(SOON, || me.terminate(pid)).unwrap();
    within(SOON, || me.processes().unwrap());
    me.kill(pid).unwrap();
    within(SOON, || reason(me, monitor));
    system.stop();
}
