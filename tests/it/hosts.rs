//! Hosts of every kind: what is odd about the program that starts a system is no matter to the system.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use occ_test_support::dead::{self, Watch};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::children;
use occ_test_support::{LIMIT, role, test_path};
use occasional::{Down, ExitReason, OsPid, receive, run, spawn, spawn_monitor, start};
use rustix::process::Signal;

use crate::gate::{Gate, Place};
use crate::run::ask_echo;
use crate::sys::{self, Action};

/// Where a host finds what its test has made for it.
const SAY: &str = "OCC_SAY";
const GATE: &str = "OCC_GATE";

fn code_7() {
    sys::exit(7)
}

/// What every host must see: an answer, a code, a signal and a value.
fn all_is_well() -> anyhow::Result<()> {
    ask_echo()?;
    spawn_monitor(code_7, ())?;
    let down: Down = receive()?;
    anyhow::ensure!(
        matches!(down.reason, ExitReason::Code(7)),
        "{}",
        down.reason
    );
    let (child, _) = spawn_monitor(wait, ())?;
    occasional::kill(child)?;
    let down: Down = receive()?;
    anyhow::ensure!(
        matches!(down.reason, ExitReason::Signal(_)),
        "{}",
        down.reason
    );
    Ok(())
}

fn wait() {
    let _ = receive::<()>();
}

fn nothing() {}

fn in_both_ways() {
    run(all_is_well, ()).unwrap();
    let system = start().unwrap();
    all_is_well().unwrap();
    system.stop();
}

/// Runs the host and expects it to end well.
#[track_caller]
fn ends_well(mut host: Command) {
    let status = dead::how(&mut host.spawn().unwrap(), LIMIT);
    assert!(status.success(), "{status}");
}

#[test]
fn role_ignores_sigchld() {
    if role::is(test_path!()) {
        sys::on_signal(Signal::CHILD, Action::Ignore);
        in_both_ways();
    }
}

#[test]
fn a_host_that_ignores_sigchld_sees_every_reason() {
    bounded!(|| ends_well(role::command("hosts::role_ignores_sigchld")));
}

#[test]
fn role_inherits_ignored_sigchld() {
    if role::is(test_path!()) {
        in_both_ways();
    }
}

#[test]
fn a_host_that_inherits_an_ignored_sigchld_sees_every_reason() {
    bounded!(|| {
        sys::on_signal(Signal::CHILD, Action::Ignore);
        let host = role::command("hosts::role_inherits_ignored_sigchld").spawn();
        sys::on_signal(Signal::CHILD, Action::Default);
        assert!(dead::how(&mut host.unwrap(), LIMIT).success());
    });
}

#[test]
fn role_closes_its_standard_descriptors() {
    if role::is(test_path!()) {
        let say = Say::inherited(SAY);
        sys::close_range(0, 2);
        in_both_ways();
        say.line("well");
    }
}

#[test]
fn a_host_that_has_closed_its_standard_descriptors_has_a_system() {
    bounded!(|| {
        let (ready, say) = Ready::new();
        let mut host = role::command("hosts::role_closes_its_standard_descriptors");
        say.pass(SAY, &mut host);
        let mut host = host.spawn().unwrap();
        drop(say);
        assert_eq!(ready.line(LIMIT), "well");
        dead::how(&mut host, LIMIT);
    });
}

#[test]
fn role_starts_without_standard_descriptors() {
    if role::is(test_path!()) {
        in_both_ways();
    }
}

#[test]
fn a_host_that_starts_without_standard_descriptors_has_a_system() {
    bounded!(|| {
        // The shell closes them, and becomes the host.
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"]);
        shell.arg(format!("/proc/{}/exe", std::process::id()));
        ends_well(with_role(
            shell,
            "hosts::role_starts_without_standard_descriptors",
        ));
    });
}

/// `program`, which is or becomes a copy of this binary, in a role.
fn with_role(mut program: Command, path: &str) -> Command {
    let role = role::command(path);
    program.args(role.get_args());
    for (key, value) in role.get_envs() {
        match value {
            Some(value) => program.env(key, value),
            None => program.env_remove(key),
        };
    }
    program
}

#[test]
fn role_has_100_threads() {
    if role::is(test_path!()) {
        let (began, ended) = (Barrier::new(101), Barrier::new(101));
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    began.wait();
                    ended.wait();
                });
            }
            began.wait();
            in_both_ways();
            ended.wait();
        });
    }
}

#[test]
fn a_host_of_100_threads_has_a_system() {
    bounded!(|| ends_well(role::command("hosts::role_has_100_threads")));
}

/// Resident memory of a process in KiB.
fn resident(os_pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{os_pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn role_is_fat() {
    if role::is(test_path!()) {
        let fat = vec![1_u8; 1 << 30];
        in_both_ways();
        let system = start().unwrap();
        let child = spawn(wait, ()).unwrap();
        let coordinator = system.coordinator().unwrap().get();
        let mut family = children(coordinator);
        family.push(coordinator);
        assert_eq!(
            family.len(),
            3,
            "the coordinator, the zygote and the process"
        );
        assert!(family.contains(&occasional::os_pid(child).unwrap().get()));
        for os_pid in family {
            assert!(resident(os_pid) < 64 << 10, "{} KiB", resident(os_pid));
        }
        assert!(
            resident(std::process::id()) > 1 << 20,
            "and the host is fat indeed"
        );
        system.stop();
        assert!(fat.iter().step_by(4096).all(|byte| *byte == 1));
    }
}

#[test]
fn the_processes_of_a_fat_host_are_thin() {
    bounded!(|| ends_well(role::command("hosts::role_is_fat")));
}

/// A folder that is gone with this.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The zygote of a coordinator: its one child that is no process of the system.
fn zygote_of(coordinator: u32) -> u32 {
    let listed: Vec<_> = occasional::processes()
        .unwrap()
        .into_iter()
        .filter_map(|process| process.os_pid.map(OsPid::get))
        .collect();
    let mut others = children(coordinator);
    others.retain(|child| !listed.contains(child));
    assert_eq!(others.len(), 1, "{others:?}");
    others[0]
}

#[test]
fn role_is_replaced() {
    if role::is(test_path!()) {
        let system = start().unwrap();
        let place = Place::before(&std::env::var(GATE).unwrap());
        Say::inherited(SAY).ready();
        place.wait();

        all_is_well().unwrap();
        // All that begins anew begins from what this program is, not from what is there under its name.
        let zygote = Watch::of(zygote_of(system.coordinator().unwrap().get()));
        zygote.signal(Signal::KILL);
        zygote.wait_gone(LIMIT);
        spawn(nothing, ()).unwrap();
        all_is_well().unwrap();
        system.stop();
        in_both_ways();
    }
}

#[test]
fn a_host_whose_binary_is_replaced_while_it_runs_goes_on() {
    bounded!(|| {
        for replaced in [true, false] {
            let folder = Folder::new("replaced");
            let program = folder.0.join("host");
            fs::copy("/proc/self/exe", &program).unwrap();
            let gate = Gate::new();
            let (ready, say) = Ready::new();
            let mut host = with_role(Command::new(&program), "hosts::role_is_replaced");
            host.env(GATE, gate.address());
            say.pass(SAY, &mut host);
            let mut host = host.spawn().unwrap();
            drop(say);
            ready.wait(LIMIT);

            if replaced {
                let other = folder.0.join("other");
                fs::copy("/bin/true", &other).unwrap();
                fs::rename(&other, &program).unwrap();
            } else {
                fs::remove_file(&program).unwrap();
            }
            drop(gate);
            let status = dead::how(&mut host, LIMIT);
            assert!(status.success(), "replaced {replaced}: {status}");
        }
    });
}

#[test]
fn a_host_under_another_name_in_its_first_argument_has_a_system() {
    bounded!(|| {
        let mut host = role::command("hosts::role_inherits_ignored_sigchld");
        host.arg0("another name");
        ends_well(host);
    });
}
