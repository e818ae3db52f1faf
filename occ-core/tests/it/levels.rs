//! The levels of containment: a row a level, with what strays in each way. The control of all of them is in
//! `containment`: of a bare zygote's processes all of it survives.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use occ_core::{
    Builder, Cause, Containment, Down, Evidence, ExitReason, LifetimeGuarantee, MonitorRef, Pid,
    Process, SpawnError,
};
use occ_test_support::cgroup::Cgroup;
use occ_test_support::in_flight::be_a_user_of_its_own;
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, dead, isolated, raw, skipped, within};
use rustix::process::setsid;

use crate::{Gate, assert_works, down, ping, reason, signal, stay, system, try_kill, value, wait};

use Containment::{ControlGroup, PidNamespace, ProcessGroup, Sweep};

const LEVELS: [Containment; 4] = [ProcessGroup, Sweep, ControlGroup, PidNamespace];

/// Forks, and goes on when the fork is as far as it wants to be.
fn fork_until_ready(body: impl FnOnce(&mut dyn FnMut())) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    if raw::fork().is_none() {
        drop(read);
        let mut write = Some(write);
        body(&mut || drop(write.take()));
        raw::exit_now(0)
    }
    drop(write);
    // To the end, which is when nobody has it any more who did not say so.
    assert_eq!(rustix::io::read(&read, &mut [0]), Ok(0));
}

/// Leaves something behind that holds `life` for as long as it lives.
fn stray(way: String, life: String) {
    let hold = || Hold::open(&life).for_life();
    match way.as_str() {
        "a fork" => fork_until_ready(|say| {
            hold();
            say();
            raw::stay()
        }),
        "a fork of a fork" => fork_until_ready(|say| {
            if raw::fork().is_none() {
                hold();
                say();
                raw::stay()
            }
        }),
        "one that ignores SIGTERM" => fork_until_ready(|say| {
            raw::ignore(libc::SIGTERM);
            hold();
            say();
            raw::stay()
        }),
        "a session of its own" => fork_until_ready(|say| {
            setsid().unwrap();
            if raw::fork().is_none() {
                hold();
                say();
                raw::stay()
            }
        }),
        "a program" => program("", &life),
        "a program in a session of its own" => program("setsid ", &life),
        other => panic!("{other}"),
    }
}

/// What a shell runs that leaves a program behind, and writes a line when that is as far as it wants to be.
fn script(how: &str, life: &str) -> String {
    format!("{how}sh -c 'exec 9>{life}; echo ready; exec sleep 1000' &")
}

fn program(how: &str, life: &str) {
    let mut shell = Command::new("sh");
    let shell = shell
        .args(["-c", &script(how, life)])
        .stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    // Not to the end: the program holds the pipe.
    let mut line = String::new();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert!(shell.wait().unwrap().success());
}

/// In each way, and whether leaving the process group belongs to it.
const WAYS: [(&str, bool); 6] = [
    ("a fork", false),
    ("a fork of a fork", false),
    ("one that ignores SIGTERM", false),
    ("a program", false),
    ("a session of its own", true),
    ("a program in a session of its own", true),
];

/// Whether a level can be had here; where it cannot, that is said, and by an error of the spawn; and the guarantee says the same.
fn is_had(me: &mut Process, level: Containment) -> bool {
    let guarantee = LifetimeGuarantee::here();
    let had = try_out(me, level);
    assert_eq!(guarantee.has(level), had, "{guarantee}");
    had
}

fn try_out(me: &mut Process, level: Containment) -> bool {
    match me.spawn_monitor_with(&at(level), std::process::id, ()) {
        Ok((_, monitor)) => {
            let within = value::<u32>(&reason(me, monitor));
            assert_eq!(within == 1, level == PidNamespace);
            true
        }
        Err(SpawnError::Unsupported { what, why }) => {
            skipped(&format!("{what}: {why}"));
            false
        }
        Err(error) => panic!("{level}: {error}"),
    }
}

fn at(level: Containment) -> Builder {
    Builder::new().containment(level)
}

#[test]
fn at_each_level_what_strays_ends_with_its_process() {
    isolated!(|| {
        for level in LEVELS {
            let mut system = system();
            let process = system.process();
            if !is_had(process, level) {
                continue;
            }
            let mut outside = Vec::new();
            for (way, leaves_group) in WAYS {
                let (life, hold) = Lifeline::new();
                let args = (way.to_owned(), hold.address());
                let made = process.spawn_monitor_with(&at(level), stray, args);
                value::<()>(&reason(process, made.unwrap().1));
                drop(hold);
                if leaves_group && level == ProcessGroup {
                    // The control: who has left the group is not in it.
                    process.processes().unwrap();
                    assert!(life.is_alive(), "{way}");
                    outside.push(life);
                } else {
                    life.wait_dead(LIMIT);
                }
            }
            assert_works(process);
            system.stop();
            // All of it ends with the system.
            for life in outside {
                life.wait_dead(LIMIT);
            }
        }
    });
}

#[test]
fn at_each_level_what_an_executable_leaves_ends_with_it() {
    isolated!(|| {
        for level in LEVELS {
            let mut system = system();
            let process = system.process();
            if !is_had(process, level) {
                continue;
            }
            for (leaves_group, how) in [(false, ""), (true, "setsid ")] {
                if leaves_group && level == ProcessGroup {
                    continue;
                }
                let (life, hold) = Lifeline::new();
                let (reader, writer) = std::io::pipe().unwrap();
                let script = format!("{} read line; exit 3", script(how, &hold.address()));
                let builder = at(level).args(["-c", &script]).stdout(writer);
                // It waits for what the program writes.
                let builder = builder.stdin(reader);
                let (_, monitor) = process.spawn_exe_monitor(&builder, "sh").unwrap();
                assert!(matches!(reason(process, monitor), ExitReason::Code(3)));
                drop((hold, builder));
                life.wait_dead(LIMIT);
            }
            system.stop();
        }
    });
}

/// While a process lives, what it has started does too, and a neighbour is not touched by its end.
#[test]
fn at_each_level_the_rest_is_untouched() {
    fn stray_and_wait(way: String, life: String, ready: String, gate: String) {
        stray(way, life);
        Say::open(&ready).ready();
        wait(gate);
    }
    isolated!(|| {
        for level in LEVELS {
            let mut system = system();
            let process = system.process();
            if !is_had(process, level) {
                continue;
            }
            let witness = process.spawn_with(&at(level), crate::echo, ()).unwrap();
            let (life, hold) = Lifeline::new();
            let gate = Gate::new();
            let (ready, say) = Ready::new();
            let way = "a fork".to_owned();
            let args = (way, hold.address(), say.address(), gate.address());
            let made = process.spawn_monitor_with(&at(level), stray_and_wait, args);
            ready.wait(LIMIT);
            drop((hold, say));
            for _ in 0..5 {
                let (other, hold) = Lifeline::new();
                let args = ("a fork".to_owned(), hold.address());
                let (_, monitor) = process.spawn_monitor_with(&at(level), stray, args).unwrap();
                value::<()>(&reason(process, monitor));
                drop(hold);
                other.wait_dead(LIMIT);
                ping(process, witness);
                assert!(life.is_alive(), "{level}");
            }
            let open = gate.open();
            value::<()>(&reason(process, made.unwrap().1));
            drop(open);
            life.wait_dead(LIMIT);
            system.stop();
        }
    });
}

#[test]
fn at_each_level_a_fork_bomb_under_a_limit_ends_with_its_process() {
    fn bomb(group: String) {
        // 0 is whoever writes it, also from within a PID namespace.
        std::fs::write(group, "0").unwrap();
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
        for level in LEVELS {
            let mut system = system();
            let process = system.process();
            if !is_had(process, level) {
                continue;
            }
            let (_, monitor) = process
                .spawn_monitor_with(&at(level), bomb, (group.entrance(),))
                .unwrap();
            value::<()>(&reason(process, monitor));
            // Also those that are not reaped count.
            within(LIMIT, || while group.get("pids.current") != "0" {});
            assert_works(process);
            system.stop();
        }
    });
}

/// Whoever is killed: the process, the coordinator.
#[test]
fn at_each_level_nothing_is_left_when_one_is_killed() {
    fn stray_and_stay(way: String, life: String, ready: String) {
        stray(way, life);
        Say::open(&ready).ready();
        raw::stay()
    }
    isolated!(|| {
        for level in LEVELS {
            for whom in ["the process", "the coordinator"] {
                let mut system = system();
                let coordinator = system.coordinator().get();
                let process = system.process();
                if !is_had(process, level) {
                    continue;
                }
                let (life, hold) = Lifeline::new();
                let (ready, say) = Ready::new();
                let args = ("a fork of a fork".to_owned(), hold.address(), say.address());
                let made = process.spawn_monitor_with(&at(level), stray_and_stay, args);
                let (pid, monitor) = made.unwrap();
                ready.wait(LIMIT);
                drop((hold, say));
                assert!(life.is_alive());
                let os_pid = process.os_pid(pid).unwrap().get();
                if whom == "the process" {
                    process.kill(pid).unwrap();
                    assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
                } else {
                    try_kill(coordinator);
                    dead::gone(os_pid, LIMIT);
                }
                life.wait_dead(LIMIT);
                system.stop();
                Token::own().wait_none_left(LIMIT);
                let left = groups_left(pid.incarnation);
                assert_eq!(left, Vec::<PathBuf>::new(), "{level}, {whom}");
            }
        }
    });
}

/// The control groups of a system that has ended.
pub(crate) fn groups_left(incarnation: u32) -> Vec<PathBuf> {
    let roots = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = roots.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mounts = ["", "/unified", "/memory", "/cpu", "/cpu,cpuacct"];
    let dirs = own.flat_map(|path| mounts.map(|mount| format!("/sys/fs/cgroup{mount}{path}")));
    let entries = dirs.filter_map(|dir| std::fs::read_dir(dir).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let prefix = format!("occ-{incarnation:08x}-");
    let is_ours = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(&prefix)
    };
    paths.filter(is_ours).collect()
}

// ---- the process itself ----

#[test]
fn at_each_level_how_it_ends_is_told() {
    fn fails() -> anyhow::Result<()> {
        anyhow::bail!("with words")
    }
    fn panics() {
        panic!("with words")
    }
    isolated!(|| {
        for level in LEVELS {
            let mut system = system();
            let process = system.process();
            if !is_had(process, level) {
                continue;
            }
            let ends = |process: &mut Process, made: Result<(Pid, MonitorRef), SpawnError>| {
                reason(process, made.unwrap().1)
            };
            let made = process.spawn_monitor_with(&at(level), fails, ());
            let ExitReason::Error(failure) = ends(process, made) else {
                panic!("{level}")
            };
            assert_eq!(failure.chain(), ["with words"]);
            let made = process.spawn_monitor_with(&at(level), panics, ());
            assert!(
                matches!(ends(process, made), ExitReason::Panic(_)),
                "{level}"
            );
            let made = process.spawn_monitor_with(&at(level), stay, ());
            let (pid, _) = made.as_ref().unwrap();
            process.kill(*pid).unwrap();
            assert_eq!(signal(&ends(process, made)), libc::SIGKILL);
            // By its own hand: within a PID namespace the kernel does not let it, and it ends with the code that a shell has for it.
            let made = process.spawn_monitor_with(&at(level), crate::raw::die_by, (libc::SIGTERM,));
            match ends(process, made) {
                ExitReason::Code(code) if level == PidNamespace => assert_eq!(code, 128 + 15),
                other => assert_eq!(signal(&other), libc::SIGTERM, "{level}"),
            }
            // And what it does as any other: it talks.
            let made = process.spawn_with(&at(level), crate::echo, ()).unwrap();
            ping(process, made);
            system.stop();
        }
    });
}

#[test]
fn a_level_that_cannot_be_had_is_an_error() {
    let mut system = system();
    let process = system.process();
    let refused = process.spawn_with(&at(ProcessGroup).foreground(true), stay, ());
    let Err(SpawnError::Unsupported { what, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(what, "containment by process group");
    if rustix::process::geteuid().is_root() {
        // What a user without privileges would be told, one who has given them up is.
        fn as_nobody() -> [String; 2] {
            assert!(be_a_user_of_its_own(1000, false));
            let guarantee = LifetimeGuarantee::here();
            let had = LEVELS.map(|level| guarantee.has(level));
            assert_eq!(had, [true, true, false, false], "{guarantee}");
            let mut inner = crate::system();
            [PidNamespace, ControlGroup].map(|level| {
                let made = inner.process().spawn_with(&at(level), stay, ());
                format!("{:?}", made.map_err(|error| error.to_string()))
            })
        }
        let (_, monitor) = process.spawn_monitor(as_nobody, ()).unwrap();
        let [namespace, group] = value::<[String; 2]>(&reason(process, monitor));
        let expected = "a PID namespace cannot be had here";
        assert!(namespace.contains(expected), "{namespace}");
        let expected = "that can be killed cannot be had here";
        assert!(group.contains(expected), "{group}");
    }
    system.stop();
}

// ---- limits of control groups ----

fn eats(bytes: u64) -> u64 {
    let mut eaten = vec![0_u8; usize::try_from(bytes).unwrap()];
    for byte in eaten.iter_mut().step_by(4096) {
        *byte = 1;
    }
    std::hint::black_box(eaten).len() as u64
}

fn ends_with(process: &mut Process, builder: &Builder, bytes: u64) -> Option<Down> {
    match process.spawn_monitor_with(builder, eats, (bytes,)) {
        Ok((_, monitor)) => Some(down(process, monitor)),
        Err(SpawnError::Unsupported { what, why }) => {
            skipped(&format!("{what}: {why}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn one_that_takes_more_memory_than_it_may_is_killed_and_the_report_says_so() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let limited = Builder::new().memory_max(32 << 20);
        let Some(told) = ends_with(process, &limited, 100 << 20) else {
            return;
        };
        assert_eq!(signal(&told.reason), libc::SIGKILL);
        let verdict = told.report.verdict.unwrap();
        assert_eq!(verdict.cause, Cause::OutOfMemory, "{verdict}");
        let limit = told.report.evidence.iter().find_map(|piece| match piece {
            Evidence::Memory { limit, .. } => Some(*limit),
            _ => None,
        });
        assert_eq!(limit, Some(32 << 20));
        // The control: what is less than the limit, and what has none.
        let told = ends_with(process, &limited, 8 << 20).unwrap();
        assert_eq!(value::<u64>(&told.reason), 8 << 20);
        let told = ends_with(process, &Builder::new(), 100 << 20).unwrap();
        assert_eq!(value::<u64>(&told.reason), 100 << 20);
        let incarnation = process.self_pid().incarnation;
        // There it is, while somebody is in it.
        process.spawn_with(&limited, stay, ()).unwrap();
        assert!(!groups_left(incarnation).is_empty());
        system.stop();
        assert_eq!(groups_left(incarnation), Vec::<PathBuf>::new());
    });
}

#[test]
fn one_has_no_more_of_the_processors_than_it_may() {
    fn own_quota() -> Option<(u64, u64)> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let ours = groups.lines().find(|line| line.contains("/occ-"))?;
        let mut fields = ours.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let roots = match controllers {
            "" => vec!["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            _ => vec!["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"],
        };
        let number = |text: &str| text.trim().parse::<u64>().ok();
        roots.into_iter().find_map(|root| {
            let read = |file: &str| std::fs::read_to_string(format!("{root}{path}/{file}")).ok();
            if let Some(both) = read("cpu.max") {
                let (quota, period) = both.split_once(' ')?;
                return Some((number(quota)?, number(period)?));
            }
            Some((
                number(&read("cpu.cfs_quota_us")?)?,
                number(&read("cpu.cfs_period_us")?)?,
            ))
        })
    }
    let mut system = system();
    let process = system.process();
    let rows = [
        (0.5, (50_000, 100_000)),
        (2.0, (200_000, 100_000)),
        (0.01, (1000, 100_000)),
        // The kernel takes no part of less than a millisecond.
        (0.009, (9000, 1_000_000)),
        (0.001, (1000, 1_000_000)),
    ];
    for (processors, quota) in rows {
        let part = Builder::new().cpu_max(processors);
        match process.spawn_monitor_with(&part, own_quota, ()) {
            Ok((_, monitor)) => {
                let told = value::<Option<(u64, u64)>>(&reason(process, monitor));
                assert_eq!(told, Some(quota), "{processors}");
            }
            Err(SpawnError::Unsupported { what, why }) => skipped(&format!("{what}: {why}")),
            Err(error) => panic!("{error}"),
        }
    }
    let (_, monitor) = process.spawn_monitor(own_quota, ()).unwrap();
    assert_eq!(
        value::<Option<(u64, u64)>>(&reason(process, monitor)),
        None,
        "the control"
    );
    system.stop();
}

#[test]
fn what_is_no_number_of_processors_is_an_error_that_says_what_was_seen() {
    let mut system = system();
    let process = system.process();
    for (processors, seen) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (-1.5, "-1.5"),
        (0.0009, "0.0009"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
    ] {
        let builder = Builder::new().cpu_max(processors);
        let function = process.spawn_monitor_with(&builder, stay, ());
        for refused in [function, process.spawn_exe_monitor(&builder, "true")] {
            let told = refused.unwrap_err().to_string();
            let text = "a limit on the processors cannot be had here: expected 0.001 or more, and not infinity, and it is";
            assert_eq!(told, format!("{text} {seen}"));
        }
        // The control: the last word counts.
        match process.spawn_exe_monitor(&builder.cpu_max(0.5), "true") {
            Ok((_, monitor)) => assert!(matches!(reason(process, monitor), ExitReason::Code(0))),
            Err(SpawnError::Unsupported { what, why }) => skipped(&format!("{what}: {why}")),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(process.processes().unwrap().len(), 1);
    system.stop();
}
