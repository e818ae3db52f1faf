//! Machines that lack things: each is taken away, and all goes on.
//!
//! A filter (seccomp(2)) lets the system calls fail for a host and all that it starts; the test itself looks from outside.

use std::process::Command;

use occ_core::{Builder, Cause, Down, ExitReason, Fallback, Process, SpawnError, SystemBuilder};
use occ_test_support::dead::gone;
use occ_test_support::in_flight::be_a_user_of_its_own;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, isolated, raw, role, skipped};
use rustix::process::setsid;

use crate::{code, ping, signal, stay, value};

/// By its name, what is taken away.
pub(crate) fn take_away(what: &str) {
    const P_PIDFD: u32 = 3;
    match what {
        "nothing" => {}
        "clone3" => raw::refuse(&[(libc::SYS_clone3, None, libc::ENOSYS)]),
        "pidfds" => raw::refuse(&[
            (libc::SYS_pidfd_open, None, libc::ENOSYS),
            (libc::SYS_pidfd_send_signal, None, libc::ENOSYS),
        ]),
        "pidfds, by a filter of a container" => raw::refuse(&[
            (libc::SYS_pidfd_open, None, libc::EPERM),
            (libc::SYS_pidfd_send_signal, None, libc::EPERM),
        ]),
        "waitid of a pidfd" => {
            raw::refuse(&[(libc::SYS_waitid, Some(P_PIDFD), libc::EINVAL)]);
        }
        "close_range" => raw::refuse(&[(libc::SYS_close_range, None, libc::ENOSYS)]),
        "all of it" => raw::refuse(&[
            (libc::SYS_clone3, None, libc::ENOSYS),
            (libc::SYS_pidfd_open, None, libc::ENOSYS),
            (libc::SYS_pidfd_send_signal, None, libc::ENOSYS),
            (libc::SYS_waitid, Some(P_PIDFD), libc::EINVAL),
            (libc::SYS_close_range, None, libc::ENOSYS),
        ]),
        other => panic!("{other}"),
    }
}

const ALL: [&str; 7] = [
    "nothing",
    "clone3",
    "pidfds",
    "pidfds, by a filter of a container",
    "waitid of a pidfd",
    "close_range",
    "all of it",
];

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn panics() {
    panic!("with words")
}

/// Leaves one behind that is in a session of its own, and gives its number.
fn strays() -> u32 {
    let (read, write) = rustix::pipe::pipe().unwrap();
    if raw::fork().is_none() {
        setsid().unwrap();
        if raw::fork().is_none() {
            let own = std::process::id().to_ne_bytes();
            rustix::io::write(&write, &own).unwrap();
            raw::stay()
        }
        raw::exit_now(0)
    }
    let mut pid = [0; 4];
    rustix::io::read(&read, &mut pid).unwrap();
    u32::from_ne_bytes(pid)
}

/// Waits without pidfds, which may be what is missing. The children of the dead are somebody's to reap.
fn until_gone(pid: u32) {
    let start = std::time::Instant::now();
    while std::fs::exists(format!("/proc/{pid}")).unwrap() {
        assert!(start.elapsed() < LIMIT, "{pid} lives");
        std::thread::yield_now();
    }
}

/// What a system is for.
fn all_goes_on(me: &mut Process) {
    let down = |me: &mut Process| me.receive::<Down>().unwrap();
    me.spawn_monitor(add, (2, 3)).unwrap();
    assert_eq!(value::<u64>(&down(me).reason), 5);
    me.spawn_monitor(panics, ()).unwrap();
    assert!(matches!(down(me).reason, ExitReason::Panic(_)));
    me.spawn_monitor(raw::exit_now, (7,)).unwrap();
    assert_eq!(code(&down(me).reason), 7);
    let (pid, _) = me.spawn_monitor(stay, ()).unwrap();
    me.kill(pid).unwrap();
    let told = down(me);
    assert_eq!(signal(&told.reason), libc::SIGKILL);
    let verdict = told.report.verdict.unwrap();
    assert!(matches!(verdict.cause, Cause::Killed { .. }), "{verdict}");
    let pid = me.spawn(crate::echo, ()).unwrap();
    ping(me, pid);

    let script = |text: &str| Builder::new().args(["-c", text]);
    me.spawn_exe_monitor(&script("exit 5"), "sh").unwrap();
    assert_eq!(code(&down(me).reason), 5);
    let (pid, _) = me
        .spawn_exe_monitor(&script("exec sleep 1000"), "sh")
        .unwrap();
    me.kill(pid).unwrap();
    assert_eq!(signal(&down(me).reason), libc::SIGKILL);
    assert!(me.spawn_exe(&Builder::new(), "/no/such/program").is_err());

    me.spawn_monitor(strays, ()).unwrap();
    until_gone(value::<u32>(&down(me).reason));
}

#[test]
fn role_host_that_lacks_something() {
    if role::is(occ_test_support::test_path!()) {
        let (say, what) = (Say::inherited("SAY"), std::env::var("LACKS").unwrap());
        take_away(&what);
        let lacks = Fallback::here().into_iter().map(|fallback| fallback.what);
        let lacks: Vec<_> = lacks.filter(|what| what.contains("pid")).collect();
        say.line(lacks.join(", "));
        // Twice: it is taken down, and nothing of it is in the way of the next.
        for spares in [0, 2] {
            let mut system = SystemBuilder::new().spares(spares).start().unwrap();
            all_goes_on(system.process());
            system.stop();
        }
        let spawner = occ_spawn::Spawner::new().unwrap();
        let mut child = spawner.spawn(add, (2_u64, 3_u64)).unwrap();
        assert!(matches!(child.wait().unwrap().reason, ExitReason::Value(_)));
        let mut child = spawner.spawn(stay, ()).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(signal(&child.wait().unwrap().reason), libc::SIGKILL);
        drop(spawner.spawn(add, (2_u64, 3_u64)).unwrap());
        drop(spawner);

        let mut system = SystemBuilder::new().start().unwrap();
        let coordinator = system.coordinator().get();
        let me = system.process();
        let (pid, _) = me
            .spawn_monitor(strays_and_stays, (say.address(),))
            .unwrap();
        let os_pid = me.os_pid(pid).unwrap();
        say.line(format!("{coordinator} {os_pid}"));
        raw::stay()
    }
}

pub(crate) fn strays_and_stays(ready: String) {
    let left = strays();
    Say::open(&ready).line(left);
    raw::stay()
}

/// Starts such a host, and gives what it says that it lacks, and who lives when it has done all there is to do.
fn host(command: &mut Command) -> (std::process::Child, String, Vec<u32>) {
    let (ready, say) = Ready::new();
    say.pass("SAY", command);
    let host = command.spawn().unwrap();
    drop(say);
    let lacks = ready.line(LIMIT);
    let lines = [ready.line(LIMIT), ready.line(LIMIT)];
    let all = lines.iter().flat_map(|line| line.split(' '));
    let all = all.map(|pid| pid.parse().unwrap()).collect();
    (host, lacks, all)
}

#[test]
fn whatever_is_missing_all_goes_on_and_nothing_is_left() {
    isolated!(|| {
        for what in ALL {
            let mut command = role::command("fallbacks::role_host_that_lacks_something");
            let (mut host, lacks, all) = host(command.env("LACKS", what));
            let expected = match what {
                "pidfds" | "pidfds, by a filter of a container" | "all of it" => {
                    "pidfd_open, waitid by pidfd"
                }
                "waitid of a pidfd" => "waitid by pidfd",
                _ => "",
            };
            assert_eq!(lacks, expected, "{what}");
            host.kill().unwrap();
            host.wait().unwrap();
            for one in all {
                gone(one, LIMIT);
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// A program that `prefix` starts, as the role; `None` where that cannot be had, as `true` shows in its place.
fn played_under(prefix: &[&str], path: &str) -> Option<Command> {
    let command = || {
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]);
        command
    };
    if !command().arg("true").status().is_ok_and(|it| it.success()) {
        return None;
    }
    let played = role::command(path);
    let mut command = command();
    command.arg(std::env::current_exe().unwrap());
    command.args(played.get_args());
    for (name, value) in played.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(command)
}

/// There the kernel names users and processes otherwise, in credentials as well.
#[test]
fn in_a_user_namespace_all_goes_on_and_nothing_is_left() {
    isolated!(|| {
        for how in ["--map-root-user", "--user"] {
            let prefix = ["unshare", how, "--"];
            let played = played_under(&prefix, "fallbacks::role_host_that_lacks_something");
            let Some(mut command) = played else {
                skipped("this user may not make a user namespace, or there is no unshare(1)");
                continue;
            };
            let (mut host, lacks, all) = host(command.env("LACKS", "nothing"));
            assert_eq!(lacks, "");
            host.kill().unwrap();
            host.wait().unwrap();
            for one in all {
                gone(one, LIMIT);
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// As in most containers: what is there in its place is no log. The kernel's count is what remains.
#[test]
fn without_the_kernels_log_an_out_of_memory_kill_is_told_by_the_count() {
    isolated!(|| {
        let script = "mount --bind /dev/null /dev/kmsg && exec \"$@\"";
        let prefix = ["unshare", "--mount", "--", "sh", "-c", script, "sh"];
        let Some(mut command) = played_under(&prefix, "fallbacks::role_host_without_a_log") else {
            return skipped("this user may not put another file in the place of /dev/kmsg");
        };
        let (ready, say) = Ready::new();
        say.pass("SAY", &mut command);
        let mut host = command.spawn().unwrap();
        drop(say);
        let told = ready.line(LIMIT);
        assert!(host.wait().unwrap().success());
        if let Some(why) = told.strip_prefix("not here: ") {
            return skipped(why);
        }
        let expected =
            "killed by the out-of-memory killer [probable: its control group counts such kills]";
        assert!(told.contains(expected), "{told}");
    });
}

fn eats() -> usize {
    let mut eaten = vec![0_u8; 100 << 20];
    for byte in eaten.iter_mut().step_by(4096) {
        *byte = 1;
    }
    std::hint::black_box(eaten).len()
}

#[test]
fn role_host_without_a_log() {
    if role::is(occ_test_support::test_path!()) {
        let say = Say::inherited("SAY");
        let lacks = Fallback::here();
        assert!(
            lacks.iter().any(|lack| lack.what == "the kernel's log"),
            "{lacks:?}"
        );
        let mut system = SystemBuilder::new().start().unwrap();
        let me = system.process();
        let limited = Builder::new().memory_max(32 << 20);
        match me.spawn_monitor_with(&limited, eats, ()) {
            Ok(_) => say.line(me.receive::<Down>().unwrap()),
            Err(error) => say.line(format!("not here: {error}")),
        }
        system.stop();
    }
}

/// For each limit, whether it was said beforehand that it cannot be had, and what a spawn with it says.
fn limits() -> Vec<(String, Option<String>, Option<String>)> {
    let lacks = Fallback::here();
    let mut system = SystemBuilder::new().start().unwrap();
    let me = system.process();
    let limits = [
        ("a limit on memory", Builder::new().memory_max(32 << 20)),
        ("a limit on the processors", Builder::new().cpu_max(0.5)),
    ];
    let told = limits.map(|(limit, builder)| {
        let lack = lacks.iter().find(|lack| lack.what == limit);
        let made = me.spawn_exe_monitor(&builder, "true");
        let refused = made.err().map(|error| match error {
            SpawnError::Unsupported { what, .. } => what,
            other => other.to_string(),
        });
        (limit.to_owned(), lack.map(ToString::to_string), refused)
    });
    system.stop();
    told.to_vec()
}

fn limits_as_another_user() -> Vec<(String, Option<String>, Option<String>)> {
    assert!(be_a_user_of_its_own(1000, false));
    limits()
}

#[test]
fn which_limits_can_be_had_is_told_before_a_spawn_says_it() {
    isolated!(|| {
        let here = limits();
        let mut system = SystemBuilder::new().start().unwrap();
        let me = system.process();
        let elsewhere = rustix::process::geteuid().is_root().then(|| {
            me.spawn_monitor(limits_as_another_user, ()).unwrap();
            value::<Vec<_>>(&me.receive::<Down>().unwrap().reason)
        });
        system.stop();
        for (limit, lack, refused) in here.iter().chain(elsewhere.iter().flatten()) {
            let said = lack.is_some().then(|| limit.clone());
            assert_eq!(refused, &said, "{lack:?}");
        }
        let Some(elsewhere) = elsewhere else {
            return skipped("only root can be another user");
        };
        for (limit, lack, _) in elsewhere {
            let lack = lack.unwrap();
            assert!(
                lack.starts_with(&format!("{limit} cannot be had here (")),
                "{lack}"
            );
            assert!(lack.ends_with("_max` is an error of the spawn"), "{lack}");
        }
    });
}
