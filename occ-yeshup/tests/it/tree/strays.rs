//! Programs that stray, in each way there is, and those who start them: guarded, or not.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use occ_test_support::in_flight::be_a_user_of_its_own;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::stray::fork_and_hear;
use occ_test_support::{LIMIT, Signal, dead, raw, role, test_path};
use occ_yeshup::CommandExt;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Who starts a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Nobody looks after it: the control.
    Nobody,
    /// The extension of [`Command`].
    Command,
    /// `yeshup`.
    Yeshup,
}

pub(crate) const GUARDS: [By; 2] = [By::Command, By::Yeshup];

impl By {
    fn named(name: &str) -> By {
        let all = [By::Nobody, By::Command, By::Yeshup];
        all.into_iter()
            .find(|by| format!("{by:?}") == name)
            .unwrap()
    }

    /// `program`, looked after.
    pub(crate) fn starts(self, program: Command, grace: Duration) -> Command {
        match self {
            By::Nobody => program,
            By::Command => {
                let mut program = program;
                program.guard_tree_with_grace(grace);
                program
            }
            By::Yeshup => {
                let mut yeshup = yeshup();
                yeshup.arg("--grace");
                yeshup.arg(format!("{}ms", grace.as_millis())).arg("--");
                // For another program, /proc/self/exe is another.
                yeshup.arg(std::env::current_exe().unwrap());
                yeshup.args(program.get_args());
                for (key, value) in program.get_envs() {
                    match value {
                        Some(value) => yeshup.env(key, value),
                        None => yeshup.env_remove(key),
                    };
                }
                yeshup
            }
        }
    }
}

pub(crate) fn yeshup() -> Command {
    Command::new(env!("CARGO_BIN_EXE_yeshup"))
}

pub(crate) const BOMB: &str = "a fork bomb under a limit";
const IN_PLACE: &str = "it executes another program";

pub(crate) const WAYS: [&str; 8] = [
    "a fork",
    "a fork of a fork, whose parent has ended",
    "a session of its own",
    "one that ignores SIGTERM and SIGHUP",
    "one that is stopped",
    "a program",
    "a program of a shell's, in a session of its own",
    IN_PLACE,
];

/// Strays in one way, and gives who is left.
fn stray(way: &str) -> u32 {
    let own = || std::process::id();
    match way {
        "one that is stopped" => fork_and_hear(|say| {
            say(own());
            raw::raise(libc::SIGSTOP);
            raw::stay()
        }),
        IN_PLACE => own(),
        BOMB => fork_and_hear(|say| {
            assert!(be_a_user_of_its_own(256, true));
            let limit = Some(60);
            let limit = Rlimit {
                current: limit,
                maximum: limit,
            };
            setrlimit(Resource::Nproc, limit).unwrap();
            say(own());
            loop {
                raw::try_fork();
            }
        }),
        way => occ_test_support::stray::stray(way),
    }
}

/// Plays a program: strays, says who it is and who is left, and ends or stays.
#[test]
fn role_program() {
    if role::is(test_path!()) {
        let of = |key| std::env::var(key).unwrap();
        let way = of("WAY");
        if of("IGNORES") == "TERM" {
            raw::ignore(libc::SIGTERM);
        }
        let left = stray(&way);
        Say::open(&of("SAY")).line(format!("{} {left}", std::process::id()));
        if way == IN_PLACE {
            panic!("{}", Command::new("sleep").arg("1000").exec());
        }
        if of("ENDS") == "yes" {
            raw::exit_now(7);
        }
        raw::stay()
    }
}

/// A program that strays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    pub(crate) way: &'static str,
    pub(crate) ends: bool,
    pub(crate) ignores_term: bool,
    pub(crate) grace: Duration,
}

impl Stray {
    pub(crate) fn new(way: &'static str) -> Stray {
        Stray {
            way,
            ends: false,
            ignores_term: false,
            grace: Duration::ZERO,
        }
    }

    fn program(self, say: &str) -> Command {
        let mut program = role::command("tree::strays::role_program");
        program.env("WAY", self.way).env("SAY", say);
        program.env("ENDS", if self.ends { "yes" } else { "no" });
        program.env("IGNORES", if self.ignores_term { "TERM" } else { "" });
        program.stdout(Stdio::null());
        program
    }

    /// Starts it, and gives it when it has strayed.
    pub(crate) fn start(self, by: By) -> (Child, Tree) {
        let (ready, say) = Ready::new();
        let mut command = by.starts(self.program(&say.address()), self.grace);
        command.stdout(Stdio::null());
        let child = command.spawn().unwrap();
        (child, Tree::heard(&ready))
    }

    /// The same, by a caller of its own, which does nothing else, and leads a process group.
    pub(crate) fn start_by_a_caller(self, by: By) -> (Child, Tree) {
        let (ready, say) = Ready::new();
        let mut caller = role::command("tree::strays::role_caller");
        for (key, value) in self.program(&say.address()).get_envs() {
            if let Some(value) = value
                && key != "OCC_ROLE"
            {
                caller.env(key, value);
            }
        }
        caller.env("BY", format!("{by:?}"));
        caller.env("GRACE", self.grace.as_millis().to_string());
        caller.process_group(0).stdout(Stdio::null());
        (caller.spawn().unwrap(), Tree::heard(&ready))
    }
}

/// Plays a caller.
#[test]
#[expect(clippy::zombie_processes, reason = "the caller is killed")]
fn role_caller() {
    if role::is(test_path!()) {
        let by = By::named(&std::env::var("BY").unwrap());
        let grace = std::env::var("GRACE").unwrap().parse().unwrap();
        let program = role::command("tree::strays::role_program");
        let mut command = by.starts(program, Duration::from_millis(grace));
        // On a thread that has ended soon: it is the process that counts.
        let spawn = move || command.stdout(Stdio::null()).spawn().unwrap();
        std::thread::spawn(spawn).join().unwrap();
        raw::stay()
    }
}

/// Who is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    pub(crate) program: u32,
    pub(crate) left: u32,
}

impl Tree {
    pub(crate) fn heard(ready: &Ready) -> Tree {
        let line = ready.line(LIMIT);
        let (program, left) = line.split_once(' ').unwrap();
        Tree {
            program: program.parse().unwrap(),
            left: left.parse().unwrap(),
        }
    }

    /// The program's parent.
    pub(crate) fn guard(self) -> u32 {
        Stat::of(self.program).unwrap().parent
    }

    pub(crate) fn front(self) -> u32 {
        Stat::of(self.guard()).unwrap().parent
    }
}

pub(crate) fn kill(pid: u32) {
    dead::Watch::of(pid).signal(Signal::KILL);
}
