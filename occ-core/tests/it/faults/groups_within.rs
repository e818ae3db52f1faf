//! Control groups within those of a process.

use std::path::PathBuf;

use occ_core::{Builder, Containment, SpawnError};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated, skipped, within};

use super::{SOON, until};
use crate::levels::groups_left;
use crate::{raw, reason, signal, stay, system};

fn in_a_group() -> Builder {
    Builder::new().containment(Containment::ControlGroup)
}

#[test]
fn no_control_group_is_left_of_one_that_made_groups_within_it() {
    isolated!(|| {
        let mut system = system();
        let me = system.process();
        let incarnation = me.self_pid().incarnation;
        let script = "p=$(sed -n 's/^0:://p' /proc/self/cgroup); mkdir /sys/fs/cgroup/unified$p/within \
                      /sys/fs/cgroup$p/within 2>/dev/null; exec sleep 1000";
        let made = me.spawn_exe_monitor(&in_a_group().args(["-c", script]), "sh");
        let (pid, monitor) = match made {
            Ok(made) => made,
            Err(SpawnError::Unsupported { what, why }) => {
                return skipped(&format!("{what}: {why}"));
            }
            Err(error) => panic!("{error}"),
        };
        let mine = groups_left(incarnation);
        assert!(!mine.is_empty());
        until(|| mine.iter().any(|group| group.join("within").exists()));
        me.kill(pid).unwrap();
        assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
        within(SOON, || system.stop());
        assert_eq!(groups_left(incarnation), Vec::<PathBuf>::new());
    });
}

fn a_system_with_a_group_within(ready: String) {
    let mut system = system();
    let me = system.process();
    me.spawn_with(&in_a_group(), stay, ()).unwrap();
    Say::open(&ready).ready();
    raw::stay()
}

#[test]
fn no_control_group_is_left_of_a_system_within_that_has_groups_of_its_own() {
    isolated!(|| {
        let mut system = system();
        let me = system.process();
        let incarnation = me.self_pid().incarnation;
        let (ready, say) = Ready::new();
        let args = (say.address(),);
        let made = me.spawn_monitor_with(&in_a_group(), a_system_with_a_group_within, args);
        let (pid, monitor) = match made {
            Ok(made) => made,
            Err(error) => return skipped(&error.to_string()),
        };
        ready.wait(LIMIT);
        me.kill(pid).unwrap();
        assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
        within(SOON, || system.stop());
        assert_eq!(groups_left(incarnation), Vec::<PathBuf>::new());
    });
}
