//! Somebody holds the control socket of what is to be a program: that it has executed it, or has ended, its socket does not tell.

use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use occ_core::{Builder, MonitorRef, Pid, Process, SystemError};
use occ_test_support::{isolated, skipped, tree, within};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::{SOON, until};
use crate::{assert_works, down, me, raw, reason, signal, system, try_kill, value};

/// A function that asks for a program: who it was, and how it ended.
fn asks_and_is_told(program: String) -> (Pid, i32) {
    // It reads what nobody writes.
    let (stdin, _writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let builder = Builder::new().stdin(stdin);
    let (pid, monitor) = me(|me| me.spawn_exe_monitor(&builder, &program)).unwrap();
    (pid, signal(&me(|me| reason(me, monitor))))
}

/// A program that nobody can execute for as long as this lives: whoever opens it waits for the end of the lease.
pub(crate) struct Slow {
    pub(crate) path: PathBuf,
    leased: File,
}

impl Slow {
    pub(crate) fn new() -> Slow {
        let path = std::env::temp_dir().join(format!("occ-held-{}", std::process::id()));
        std::fs::copy("/bin/cat", &path).unwrap();
        let leased = File::options().read(true).write(true).open(&path).unwrap();
        assert!(raw::lease(&leased));
        Slow { path, leased }
    }

    fn path(&self) -> (String,) {
        (self.path.to_string_lossy().into_owned(),)
    }

    /// From here on it is executed.
    pub(crate) fn quicken(self) {
        drop(self.leased);
    }
}

/// One that has asked for a program, and what is to be that, which waits for it with its first word said.
pub(crate) fn one_that_waits(me: &mut Process, coordinator: u32, slow: &Slow) -> (MonitorRef, u32) {
    let before = tree::children(coordinator);
    let (asker, monitor) = me.spawn_monitor(asks_and_is_told, slow.path()).unwrap();
    let asker = me.os_pid(asker).unwrap().get();
    let others = || {
        let mut children = tree::children(coordinator);
        children.retain(|child| *child != asker && !before.contains(child));
        children
    };
    until(|| matches!(others()[..], [one] if crate::is_asleep(one)));
    (monitor, others()[0])
}

/// A descriptor of another process; `None` where that cannot be had.
pub(crate) fn descriptor_of(os_pid: u32, number: RawFd) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(os_pid.cast_signed()).unwrap();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).ok()
}

#[test]
fn what_ends_before_it_is_a_program_is_told_of_though_its_socket_is_held() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let me = system.process();
        let slow = Slow::new();
        let (monitor, os_pid) = one_that_waits(me, coordinator, &slow);
        let Some(held) = descriptor_of(os_pid, 3) else {
            std::fs::remove_file(&slow.path).unwrap();
            within(SOON, || system.stop());
            return skipped("the descriptors of a child may not be taken");
        };
        std::fs::remove_file(&slow.path).unwrap();
        try_kill(os_pid);
        let told = within(SOON, || down(me, monitor).reason);
        let (pid, signal) = value::<(Pid, i32)>(&told);
        assert_eq!(signal, libc::SIGKILL);
        // Its number may be anybody's by now: nobody is killed under its name.
        let killed = me.kill(pid);
        assert!(
            matches!(killed, Err(SystemError::NoProcess { .. })),
            "{killed:?}"
        );
        assert_works(me);
        within(SOON, || system.stop());
        drop(held);
    });
}

/// The counterpart: it lives, and is a process like any other as soon as nobody holds its socket.
#[test]
fn what_lives_and_becomes_a_program_is_one_when_its_socket_is_let_go() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let me = system.process();
        let slow = Slow::new();
        let (monitor, os_pid) = one_that_waits(me, coordinator, &slow);
        let held = descriptor_of(os_pid, 3);
        std::fs::remove_file(&slow.path).unwrap();
        slow.quicken();
        drop(held);
        let listed = |me: &mut Process| {
            let mut list = me.processes().unwrap();
            list.retain(|one| one.os_pid.is_some_and(|known| known.get() == os_pid));
            list.first().map(|one| one.pid)
        };
        until(|| listed(me).is_some());
        let pid = listed(me).unwrap();
        me.kill(pid).unwrap();
        let told = within(SOON, || down(me, monitor).reason);
        assert_eq!(value::<(Pid, i32)>(&told).1, libc::SIGKILL);
        within(SOON, || system.stop());
    });
}
