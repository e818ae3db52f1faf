//! Who is whose child, and who is in which group.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use occ_proc::{Change, Missing, OsPid, Snapshot, Stat, group_members, processes};
use occ_test_support::ready::Ready;
use occ_test_support::{LIMIT, isolated, within};

use crate::{Cat, assert_same, own, since};

#[test]
fn a_child_is_there_while_it_is() {
    isolated!(|| {
        let baseline = own();
        let cat = Cat::new();
        let os_pid = cat.os_pid();
        let diff = since(&baseline);
        let started = |change: &Change| matches!(change, Change::Started { os_pid: told, .. } if *told == os_pid);
        assert!(diff.changes().iter().any(started), "{diff}");
        assert!(processes().unwrap().contains(&os_pid));
        let seen = own();
        let children = seen.get(OsPid::own()).unwrap().children.clone();
        assert_eq!(children, Ok(BTreeSet::from([os_pid])));
        cat.end();
        assert_same(&baseline);
        assert!(!processes().unwrap().contains(&os_pid));
        assert_eq!(Stat::of(os_pid), Err(Missing::Gone));
    });
}

#[test]
fn a_tree_has_all_that_descend_from_its_root() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let script = format!("exec 3>{}; ", say.address());
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                &format!("{script} sh -c 'sleep 1000 & echo $! >&3; wait' & wait"),
            ])
            .process_group(0);
        let mut root = command.spawn().unwrap();
        let leaf = OsPid::new(ready.line(LIMIT).trim().parse().unwrap());
        drop(say);
        let root_pid = OsPid::new(root.id());
        let tree = Snapshot::tree(root_pid).unwrap();
        assert_eq!(tree.processes().count(), 3, "{tree}");
        let middle = tree.get(leaf).unwrap().stat.parent.unwrap();
        assert_eq!(tree.get(middle).unwrap().stat.parent, Some(root_pid));
        assert_eq!(
            tree.get(root_pid).unwrap().children,
            Ok(BTreeSet::from([middle]))
        );
        assert!(tree.get(OsPid::own()).is_none());
        assert_eq!(Snapshot::of(root_pid).unwrap().processes().count(), 1);

        let members = group_members(root.id()).unwrap();
        assert_eq!(members, BTreeSet::from([root_pid, middle, leaf]));
        let group = rustix::process::Pid::from_child(&root);
        rustix::process::kill_process_group(group, occ_test_support::Signal::KILL).unwrap();
        root.wait().unwrap();
        within(LIMIT, || {
            while !group_members(root.id()).unwrap().is_empty() {}
        });
    });
}

/// SQ-3, of a process that is none of a system.
#[test]
fn a_process_is_in_its_group_while_it_lives() {
    isolated!(|| {
        let group = Stat::of(OsPid::own()).unwrap().group;
        let before = group_members(group).unwrap();
        assert!(before.contains(&OsPid::own()));
        let cat = Cat::new();
        let os_pid = cat.os_pid();
        assert!(group_members(group).unwrap().contains(&os_pid));
        cat.end();
        assert!(!group_members(group).unwrap().contains(&os_pid));
    });
}

#[test]
fn a_process_that_becomes_another_program_or_joins_another_group_is_told() {
    isolated!(|| {
        let mut shell = Command::new("sh")
            .args(["-c", "read line; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let os_pid = OsPid::new(shell.id());
        within(LIMIT, || while Stat::of(os_pid).unwrap().name != "sh" {});
        let before = Snapshot::of(os_pid).unwrap();
        std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
        within(LIMIT, || while Stat::of(os_pid).unwrap().name != "cat" {});
        let diff = before.diff(&Snapshot::of(os_pid).unwrap());
        let renamed = diff
            .changes()
            .iter()
            .any(|change| matches!(change, Change::Renamed { after, .. } if after == "cat"));
        assert!(renamed, "{diff}");
        // An exec'd child's group is its own to change; so this is seen on one that changed before.
        let mut other = Command::new("cat")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        assert_eq!(Stat::of(OsPid::new(other.id())).unwrap().group, other.id());
        for child in [&mut shell, &mut other] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    });
}

#[test]
fn threads_are_counted() {
    isolated!(|| {
        let before = own();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv().is_err());
        let diff = since(&before);
        let [
            Change::Threads {
                before: old,
                after: new,
                ..
            },
        ] = diff.changes()
        else {
            panic!("{diff}")
        };
        assert_eq!(*new, old + 1);
        drop(stop);
        thread.join().unwrap();
        // Its end is told before the kernel has counted it.
        while !since(&before).is_empty() {}
    });
}
