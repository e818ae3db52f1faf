//! The host, or its part that is the parent, ends in every way: nothing of it is left.

use std::process::Child;
use std::time::{Duration, Instant};

use occ_spawn::Spawner;
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::tree::Token;
use occ_test_support::{Signal, alive, dead, isolated, role, test_path};

use crate::raw;

/// Ten times what it is said to take.
const SOON: Duration = Duration::from_secs(10);

fn hold_on(hold: String, say: String) {
    Hold::open(&hold).for_life();
    Say::open(&say).line(std::process::id());
    raw::stay()
}

/// As [`hold_on`], but what stays is a fork, which nobody armed.
fn leave_a_fork(say: String) {
    if raw::fork().is_none() {
        Say::open(&say).line(format!("fork {}", std::process::id()));
        raw::stay();
    }
    raw::stay()
}

#[test]
fn role_host() {
    if !role::is(test_path!()) {
        return;
    }
    let spawner = Spawner::new().unwrap();
    let (hold, say) = (
        std::env::var("HOLD_AT").unwrap(),
        std::env::var("SAY_AT").unwrap(),
    );
    let mut children: Vec<_> = (0..5)
        .map(|_| spawner.spawn(hold_on, (hold.clone(), say.clone())).unwrap())
        .collect();
    if std::env::var_os("FORKED").is_some() {
        children.push(spawner.spawn(leave_a_fork, (say.clone(),)).unwrap());
    }
    let heart = alive::Heart::inherited("HEART");
    heart.beat_after(|| match std::env::var("HOW").unwrap().as_str() {
        "return" => children.clear(),
        "exit" => raw::exit_now(0),
        "abort" => std::process::abort(),
        "panic" => panic!("as asked"),
        // Waits to be killed.
        _ => {}
    });
    if std::env::var("HOW").unwrap() == "kill" {
        raw::stay();
    }
}

struct Host {
    process: Child,
    pulse: alive::Pulse,
    lifeline: Lifeline,
    /// What one of the processes forked.
    fork: Option<u32>,
    token: Token,
}

fn host(how: &str, forked: bool) -> Host {
    let (ready, say) = Ready::new();
    let (lifeline, hold) = Lifeline::new();
    let (pulse, heart) = alive::Pulse::new();
    let token = Token::new();
    let mut command = role::command("parent_dies::role_host");
    command
        .env("HOLD_AT", hold.address())
        .env("SAY_AT", say.address())
        .env("HOW", how);
    if forked {
        command.env("FORKED", "1");
    }
    heart.pass("HEART", &mut command);
    token.mark(&mut command);
    let process = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let process = process.spawn().unwrap();
    let lines: Vec<String> = (0..5 + usize::from(forked))
        .map(|_| ready.line(occ_test_support::LIMIT))
        .collect();
    let fork = lines
        .iter()
        .find_map(|line| line.strip_prefix("fork ")?.parse().ok());
    Host {
        process,
        pulse,
        lifeline,
        fork,
        token,
    }
}

#[test]
fn nothing_of_a_host_is_left_however_it_ends() {
    isolated!(|| {
        for how in ["return", "exit", "abort", "panic", "kill"] {
            let mut host = host(how, false);
            assert!(host.lifeline.is_alive());
            // The host, its zygote and five processes.
            assert_eq!(host.token.processes().len(), 7);
            let before = Instant::now();
            // The ping says when. Who lives long enough answers.
            let answered = host.pulse.beats(occ_test_support::LIMIT);
            assert_eq!(answered, ["return", "kill"].contains(&how));
            if how == "kill" {
                host.process.kill().unwrap();
            }
            dead::how(&mut host.process, occ_test_support::LIMIT);
            host.lifeline.wait_dead(SOON);
            host.token.wait_none_left(SOON);
            assert!(before.elapsed() < SOON, "{how}");
        }
    });
}

/// The control: what is not armed, a fork that a process makes itself, stays.
#[test]
fn a_fork_that_a_process_made_itself_survives_its_host() {
    isolated!(|| {
        let mut host = host("kill", true);
        let fork = host.fork.unwrap();
        host.process.kill().unwrap();
        dead::how(&mut host.process, occ_test_support::LIMIT);
        host.lifeline.wait_dead(SOON);
        let watch = dead::Watch::of(fork);
        assert!(watch.is_alive());
        watch.signal(Signal::KILL);
        host.token.wait_none_left(SOON);
    });
}

/// The kernel ties a child to the thread that made it. Processes are tied to the spawner's own.
#[test]
fn processes_outlive_the_thread_that_spawned_them() {
    isolated!(|| {
        let made = std::thread::spawn(|| {
            let spawner = Spawner::new().unwrap();
            let echo = crate::Echo::new(&spawner);
            (spawner, echo)
        });
        let (spawner, mut echo) = made.join().unwrap();
        echo.ping();
        let mut second =
            std::thread::scope(|scope| scope.spawn(|| crate::Echo::new(&spawner)).join().unwrap());
        second.ping();
        echo.ping();
    });
}
