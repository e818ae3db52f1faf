//! What a process forked and executed itself ends with it, however far it strayed; the rest is untouched.
//!
//! Each way to stray has its control: made by a bare zygote, which contains nothing, it survives.

use std::os::unix::process::CommandExt;
use std::process::Command;

use occ_core::{Evidence, Process, SpawnError};
use occ_spawn::{ExitReason as Reason, Spawner};
use occ_test_support::alive::alive;
use occ_test_support::cgroup::Cgroup;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::stray::fork_and_hear;
use occ_test_support::stress::times;
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, dead, isolated, raw, role, skipped, within};
use rustix::process::setsid;

use crate::{Gate, assert_works, down, echo, ping, reason, signal, system, try_kill, value, wait};

/// Strays in one way, and gives who is left.
fn stray(way: String) -> u32 {
    match way.as_str() {
        "one whose main thread has ended" => fork_and_hear(|say| {
            std::thread::spawn(|| raw::stay());
            say(std::process::id());
            crate::raw::end_thread()
        }),
        way => occ_test_support::stray::stray(way),
    }
}

const SESSION: &str = "a session of its own";

const WAYS: [&str; 7] = [
    "one whose main thread has ended",
    "a fork",
    "a fork of a fork, whose parent has ended",
    "a session of its own",
    "one that ignores SIGTERM and SIGHUP",
    "a program",
    "a program of a shell's, in a session of its own",
];

#[test]
fn whatever_strays_ends_with_its_process_and_is_told_of() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for way in WAYS {
            for _ in 0..times(3) {
                let (_, monitor) = process.spawn_monitor(stray, (way.to_owned(),)).unwrap();
                let down = down(process, monitor);
                let left = value::<u32>(&down.reason);
                dead::gone(left, LIMIT);
                let told = down.report.evidence.iter().any(|piece| {
                    matches!(piece, Evidence::LeftBehind { os_pid, .. } if os_pid.get() == left)
                });
                assert!(told, "{way}: {:?}", down.report.evidence);
            }
        }
        assert_works(process);
        system.stop();
    });
}

/// The control.
#[test]
fn what_strays_from_a_process_of_a_bare_zygote_survives() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        for way in WAYS {
            let mut child = spawner.spawn(stray, (way.to_owned(),)).unwrap();
            let exit = within(LIMIT, || child.wait().unwrap());
            let Reason::Value(left) = exit.reason else {
                panic!("{way}: {}", exit.reason)
            };
            let left = left.get::<u32>().unwrap();
            assert!(alive(left), "{way}");
            try_kill(left);
            dead::gone(left, LIMIT);
        }
    });
}

/// It ends by SIGKILL, and has no say in it.
#[test]
fn what_a_killed_process_left_ends_too() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for way in WAYS {
            let (ready, say) = Ready::new();
            let args = (say.address(), way.to_owned());
            let (pid, monitor) = process.spawn_monitor(stray_and_stay, args).unwrap();
            let left = ready.pid(LIMIT);
            // While its process lives, it does: also one whose parent has ended, which is the coordinator's child now.
            process.processes().unwrap();
            assert!(alive(left), "{way}");
            process.kill(pid).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
            dead::gone(left, LIMIT);
        }
        system.stop();
    });
}

/// What one leaves ends with that one and with nobody else.
#[test]
fn the_rest_is_untouched() {
    fn stray_and_wait(gate: String, ready: String) {
        let daemon = stray(SESSION.to_owned());
        Say::open(&ready).line(daemon);
        wait(gate);
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let witness = process.spawn(echo, ()).unwrap();
        let gate = Gate::new();
        let (ready, say) = Ready::new();
        let args = (gate.address(), say.address());
        let (_, monitor) = process.spawn_monitor(stray_and_wait, args).unwrap();
        let daemon = ready.pid(LIMIT);
        for _ in 0..times(20) {
            let (_, monitor) = process.spawn_monitor(stray, (WAYS[2].to_owned(),)).unwrap();
            let left = value::<u32>(&reason(process, monitor));
            dead::gone(left, LIMIT);
            assert!(alive(daemon));
            ping(process, witness);
        }
        let open = gate.open();
        value::<()>(&reason(process, monitor));
        drop(open);
        dead::gone(daemon, LIMIT);
        ping(process, witness);
        system.stop();
    });
}

/// Among many processes they are looked for after the end, and not before it is told.
#[test]
fn among_many_processes_what_strays_ends_as_well() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let others: Vec<_> = (0..50)
            .map(|_| process.spawn_monitor(wait, (gate.address(),)).unwrap().1)
            .collect();
        for way in WAYS {
            let (_, monitor) = process.spawn_monitor(stray, (way.to_owned(),)).unwrap();
            let left = value::<u32>(&reason(process, monitor));
            dead::gone(left, LIMIT);
        }
        let open = gate.open();
        for monitor in others {
            value::<()>(&reason(process, monitor));
        }
        drop(open);
        system.stop();
    });
}

/// They fork as fast as they can, for as long as there is one of them.
#[test]
fn a_fork_bomb_under_a_limit_ends_with_its_process() {
    fn bomb(group: String) {
        std::fs::write(group, std::process::id().to_string()).unwrap();
        if raw::fork().is_none() {
            loop {
                raw::try_fork();
            }
        }
    }
    isolated!(|| {
        let Some(group) = Cgroup::of_pids() else {
            return skipped("this user may not limit the processes of a control group");
        };
        group.set("pids.max", "60");
        let mut system = system();
        let process = system.process();
        for _ in 0..times(3) {
            let (_, monitor) = process.spawn_monitor(bomb, (group.entrance(),)).unwrap();
            value::<()>(&reason(process, monitor));
            // Also those that are not reaped count.
            within(LIMIT, || while group.get("pids.current") != "0" {});
            assert_works(process);
        }
        system.stop();
    });
}

/// A system within a process: it ends with that, and so does all that its processes left.
#[test]
fn what_strays_in_a_system_within_ends_with_the_process_that_has_it() {
    fn has_a_system(ready: String) {
        let mut inner = system();
        let process = inner.process();
        let args = (ready, SESSION.to_owned());
        let (_, monitor) = process.spawn_monitor(stray_and_stay, args).unwrap();
        reason(process, monitor);
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (ready, say) = Ready::new();
        let (pid, monitor) = process
            .spawn_monitor(has_a_system, (say.address(),))
            .unwrap();
        let left = ready.pid(LIMIT);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        dead::gone(left, LIMIT);
        system.stop();
    });
}

fn stray_and_stay(ready: String, way: String) {
    let left = stray(way);
    Say::open(&ready).line(left);
    raw::stay()
}

/// Starts one that strays in each way; who is left, when they are.
fn stray_in_all_ways(process: &mut Process) -> Vec<u32> {
    let mut left = Vec::new();
    for way in WAYS {
        let (ready, say) = Ready::new();
        let args = (say.address(), way.to_owned());
        process.spawn(stray_and_stay, args).unwrap();
        left.push(ready.pid(LIMIT));
        // And one whose process has ended by then, or is about to.
        process.spawn(stray, (way.to_owned(),)).unwrap();
    }
    left
}

/// Nothing at all: neither what a process of it had left nor anybody who could have looked after it.
#[test]
fn when_the_coordinator_is_killed_nothing_is_left_of_what_strayed() {
    isolated!(|| {
        for _ in 0..times(3) {
            let mut system = system();
            let coordinator = system.coordinator().get();
            let left = stray_in_all_ways(system.process());
            assert!(left.iter().all(|left| alive(*left)));
            try_kill(coordinator);
            for left in left {
                dead::gone(left, LIMIT);
            }
            system.stop();
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// Plays a host: starts a system whose processes stray, and says who is left.
#[test]
fn role_host_of_strays() {
    if role::is(occ_test_support::test_path!()) {
        let say = Say::inherited("SAY");
        let mut system = system();
        let mut told = vec![system.coordinator().get()];
        told.extend(stray_in_all_ways(system.process()));
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        say.line(told.join(" "));
        raw::stay()
    }
}

/// A host, its coordinator, and those that strayed.
fn host_of_strays() -> (std::process::Child, Vec<u32>) {
    let (ready, say) = Ready::new();
    let mut command = role::command("containment::role_host_of_strays");
    say.pass("SAY", &mut command);
    let host = command.spawn().unwrap();
    drop(say);
    let line = ready.line(LIMIT);
    (
        host,
        line.split(' ').map(|pid| pid.parse().unwrap()).collect(),
    )
}

#[test]
fn when_the_host_is_killed_nothing_is_left_of_what_strayed() {
    isolated!(|| {
        for _ in 0..times(3) {
            let (mut host, all) = host_of_strays();
            assert!(all.iter().all(|one| alive(*one)));
            host.kill().unwrap();
            host.wait().unwrap();
            for one in all {
                dead::gone(one, LIMIT);
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// What `kill -9 %1` does, and timeout(1): the whole process group of the host. The guard is in another.
#[test]
fn when_the_process_group_of_the_host_is_killed_nothing_is_left_of_what_strayed() {
    isolated!(|| {
        for _ in 0..times(3) {
            let (ready, say) = Ready::new();
            let mut command = role::command("containment::role_host_of_strays");
            say.pass("SAY", &mut command);
            let mut host = command.process_group(0).spawn().unwrap();
            drop(say);
            let line = ready.line(LIMIT);
            let all: Vec<u32> = line.split(' ').map(|pid| pid.parse().unwrap()).collect();
            assert!(all.iter().all(|one| alive(*one)));
            raw::kill(-i32::try_from(host.id()).unwrap(), libc::SIGKILL);
            host.wait().unwrap();
            for one in all {
                dead::gone(one, LIMIT);
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// Plays a host that leads a session: its process group is an orphaned one (setpgid(2)), and one in it is stopped.
#[test]
fn role_host_among_the_stopped() {
    if role::is(occ_test_support::test_path!()) {
        let say = Say::inherited("SAY");
        setsid().unwrap();
        let stopped = match raw::fork() {
            None => {
                raw::raise(libc::SIGSTOP);
                raw::exit_now(0)
            }
            Some(fork) => fork,
        };
        while Stat::of(stopped).unwrap().state != 'T' {}
        let system = system();
        system.stop();
        // What the kernel sends, it has sent by the time that the next child is made and has ended.
        assert!(Command::new("true").status().unwrap().success());
        say.ready();
        try_kill(stopped);
        raw::wait_for(stopped);
    }
}

#[test]
fn the_end_of_a_system_is_no_hangup_for_the_group_of_its_host() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let mut command = role::command("containment::role_host_among_the_stopped");
        say.pass("SAY", &mut command);
        let mut host = command.spawn().unwrap();
        drop(say);
        ready.wait(LIMIT);
        assert!(dead::how(&mut host, LIMIT).success());
    });
}

/// Both in the same instant, in either order.
#[test]
fn when_host_and_coordinator_are_killed_nothing_is_left_of_what_strayed() {
    isolated!(|| {
        for round in 0..times(4) {
            let (mut host, all) = host_of_strays();
            if round % 2 == 0 {
                try_kill(all[0]);
                host.kill().unwrap();
            } else {
                host.kill().unwrap();
                try_kill(all[0]);
            }
            host.wait().unwrap();
            for one in all {
                dead::gone(one, LIMIT);
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// The coordinator is armed against the guard, and the processes against the coordinator.
#[test]
fn when_the_guard_is_killed_no_process_is_left_and_the_host_is_told() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let guard = Stat::of(coordinator).unwrap().parent;
        assert_ne!(guard, std::process::id());
        let process = system.process();
        let pid = process.spawn(crate::stay, ()).unwrap();
        let os_pid = process.os_pid(pid).unwrap().get();
        try_kill(guard);
        for one in [coordinator, os_pid] {
            dead::gone(one, LIMIT);
        }
        let told = within(LIMIT, || process.spawn(crate::stay, ()).unwrap_err());
        assert!(matches!(told, SpawnError::SystemDown), "{told:?}");
        system.stop();
    });
}

#[test]
fn a_fork_bomb_ends_when_the_coordinator_is_killed() {
    fn bomb(group: String, ready: String) {
        std::fs::write(group, std::process::id().to_string()).unwrap();
        if raw::fork().is_none() {
            loop {
                raw::try_fork();
            }
        }
        Say::open(&ready).ready();
        raw::stay()
    }
    isolated!(|| {
        let Some(group) = Cgroup::of_pids() else {
            return skipped("this user may not limit the processes of a control group");
        };
        group.set("pids.max", "60");
        let mut system = system();
        let coordinator = system.coordinator().get();
        let (ready, say) = Ready::new();
        let args = (group.entrance(), say.address());
        system.process().spawn(bomb, args).unwrap();
        ready.wait(LIMIT);
        try_kill(coordinator);
        within(LIMIT, || while group.get("pids.current") != "0" {});
        system.stop();
        Token::own().wait_none_left(LIMIT);
    });
}

/// The mark is a limit that the kernel does not enforce; the others are the host's.
#[test]
fn the_mark_of_a_process_is_all_that_differs_in_its_limits() {
    fn limits() -> String {
        std::fs::read_to_string("/proc/self/limits").unwrap()
    }
    isolated!(|| {
        let mut system = system();
        let (_, monitor) = system.process().spawn_monitor(limits, ()).unwrap();
        let theirs = value::<String>(&reason(system.process(), monitor));
        let ours = limits();
        let differing: Vec<_> = ours
            .lines()
            .zip(theirs.lines())
            .filter(|(ours, theirs)| ours != theirs)
            .map(|(ours, _)| ours.split("  ").next().unwrap_or_default())
            .collect();
        assert_eq!(differing, ["Max file locks"], "{ours}\n{theirs}");
        system.stop();
    });
}

/// Nobody can tell whose it is, so it is left alone while there is anybody whose it may be.
#[test]
fn a_descendant_that_takes_its_mark_off_ends_with_the_system() {
    fn leave_unmarked() -> u32 {
        fork_and_hear(|say| {
            let (current, maximum) = (Some(7), None);
            let limit = rustix::process::Rlimit { current, maximum };
            rustix::process::setrlimit(rustix::process::Resource::Locks, limit).unwrap();
            if raw::fork().is_none() {
                say(std::process::id());
                raw::stay()
            }
        })
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let (_, monitor) = process.spawn_monitor(leave_unmarked, ()).unwrap();
        let unmarked = value::<u32>(&reason(process, monitor));
        for _ in 0..5 {
            let (_, monitor) = process.spawn_monitor(stray, (WAYS[2].to_owned(),)).unwrap();
            dead::gone(value::<u32>(&reason(process, monitor)), LIMIT);
        }
        assert!(alive(unmarked));
        system.stop();
        assert!(!alive(unmarked));
    });
}

/// What is found after the end of many is told of none of those that did not leave it.
#[test]
fn nobody_is_said_to_have_left_what_another_left() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let gate = Gate::new();
        let mut waiting: Vec<_> = (0..18)
            .map(|_| process.spawn_monitor(wait, (gate.address(),)).unwrap().1)
            .collect();
        let (pid, monitor) = process.spawn_monitor(stray, (WAYS[2].to_owned(),)).unwrap();
        let left = value::<u32>(&reason(process, monitor));
        let open = gate.open();
        for monitor in waiting.drain(..) {
            let down = down(process, monitor);
            assert_eq!(down.report.evidence, [], "{pid} left {left}: {down}");
        }
        drop(open);
        dead::gone(left, LIMIT);
        system.stop();
    });
}
