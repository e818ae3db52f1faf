//! What a guarded command is to its caller: as it would be without, but for what it leaves.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

use occ_test_support::dead::how;
use occ_test_support::lifeline::Lifeline;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stat::Stat;
use occ_test_support::tree::{Token, children};
use occ_test_support::{LIMIT, isolated, raw, role, skipped, test_path, within};
use occ_yeshup::CommandExt;
use rustix::io::Errno;

use super::strays::{By, Stray, WAYS, kill};

fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell
}

#[test]
fn its_status_is_that_of_the_program() {
    isolated!(|| {
        for (script, code, signal) in [
            ("exit 0", Some(0), None),
            ("exit 3", Some(3), None),
            ("exit 255", Some(255), None),
            ("kill -TERM $$", None, Some(libc::SIGTERM)),
            ("kill -SEGV $$", None, Some(libc::SIGSEGV)),
            ("kill -KILL $$", None, Some(libc::SIGKILL)),
            ("kill -40 $$", None, Some(40)),
        ] {
            for guarded in [true, false] {
                let mut command = shell(script);
                if guarded {
                    command.guard_tree();
                }
                let status = command.status().unwrap();
                let told = (status.code(), status.signal());
                assert_eq!(told, (code, signal), "{script}, guarded: {guarded}");
            }
        }
    });
}

#[test]
fn what_keeps_a_program_from_being_executed_is_the_error_of_spawn() {
    isolated!(|| {
        for (path, errno) in [
            ("/nowhere/to/be/found", Errno::NOENT),
            ("occ-no-such-program", Errno::NOENT),
            ("/etc/passwd", Errno::ACCESS),
            ("/", Errno::ACCESS),
        ] {
            for guarded in [true, false] {
                let mut command = Command::new(path);
                // A folder that may not be looked into would be another reason.
                command.env("PATH", "/usr/bin:/bin");
                if guarded {
                    command.guard_tree();
                }
                let error = command.spawn().unwrap_err();
                let told = error.raw_os_error();
                assert_eq!(told, Some(errno.raw_os_error()), "{path}: {guarded}");
            }
        }
    });
}

/// Who has a default of its own for all commands need not know who has one as well.
#[test]
fn to_guard_a_command_twice_is_to_guard_it_once() {
    isolated!(|| {
        for times in [1, 2, 3] {
            let mut command = shell("echo ready; sleep 1000 & read line; exit 3");
            for _ in 0..times {
                command.guard_tree();
            }
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            // A command serves more than once.
            for _ in 0..2 {
                let mut child = command.spawn().unwrap();
                let mut ready = [0; 6];
                child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
                let guards = children(child.id());
                let programs: Vec<u32> = guards.iter().flat_map(|guard| children(*guard)).collect();
                assert_eq!((guards.len(), programs.len()), (1, 1), "{times}");
                let comm = fs::read_to_string(format!("/proc/{}/comm", programs[0]));
                assert_eq!(comm.unwrap(), "sh\n", "{times}");
                drop(child.stdin.take());
                assert_eq!(how(&mut child, LIMIT).code(), Some(3), "{times}");
                Token::own().wait_none_left(LIMIT);
            }
        }
    });
}

#[test]
fn to_guard_a_command_with_two_grace_periods_is_an_error() {
    isolated!(|| {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(2));
        for (first, second, refused) in [
            (short, long, true),
            (long, short, true),
            (long, long, false),
        ] {
            let mut command = shell("exit 3");
            command
                .guard_tree_with_grace(first)
                .guard_tree_with_grace(second);
            match within(LIMIT, || command.status()) {
                Ok(status) => assert_eq!((status.code(), refused), (Some(3), false)),
                Err(error) => {
                    assert_eq!(
                        (error.raw_os_error(), refused),
                        (Some(libc::EALREADY), true)
                    );
                }
            }
            Token::own().wait_none_left(LIMIT);
        }
    });
}

/// Plays a program whose own file is what the test says.
#[test]
fn role_starts_true() {
    if role::is(test_path!()) {
        let say = Say::open(&std::env::var("SAY").unwrap());
        let mode = std::env::var("MODE").unwrap().parse().unwrap();
        let own = std::env::current_exe().unwrap();
        fs::set_permissions(own, fs::Permissions::from_mode(mode)).unwrap();
        match Command::new("true").guard_tree().status() {
            Ok(status) => say.line(status),
            Err(error) => say.line(error.raw_os_error().unwrap()),
        }
    }
}

#[test]
fn a_caller_whose_own_image_cannot_be_executed_again_is_told_so() {
    isolated!(|| {
        let copy = std::env::temp_dir().join(format!("occ-yeshup-{}", std::process::id()));
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        for (mode, expected) in [
            (0o755, "exit status: 0".to_owned()),
            (0o644, libc::ELIBACC.to_string()),
        ] {
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
            let (ready, say) = Ready::new();
            let role = role::command("tree::of_a_command::role_starts_true");
            let mut program = Command::new(&copy);
            program.args(role.get_args()).stdout(Stdio::null());
            for (key, value) in role.get_envs() {
                match value {
                    Some(value) => program.env(key, value),
                    None => program.env_remove(key),
                };
            }
            program
                .env("SAY", say.address())
                .env("MODE", mode.to_string());
            let mut program = program.spawn().unwrap();
            assert_eq!(ready.line(LIMIT), expected);
            assert!(how(&mut program, LIMIT).success());
        }
        fs::remove_file(copy).unwrap();
    });
}

#[test]
fn a_spawn_by_a_fork_of_the_caller_is_esrch() {
    isolated!(|| {
        let mut command = Command::new("true");
        command.guard_tree();
        let Some(fork) = raw::fork() else {
            let error = command.spawn().err().and_then(|error| error.raw_os_error());
            raw::exit_now((error != Some(libc::ESRCH)).into())
        };
        assert_eq!(raw::wait_for(fork), 0);
        assert!(command.status().unwrap().success());
    });
}

/// Where each descriptor of a process leads to.
fn descriptors(pid: u32) -> Vec<(i32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let target = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
            let number = path.file_name().unwrap().to_string_lossy().parse();
            (number.unwrap(), target)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn front_and_guard_hold_nothing_of_the_programs_and_little_else() {
    isolated!(|| {
        for by in [By::Command, By::Yeshup] {
            // One that the caller passes on to the program on purpose.
            let (lifeline, hold) = Lifeline::new();
            let mut command = shell("echo; read line");
            hold.pass("HOLD", &mut command);
            let mut command = match by {
                By::Yeshup => {
                    let mut yeshup = super::strays::yeshup();
                    hold.pass("HOLD", &mut yeshup);
                    yeshup.args(["sh", "-c", "echo; read line"]);
                    yeshup
                }
                _ => by.starts(command, LIMIT),
            };
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            drop(hold);
            let mut stdout = child.stdout.take().unwrap();
            within(LIMIT, || stdout.read_exact(&mut [0])).unwrap();
            let front = child.id();
            let guard = children(front)[0];
            let program = children(guard)[0];
            let pipe = |(_, target): &(i32, String)| target.starts_with("pipe:");
            // Its two, and the one on purpose.
            assert!(descriptors(program).iter().filter(|it| pipe(it)).count() >= 3);
            for pid in [front, guard] {
                // That by which one that could not be executed is known is empty, and of yeshup's front alone.
                let pipes = usize::from(by == By::Yeshup && pid == front);
                // What they need to see to it that the program runs, they close soon after it does.
                let all = within(LIMIT, || {
                    loop {
                        let all = descriptors(pid);
                        if all.len() <= 7 && all.iter().filter(|it| pipe(it)).count() <= pipes {
                            break all;
                        }
                        std::thread::yield_now();
                    }
                });
                for (number, target) in &all[..3] {
                    assert_eq!(target, "/dev/null", "{by:?}: {number}");
                }
                let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
                assert_eq!(folder.to_str(), Some("/"));
            }
            drop(child.stdin.take());
            how(&mut child, LIMIT);
            lifeline.wait_dead(LIMIT);
        }
    });
}

/// Whoever reads what a program writes waits for the last who could write.
#[test]
fn a_pipe_that_the_program_closes_is_at_its_end_while_it_lives() {
    isolated!(|| {
        let mut command = shell("echo said; exec >&-; read line; exit 4");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.guard_tree().spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut said = String::new();
        within(LIMIT, || stdout.read_to_string(&mut said)).unwrap();
        assert_eq!(said, "said\n");
        assert!(child.try_wait().unwrap().is_none());
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(how(&mut child, LIMIT).code(), Some(4));
    });
}

/// What /proc says that a program was started with.
fn seen_by_a_program(by: By, script: &str) -> String {
    let output = match by {
        By::Yeshup => super::strays::yeshup().args(["sh", "-c", script]).output(),
        By::Command => shell(script).guard_tree().output(),
        By::Nobody => shell(script).output(),
    };
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn a_program_finds_the_descriptors_signals_and_folder_that_it_would_without() {
    isolated!(|| {
        raw::ignore(libc::SIGUSR2);
        for script in [
            "ls /proc/self/fd",
            // The C library has two for itself, the 32nd and 33rd, and posix_spawn(3) ignores one of them.
            "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -c18-24",
            "pwd; env | grep -v -E '^(_|PWD|SHLVL)='",
            "ulimit -a",
        ] {
            let without = seen_by_a_program(By::Nobody, script);
            assert!(!without.is_empty());
            for by in [By::Command, By::Yeshup] {
                assert_eq!(seen_by_a_program(by, script), without, "{by:?}: {script}");
            }
        }
    });
}

#[test]
fn front_and_guard_are_no_copies_of_the_callers_memory() {
    isolated!(|| {
        let much = vec![1_u8; 64 << 20];
        let (mut child, tree) = Stray::new(WAYS[0]).start(By::Command);
        let resident = |pid: u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
            let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
            pages * rustix::param::page_size()
        };
        assert!(resident(std::process::id()) > much.len());
        for pid in [tree.front(), tree.guard()] {
            assert!(resident(pid) < much.len() / 2, "{}", resident(pid));
        }
        kill(tree.program);
        how(&mut child, LIMIT);
        assert_eq!(much[much.len() / 2], 1);
    });
}

#[test]
fn role_says_its_name() {
    if role::is(test_path!()) {
        let say = Say::open(&std::env::var("SAY").unwrap());
        say.line(std::env::args().next().unwrap());
    }
}

#[test]
fn a_program_that_somebody_calls_by_our_names_runs_its_main() {
    isolated!(|| {
        for name in ["yeshup-front", "yeshup-guard"] {
            let (ready, say) = Ready::new();
            let mut program = role::command("tree::of_a_command::role_says_its_name");
            program.arg0(name).env("SAY", say.address());
            let mut program = program.stdout(Stdio::null()).spawn().unwrap();
            assert_eq!(ready.line(LIMIT), name);
            assert!(how(&mut program, LIMIT).success());
        }
    });
}

#[test]
fn a_command_may_be_another_users() {
    isolated!(|| {
        if !rustix::process::geteuid().is_root() {
            return skipped("to be another user needs root");
        }
        let (nobody, script) = (65534, "id -u; sleep 1000 & exit 3");
        let output = shell(script).uid(nobody).guard_tree().output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, format!("{nobody}\n").as_bytes());
    });
}

#[test]
fn a_command_may_lead_a_group_and_be_spawned_many_times() {
    isolated!(|| {
        let mut command = shell("exit 6");
        command.process_group(0).guard_tree();
        for _ in 0..3 {
            assert_eq!(command.status().unwrap().code(), Some(6));
        }
        let (mut child, tree) = Stray::new(WAYS[0]).start(By::Command);
        assert_eq!(Stat::of(tree.program).unwrap().group, Stat::own().group);
        child.kill().unwrap();
        how(&mut child, LIMIT);
    });
}
