//! What a process has open.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use occ_proc::{Change, FdTarget, Missing, OsPid, Snapshot};
use occ_test_support::pty::Pty;
use occ_test_support::{LIMIT, Signal, isolated, role};
use rustix::event::epoll;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::{Cat, assert_same, opened, own, since};

/// Plays a program at a terminal, which looks at itself.
#[test]
fn role_at_a_terminal() {
    if role::is(occ_test_support::test_path!()) {
        let before = own();
        for number in 0..3 {
            let fd = before.get(OsPid::own()).unwrap().fd(number).unwrap();
            assert!(fd.is_terminal(), "{fd}");
        }
        let file = File::open("/dev/null").unwrap();
        let new = opened(&since(&before));
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(new[0].number, file.as_raw_fd());
        assert_eq!(new[0].target, FdTarget::Path("/dev/null".into()));
        assert!(new[0].socket().is_none() && !new[0].is_terminal());
        drop(file);
        assert_same(&before);
        println!("all of it is true");
    }
}

/// SQ-1
#[test]
fn the_first_three_are_terminals_and_a_file_is_one_entry_more_until_it_is_closed() {
    isolated!(|| {
        let mut terminal = Pty::new();
        let mut program = terminal.spawn(role::command("descriptors::role_at_a_terminal"));
        let said = terminal.read_to_end(LIMIT);
        assert!(program.wait().unwrap().success(), "{said}");
        assert!(said.contains("all of it is true"), "{said}");
    });
}

#[test]
fn each_kind_is_told_by_what_it_is() {
    isolated!(|| {
        let before = own();
        let kinds = |expected: &[FdTarget]| {
            let seen: Vec<_> = opened(&since(&before))
                .into_iter()
                .map(|fd| fd.target)
                .collect();
            assert_eq!(seen, expected);
        };
        kinds(&[]);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        kinds(&[FdTarget::Anonymous("eventpoll".into())]);
        drop(epoll);
        let memory = memfd_create("its name", MemfdFlags::CLOEXEC).unwrap();
        kinds(&[FdTarget::Memory("its name".into())]);
        drop(memory);
        let pipe = std::io::pipe().unwrap();
        let ends = opened(&since(&before));
        let [FdTarget::Pipe(one), FdTarget::Pipe(other)] = [&ends[0].target, &ends[1].target]
        else {
            panic!("{ends:?}")
        };
        assert_eq!(one, other);
        drop(pipe);
        assert_same(&before);
    });
}

#[test]
fn a_pidfd_says_of_whom_until_that_one_is_gone() {
    isolated!(|| {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let before = own();
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let new = opened(&since(&before));
        let os_pid = Ok(OsPid::new(child.id()));
        assert_eq!(new[0].target, FdTarget::Pidfd { os_pid });
        let alive = own();
        child.kill().unwrap();
        child.wait().unwrap();
        let diff = since(&alive);
        let became = diff.changes().iter().find_map(|change| match change {
            Change::Became { after, .. } => Some(after.target.clone()),
            _ => None,
        });
        let gone = FdTarget::Pidfd {
            os_pid: Err(Missing::Gone),
        };
        assert_eq!(became, Some(gone), "{diff}");
        drop(pidfd);
    });
}

#[test]
fn what_was_deleted_or_replaced_under_its_number_is_told() {
    isolated!(|| {
        let path = std::env::temp_dir().join(format!("occ-proc-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let before = own();
        std::fs::remove_file(&path).unwrap();
        let diff = since(&before);
        assert!(diff.to_string().contains("(deleted)"), "{diff}");

        let before = own();
        let mut other = rustix::io::fcntl_dupfd_cloexec(&file, 0).unwrap();
        rustix::io::dup2(File::open("/dev/null").unwrap(), &mut other).unwrap();
        drop(file);
        let diff = since(&before);
        assert_eq!(diff.changes().len(), 2, "{diff}");
    });
}

/// Of another process, as of this one.
#[test]
fn another_process_is_seen_as_this_one_is() {
    isolated!(|| {
        let cat = Cat::new().started();
        let seen = Snapshot::of(cat.os_pid()).unwrap();
        let process = seen.get(cat.os_pid()).unwrap();
        assert_eq!(process.stat.name, "cat");
        assert_eq!(process.stat.parent, Some(OsPid::own()));
        let fds = process.fds.as_ref().unwrap();
        // And what this program was given by whoever does not close what it has open.
        let numbers: Vec<_> = fds.iter().take(3).map(|fd| fd.number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert!(matches!(fds[0].target, FdTarget::Pipe(_)), "{}", fds[0]);
        assert!(
            process
                .exe
                .as_ref()
                .unwrap()
                .to_string_lossy()
                .ends_with("cat")
        );
        let usage = &process.usage;
        assert!(usage.rss.unwrap() > 0 && usage.peak_rss.unwrap() >= usage.rss.unwrap() / 2);
        assert!(usage.io.as_ref().unwrap().written >= Some(1));
        cat.end();
    });
}

/// A zombie has nothing open, and says so.
#[test]
fn a_zombie_is_told_as_one() {
    isolated!(|| {
        let mut cat = Cat::new().started();
        let os_pid = cat.os_pid();
        let before = Snapshot::of(os_pid).unwrap();
        let watch = occ_test_support::dead::Watch::of(os_pid.get());
        watch.signal(Signal::KILL);
        // Dead to its pidfd, and not reaped.
        let pid = rustix::process::Pid::from_child(&cat.0);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        let zombie = Snapshot::of(os_pid).unwrap();
        assert!(zombie.get(os_pid).unwrap().is_zombie());
        assert_eq!(zombie.get(os_pid).unwrap().fds, Ok(Vec::new()));
        let diff = before.diff(&zombie);
        assert!(
            matches!(diff.changes(), [Change::Zombie { os_pid: told, .. }] if *told == os_pid),
            "{diff}"
        );
        cat.0.wait().unwrap();
        assert_eq!(Snapshot::of(os_pid).unwrap_err(), Missing::Gone);
    });
}
