//! Control groups when the guard is killed.

use std::path::PathBuf;

use crate::levels::groups_left;
use crate::{stay, system, try_kill};
use occ_core::{Builder, Containment};
use occ_test_support::dead::gone;
use occ_test_support::{LIMIT, isolated, skipped};

#[test]
fn no_control_group_is_left_when_the_guard_is_killed() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let guard = occ_test_support::stat::Stat::of(coordinator)
            .unwrap()
            .parent;
        let me = system.process();
        let builder = Builder::new()
            .containment(Containment::ControlGroup)
            .cpu_max(0.5);
        let incarnation = me.self_pid().incarnation;
        let pid = match me.spawn_with(&builder, stay, ()) {
            Ok(pid) => pid,
            Err(error) => return skipped(&error.to_string()),
        };
        let os_pid = me.os_pid(pid).unwrap().get();
        assert!(!groups_left(incarnation).is_empty());
        try_kill(guard);
        gone(os_pid, LIMIT);
        gone(coordinator, LIMIT);
        drop(system);
        assert_eq!(groups_left(incarnation), Vec::<PathBuf>::new());
    });
}
