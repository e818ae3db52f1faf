//! What a program finds that is started from a process, what a process finds on its standard input, and what of
//! the host is as it was.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use occ_test_support::{LIMIT, dead, role, test_path};
use occasional::{Down, ExitReason, receive, run, self_pid, send, spawn, spawn_monitor, start};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::run::ask_echo;
use crate::sys::{self, Action};

/// The signals that a thread blocks, and that its program ignores and catches, as proc_pid_status(5) shows them.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Signals {
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Signals {
    fn of(status: &str) -> Signals {
        let set = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.rsplit_once('\t').unwrap().1, 16).unwrap()
        };
        // Two signals are glibc's own: where it spawns, it has them ignored, and nobody can send them.
        let ignored = set("SigIgn:") & !(0b11 << 31);
        Signals {
            blocked: set("SigBlk:"),
            ignored,
            caught: set("SigCgt:"),
        }
    }

    /// Of the calling thread.
    fn own() -> Signals {
        Signals::of(&fs::read_to_string("/proc/thread-self/status").unwrap())
    }

    /// What a program that starts from here must find: nothing but what its host ignores, and of that neither
    /// SIGPIPE, which std ignores before `main`, nor SIGCHLD.
    fn default_under(host: Signals) -> Signals {
        let ignored = host.ignored & !bit(Signal::PIPE) & !bit(Signal::CHILD);
        Signals {
            blocked: 0,
            ignored,
            caught: 0,
        }
    }
}

/// The bit of a signal in such a set.
fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

fn own_signals() -> Signals {
    Signals::own()
}

/// Of a program that std starts.
fn of_a_command() -> anyhow::Result<Signals> {
    let output = Command::new("cat").arg("/proc/self/status").output()?;
    anyhow::ensure!(output.status.success());
    Ok(Signals::of(&String::from_utf8(output.stdout)?))
}

/// Becomes another program with no help from std.
fn become_another(stdout: String) -> anyhow::Result<()> {
    rustix::stdio::dup2_stdout(File::options().write(true).open(stdout)?)?;
    sys::exec(c"/bin/cat", c"/proc/self/status")
}

fn of_an_exec() -> anyhow::Result<Signals> {
    let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    let address = format!("/proc/{}/fd/{}", std::process::id(), write.as_raw_fd());
    spawn_monitor(become_another, (address,))?;
    let down: Down = receive()?;
    drop(write);
    anyhow::ensure!(
        matches!(down.reason, ExitReason::Code(0)),
        "{}",
        down.reason
    );
    let mut status = String::new();
    File::from(read).read_to_string(&mut status)?;
    Ok(Signals::of(&status))
}

#[test]
fn role_ignores_hangups() {
    if role::is(test_path!()) {
        // As nohup(1) does; and what it blocks is its own affair.
        sys::on_signal(Signal::HUP, Action::Ignore);
        sys::on_signal(Signal::CHILD, Action::Ignore);
        sys::block(Signal::TERM);
        check_programs(bit(Signal::HUP));
    }
}

#[track_caller]
fn check_programs(kept: u64) {
    let host = Signals::own();
    let expected = Signals::default_under(host);
    assert_eq!(expected.ignored & kept, kept);
    assert_eq!(run::<_, _, _, Signals>(of_a_command, ()).unwrap(), expected);
    assert_eq!(run::<_, _, _, Signals>(of_an_exec, ()).unwrap(), expected);

    let process = run(own_signals, ()).unwrap();
    assert_eq!(process.blocked, 0, "a process takes every signal");
    assert_eq!(process.ignored, expected.ignored);
    assert_eq!(Signals::own(), host, "and the host is as it was");
}

#[test]
fn a_program_that_a_process_starts_or_becomes_finds_the_defaults() {
    bounded!(|| check_programs(0));
}

#[test]
fn what_a_host_ignores_stays_ignored_and_what_it_blocks_is_its_own_affair() {
    bounded!(|| {
        let mut role = role::command("programs::role_ignores_hangups")
            .spawn()
            .unwrap();
        assert!(dead::how(&mut role, LIMIT).success());
    });
}

#[test]
fn the_hosts_signals_are_as_they_were() {
    bounded!(|| {
        sys::block(Signal::USR2);
        let before = Signals::own();
        assert_ne!(before.blocked & bit(Signal::USR2), 0);
        let system = start().unwrap();
        assert_eq!(Signals::own(), before);
        ask_echo().unwrap();
        assert_eq!(Signals::own(), before);
        system.stop();
        assert_eq!(Signals::own(), before);
        let () = run(ask_echo, ()).unwrap();
        assert_eq!(Signals::own(), before);
    });
}

fn read_stdin() -> anyhow::Result<String> {
    Ok(std::io::read_to_string(std::io::stdin())?)
}

fn who_reads_what() -> anyhow::Result<(String, String)> {
    spawn_monitor(read_stdin, ())?;
    let down: Down = receive()?;
    let ExitReason::Value(childs) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    let target = fs::read_link("/proc/self/fd/0")?;
    anyhow::ensure!(target.to_string_lossy().starts_with("pipe:"), "{target:?}");
    Ok((read_stdin()?, childs.get()?))
}

fn where_stdin_is() -> anyhow::Result<String> {
    Ok(fs::read_link("/proc/self/fd/0")?
        .to_string_lossy()
        .into_owned())
}

#[test]
fn role_is_fed() {
    if role::is(test_path!()) {
        let system = start().unwrap();
        spawn_monitor(where_stdin_is, ()).unwrap();
        let down: Down = receive().unwrap();
        let ExitReason::Value(target) = down.reason else {
            panic!("{}", down.reason)
        };
        assert_eq!(target.get::<String>().unwrap(), "/dev/null");
        system.stop();

        let (own, childs): (String, String) = run(who_reads_what, ()).unwrap();
        assert_eq!((own.as_str(), childs.as_str()), ("fed to the host\n", ""));
    }
}

#[test]
fn process_zero_of_a_run_reads_the_hosts_stdin_and_others_read_nothing() {
    bounded!(|| {
        let mut role = role::command("programs::role_is_fed");
        let mut role = role.stdin(Stdio::piped()).spawn().unwrap();
        role.stdin
            .take()
            .unwrap()
            .write_all(b"fed to the host\n")
            .unwrap();
        assert!(dead::how(&mut role, LIMIT).success());
    });
}

/// A program that a process starts must hold no descriptor of the system.
fn descriptors_of_a_command() -> anyhow::Result<Vec<String>> {
    let me = self_pid();
    let child = spawn(connected, ())?;
    send(child, me)?;
    receive::<()>()?;
    let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed
        .lines()
        .filter(|line| line.contains("socket:"))
        .map(str::to_owned)
        .collect())
}

fn connected() -> anyhow::Result<()> {
    let from: occasional::Pid = receive()?;
    send(from, ())?;
    receive::<()>()?;
    Ok(())
}

#[test]
fn a_program_that_a_process_starts_inherits_nothing_of_the_system() {
    bounded!(|| {
        let sockets: Vec<String> = run(descriptors_of_a_command, ()).unwrap();
        assert_eq!(sockets, [""; 0]);
    });
}

fn environment() -> anyhow::Result<(Vec<String>, Option<String>, String)> {
    let args = std::env::args().collect();
    Ok((
        args,
        std::env::var("OCC_OF_THE_HOST").ok(),
        std::env::current_dir()?.display().to_string(),
    ))
}

#[test]
fn role_has_an_environment() {
    if role::is(test_path!()) {
        let args: Vec<String> = std::env::args().collect();
        let seen: (Vec<String>, Option<String>, String) = run(environment, ()).unwrap();
        assert_eq!(seen, (args, Some("yes".to_owned()), "/".to_owned()));
    }
}

#[test]
fn a_process_has_the_arguments_the_environment_and_the_folder_of_its_host() {
    bounded!(|| {
        let mut role = role::command("programs::role_has_an_environment");
        let role = role.env("OCC_OF_THE_HOST", "yes").current_dir("/").spawn();
        assert!(dead::how(&mut role.unwrap(), LIMIT).success());
    });
}
