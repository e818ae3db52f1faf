//! At a terminal: ctrl-c, ctrl-\, ctrl-z and fg, and reading what is typed.

use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Child;
use std::sync::OnceLock;

use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::no_cores;
use occ_test_support::pty::Pty;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, dead, role, test_path};
use occasional::{Pid, receive, run, self_pid, send, spawn, start};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, getpgrp, kill_process_group, waitpid};

use crate::sys::{self, Action};

/// Writes to the terminal at once, past what std or libtest would keep.
fn show(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

fn read_line() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Holds the pipe, and doubles what it is sent.
fn work(hold: Option<String>) -> anyhow::Result<()> {
    if let Some(hold) = hold {
        Hold::open(&hold).for_life();
    }
    loop {
        let (from, number): (Pid, u32) = receive()?;
        send(from, number * 2)?;
    }
}

fn ask(worker: Pid, number: u32) -> anyhow::Result<()> {
    send(worker, (self_pid(), number))?;
    anyhow::ensure!(receive::<u32>()? == number * 2);
    Ok(())
}

const HOLD: &str = "OCC_HOLD";
const SAY: &str = "OCC_SAY";

fn work_and_wait() -> anyhow::Result<()> {
    let workers: Vec<Pid> = (0..3)
        .map(|_| Ok(spawn(work, (Some(std::env::var(HOLD)?),))?))
        .collect::<anyhow::Result<_>>()?;
    for worker in workers {
        ask(worker, 1)?;
    }
    Say::open(&std::env::var(SAY)?).ready();
    receive::<()>()?;
    Ok(())
}

#[test]
fn role_runs() {
    if role::is(test_path!()) {
        no_cores();
        let _ = run(work_and_wait, ());
    }
}

#[test]
fn role_starts() {
    if role::is(test_path!()) {
        no_cores();
        let _system = start().unwrap();
        let _ = work_and_wait();
    }
}

/// A host at a terminal, with workers that hold a pipe and everything marked.
fn at_a_terminal(role: &str) -> (Pty, Child, Lifeline, Token) {
    sys::take_every_signal();
    let (lifeline, hold) = Lifeline::new();
    let (ready, say) = Ready::new();
    let token = Token::new();
    let mut host = role::command(role);
    token.mark(&mut host);
    host.env(HOLD, hold.address()).env(SAY, say.address());
    let pty = Pty::new();
    let host = pty.spawn(host);
    ready.wait(LIMIT);
    (pty, host, lifeline, token)
}

#[test]
fn an_interrupt_that_the_host_does_not_catch_ends_everything() {
    bounded!(|| {
        for role in ["terminal::role_runs", "terminal::role_starts"] {
            for signal in [Signal::INT, Signal::QUIT] {
                let (pty, mut host, lifeline, token) = at_a_terminal(role);
                assert!(lifeline.is_alive());
                if signal == Signal::INT {
                    pty.ctrl_c()
                } else {
                    pty.ctrl_backslash()
                }
                let status = dead::how(&mut host, LIMIT);
                assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
                lifeline.wait_dead(LIMIT);
                token.wait_none_left(LIMIT);
            }
        }
    });
}

/// Where the handler tells that it was called.
static CAUGHT: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

extern "C" fn catch(_: i32) {
    if let Some((_, write)) = CAUGHT.get() {
        let _ = rustix::io::write(write, b"!");
    }
}

fn catch_interrupts() {
    CAUGHT.get_or_init(|| pipe_with(PipeFlags::CLOEXEC).unwrap());
    sys::on_signal(Signal::INT, Action::Call(catch));
    sys::on_signal(Signal::QUIT, Action::Call(catch));
}

fn wait_for_an_interrupt() {
    let (read, _) = CAUGHT.get().unwrap();
    while rustix::io::read(read, &mut [0_u8]) != Ok(1) {}
}

#[test]
fn role_catches() {
    if role::is(test_path!()) {
        catch_interrupts();
        let system = start().unwrap();
        let worker = spawn(work, (None,)).unwrap();
        for round in 0..4 {
            ask(worker, round).unwrap();
            show(&format!("round {round}"));
            wait_for_an_interrupt();
        }
        // It still can do whatever it could.
        ask(spawn(work, (None,)).unwrap(), 1).unwrap();
        ask(worker, 1).unwrap();
        system.stop();
        assert!(Token::own().processes().is_empty());
        show("stopped");
    }
}

#[test]
fn an_interrupt_that_the_host_catches_reaches_nobody_else() {
    bounded!(|| {
        sys::take_every_signal();
        let mut pty = Pty::new();
        let token = Token::new();
        let mut host = role::command("terminal::role_catches");
        token.mark(&mut host);
        let mut host = pty.spawn(host);
        for round in 0..4 {
            pty.read_until(&format!("round {round}"), LIMIT);
            // By the time of the answer in one round, all have had the signal of the round before.
            if round % 2 == 0 {
                pty.ctrl_c()
            } else {
                pty.ctrl_backslash()
            }
        }
        pty.read_until("stopped", LIMIT);
        let status = dead::how(&mut host, LIMIT);
        assert!(status.success(), "{status}");
        token.wait_none_left(LIMIT);
    });
}

/// Process zero, which reads the terminal.
fn read_and_work() -> anyhow::Result<String> {
    let worker = spawn(work, (None,))?;
    show("what now?");
    let line = read_line();
    ask(worker, 7)?;
    Ok(line)
}

#[test]
fn role_runs_a_reader() {
    if role::is(test_path!()) {
        catch_interrupts();
        let line: String = run(read_and_work, ()).unwrap();
        show(&format!("it read: {line}."));
    }
}

#[test]
fn process_zero_reads_the_terminal_also_after_an_interrupt_that_the_host_catches() {
    bounded!(|| {
        sys::take_every_signal();
        let mut pty = Pty::new();
        let mut host = pty.spawn(role::command("terminal::role_runs_a_reader"));
        pty.read_until("what now?", LIMIT);
        pty.ctrl_c();
        pty.write(b"go on\n");
        pty.read_until("it read: go on.", LIMIT);
        assert!(dead::how(&mut host, LIMIT).success());
    });
}

/// The job that is stopped and goes on.
#[test]
fn role_job() {
    if role::is(test_path!()) {
        // As well as the shell, and for the same reason as there: who comes first is not known, and whoever reads
        // the terminal from the background is stopped.
        sys::to_foreground(getpgrp());
        let system = start().unwrap();
        let worker = spawn(work, (None,)).unwrap();
        show("job: working");
        loop {
            let line = read_line();
            ask(worker, 5).unwrap();
            ask(spawn(work, (None,)).unwrap(), 6).unwrap();
            if line == "quit" {
                break;
            }
            show(&format!("job: done with {line}"));
        }
        system.stop();
        show("job: ended");
    }
}

/// As much of a shell as it takes: it starts one job in a group of its own, takes the terminal back when the job is
/// stopped, and gives it away again when it is told.
#[test]
fn role_shell() {
    if !role::is(test_path!()) {
        return;
    }
    // Whoever takes the terminal from the background is stopped, if it does not ignore this.
    sys::on_signal(Signal::TTOU, Action::Ignore);
    let mut command = role::command("terminal::role_job");
    let mut job = command.process_group(0).spawn().unwrap();
    let group = rustix::process::Pid::from_child(&job);
    sys::to_foreground(group);

    for _ in 0..2 {
        let (_, status) = waitpid(Some(group), WaitOptions::UNTRACED)
            .unwrap()
            .unwrap();
        assert_eq!(
            status.stopping_signal(),
            Some(Signal::TSTP.as_raw()),
            "{status:?}"
        );
        sys::to_foreground(getpgrp());
        show("shell: the job is stopped");
        assert_eq!(read_line(), "fg");
        sys::to_foreground(group);
        kill_process_group(group, Signal::CONT).unwrap();
        show("shell: the job goes on");
    }
    let status = job.wait().unwrap();
    sys::to_foreground(getpgrp());
    show(&format!("shell: the job ended with {status}"));
}

fn is_stopped(os_pid: u32) -> bool {
    Stat::of(os_pid).unwrap().state == 'T'
}

#[test]
fn a_job_that_is_stopped_and_goes_on_has_lost_nothing() {
    bounded!(|| {
        sys::take_every_signal();
        let mut pty = Pty::new();
        let token = Token::new();
        let mut shell = role::command("terminal::role_shell");
        token.mark(&mut shell);
        let mut shell = pty.spawn(shell);
        pty.read_until("job: working", LIMIT);
        for round in 0..2 {
            pty.write(format!("task {round}\n").as_bytes());
            pty.read_until(&format!("job: done with task {round}"), LIMIT);
            pty.ctrl_z();
            pty.read_until("shell: the job is stopped", LIMIT);
            // All of them but the shell, and the guard, who is on guard; one after the other.
            let all = token.processes();
            assert!(all.len() >= 5, "{all:?}");
            let is_of_the_job = |os_pid: &u32| {
                let name = std::fs::read_to_string(format!("/proc/{os_pid}/comm")).unwrap();
                *os_pid != shell.id() && name != "occ-guard\n"
            };
            for os_pid in all.into_iter().filter(is_of_the_job) {
                while !is_stopped(os_pid) {}
            }
            pty.write(b"fg\n");
            pty.read_until("shell: the job goes on", LIMIT);
            pty.write(b"something\n");
            pty.read_until("job: done with something", LIMIT);
        }
        pty.write(b"quit\n");
        pty.read_until("job: ended", LIMIT);
        pty.read_until("shell: the job ended with exit status: 0", LIMIT);
        assert!(dead::how(&mut shell, LIMIT).success());
        token.wait_none_left(LIMIT);
    });
}

fn group() -> u32 {
    Stat::own().group
}

/// Where job control finds them.
#[test]
fn processes_are_in_the_group_of_their_host() {
    bounded!(|| assert_eq!(run(group, ()).unwrap(), group()));
}
