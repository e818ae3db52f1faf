//! Command lines, also of processes that keep whoever reads them waiting.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use occ_proc::{Missing, OsPid, Snapshot, command_line};
use occ_test_support::{LIMIT, isolated, within};

use crate::Cat;

#[test]
fn the_arguments_of_a_process_are_as_they_were_given() {
    isolated!(|| {
        let words = ["-c", "read line", "with space", "", "new\nline"];
        let mut not_utf8 = words.map(OsString::from).to_vec();
        not_utf8.push(OsString::from_vec(vec![0xff, 0xfe]));
        let mut shell = Command::new("sh")
            .args(&not_utf8)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut expected = vec![OsString::from("sh")];
        expected.extend(not_utf8);
        within(LIMIT, || {
            // Until the exec is complete.
            while command_line(OsPid::new(shell.id()), LIMIT) != Ok(expected.clone()) {}
        });
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(
            command_line(OsPid::new(shell.id()), LIMIT),
            Err(Missing::Gone)
        );
    });
}

#[test]
fn a_zombie_has_no_arguments_any_more() {
    isolated!(|| {
        let mut cat = Cat::new().started();
        drop(cat.0.stdin.take());
        let pid = rustix::process::Pid::from_child(&cat.0);
        let options =
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        assert_eq!(command_line(cat.os_pid(), LIMIT), Ok(Vec::new()));
        cat.0.wait().unwrap();
    });
}

/// A process that is stuck in the kernel keeps whoever reads its arguments waiting. So does this reader.
#[test]
fn a_reader_that_gets_stuck_is_ended_in_time_and_all_else_is_seen() {
    isolated!(|| {
        let folder = std::env::temp_dir().join(format!("occ-proc-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let stuck = folder.join("cat");
        std::fs::write(&stuck, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&stuck, Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut first = folder.clone().into_os_string();
        first.push(":");
        first.push(path);
        set_path(&first);

        let (limit, start) = (Duration::from_millis(100), Instant::now());
        let told = within(LIMIT, || command_line(OsPid::own(), limit));
        assert_eq!(told, Err(Missing::TimedOut));
        assert!(start.elapsed() >= limit);
        let seen = Snapshot::of(OsPid::own()).unwrap();
        assert!(seen.get(OsPid::own()).unwrap().fds.is_ok());

        set_path(&folder);
        std::fs::remove_file(stuck).unwrap();
        let told = command_line(OsPid::own(), LIMIT);
        assert_eq!(told, Err(Missing::Unsupported), "there is no cat(1)");
        std::fs::remove_dir(folder).unwrap();
    });
}

#[expect(unsafe_code, reason = "sets the environment")]
fn set_path(path: impl AsRef<OsStr>) {
    // SAFETY: no other thread of this process looks at its environment.
    unsafe { std::env::set_var("PATH", path) };
}
