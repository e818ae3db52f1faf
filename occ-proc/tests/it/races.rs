//! Processes that end, start, open and close while they are looked at.

use std::fs::File;
use std::process::Command;

use occ_proc::{Holders, Missing, OsPid, Snapshot, Stat, processes};
use occ_test_support::stress::times;
use occ_test_support::{isolated, meanwhile, raw};

use crate::own;

#[test]
fn descriptors_that_are_closed_meanwhile_are_there_or_not() {
    isolated!(|| {
        let churn = || {
            let files: Vec<_> = (0..50).map(|_| File::open("/dev/null").unwrap()).collect();
            let pair = std::os::unix::net::UnixStream::pair().unwrap();
            drop((files, pair));
        };
        meanwhile(churn, || {
            for _ in 0..times(200) {
                let seen = own();
                let fds = seen.get(OsPid::own()).unwrap().fds.clone().unwrap();
                assert!(fds.len() >= 3, "{seen}");
            }
        });
    });
}

/// Each that is seen is seen as one process, and those that have ended are gone, however far one had got with them.
#[test]
fn processes_that_end_meanwhile_are_there_or_gone() {
    isolated!(|| {
        let churn = || match raw::fork() {
            Some(pid) => drop(raw::wait_for(pid)),
            None => raw::exit_now(0),
        };
        let fresh = || match raw::fork() {
            Some(pid) => pid,
            None => raw::exit_now(0),
        };
        meanwhile(churn, || {
            for _ in 0..times(300) {
                let pid = fresh();
                match Snapshot::of(OsPid::new(pid)) {
                    Ok(seen) => {
                        let process = seen.get(OsPid::new(pid)).unwrap();
                        assert_eq!(process.stat.parent, Some(OsPid::own()));
                    }
                    Err(missing) => panic!("not reaped, so it is there: {missing}"),
                }
                raw::wait_for(pid);
                assert_eq!(Stat::of(OsPid::new(pid)).unwrap_err(), Missing::Gone);
                let tree = Snapshot::tree(OsPid::own()).unwrap();
                assert!(tree.get(OsPid::own()).is_some());
            }
            assert!(processes().unwrap().contains(&OsPid::own()));
        });
    });
}

#[test]
fn looking_at_everybody_while_processes_come_and_go_works() {
    isolated!(|| {
        let churn = || assert!(Command::new("true").status().unwrap().success());
        meanwhile(churn, || {
            for _ in 0..times(20) {
                Holders::now().unwrap();
                for pid in processes().unwrap() {
                    match Snapshot::of(pid) {
                        Ok(_) | Err(Missing::Gone) => {}
                        Err(missing) => panic!("{pid}: {missing}"),
                    }
                }
            }
        });
    });
}

/// The number of a process that has ended is another's: what was opened for the first says that it is gone.
#[test]
fn a_number_that_is_used_again_is_another_process() {
    isolated!(|| {
        let mut first = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let os_pid = OsPid::new(first.id());
        let before = Snapshot::of(os_pid).unwrap();
        drop(first.stdin.take());
        first.wait().unwrap();
        // The kernel hands the numbers out in turn; this says which was the last.
        let last = (os_pid.get() - 1).to_string();
        let mut second = loop {
            if std::fs::write("/proc/sys/kernel/ns_last_pid", &last).is_err() {
                return occ_test_support::skipped(
                    "this user may not choose a number for a process",
                );
            }
            let mut child = Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            if child.id() == os_pid.get() {
                break child;
            }
            drop(child.stdin.take());
            child.wait().unwrap();
        };
        let after = Snapshot::of(os_pid).unwrap();
        let diff = before.diff(&after);
        let lines = diff.to_string();
        assert!(
            lines.contains("is gone") && lines.contains("is there"),
            "{lines}"
        );
        drop(second.stdin.take());
        second.wait().unwrap();
    });
}
