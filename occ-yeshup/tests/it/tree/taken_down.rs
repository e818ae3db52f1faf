//! Who is SIGKILLed × how a program strays: nothing at all is left, and without a guard it is.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use occ_test_support::alive::alive;
use occ_test_support::in_flight::be_a_user_of_its_own;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::stress::times;
use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, Signal, dead, isolated, raw, role, skipped, test_path};
use occ_yeshup::CommandExt;
use rustix::process::geteuid;

use super::strays::{BOMB, By, GUARDS, Stray, Tree, WAYS, kill, yeshup};

/// All ways in which something is left by a program that has ended.
fn ways_to_leave() -> impl Iterator<Item = &'static str> {
    WAYS.into_iter()
        .filter(|way| *way != "it executes another program")
}

/// Each way of guarding, with each of these ways to stray.
fn each_guard_and(
    ways: impl IntoIterator<Item = &'static str>,
) -> impl Iterator<Item = (By, &'static str)> {
    let ways: Vec<_> = ways.into_iter().collect();
    let with_each = move |by| ways.clone().into_iter().map(move |way| (by, way));
    GUARDS.into_iter().flat_map(with_each)
}

fn nothing_is_left(tree: Tree) {
    dead::gone(tree.program, LIMIT);
    dead::gone(tree.left, LIMIT);
    Token::own().wait_none_left(LIMIT);
}

/// What a guarded program's caller is told of an end.
fn is_code(by: By, status: ExitStatus, code: i32) {
    assert_eq!(status.code(), Some(code), "{by:?}: {status}");
}

#[test]
fn when_the_program_ends_nothing_is_left_as_soon_as_that_is_told() {
    isolated!(|| {
        for (by, way) in each_guard_and(ways_to_leave()) {
            let mut stray = Stray::new(way);
            stray.ends = true;
            let (mut child, tree) = stray.start(by);
            let status = dead::how(&mut child, LIMIT);
            assert!(!alive(tree.left), "{by:?}: {way}");
            is_code(by, status, 7);
            nothing_is_left(tree);
        }
    });
}

/// The control.
#[test]
fn when_a_program_without_a_guard_ends_what_it_left_survives() {
    isolated!(|| {
        for way in ways_to_leave() {
            let mut stray = Stray::new(way);
            stray.ends = true;
            let (mut child, tree) = stray.start(By::Nobody);
            is_code(By::Nobody, dead::how(&mut child, LIMIT), 7);
            assert!(alive(tree.left), "{way}");
            kill(tree.left);
            dead::gone(tree.left, LIMIT);
        }
    });
}

#[test]
fn when_the_program_is_killed_nothing_is_left_and_the_signal_is_told() {
    isolated!(|| {
        for (by, way) in each_guard_and(WAYS) {
            let (mut child, tree) = Stray::new(way).start(by);
            kill(tree.program);
            let status = dead::how(&mut child, LIMIT);
            match by {
                By::Yeshup => is_code(by, status, 128 + 9),
                _ => assert_eq!(status.signal(), Some(9), "{status}"),
            }
            assert!(!alive(tree.left), "{by:?}: {way}");
            nothing_is_left(tree);
        }
    });
}

/// The control of all in which somebody is killed.
#[test]
fn when_a_program_without_a_guard_is_killed_what_it_started_survives() {
    isolated!(|| {
        for way in ways_to_leave() {
            let (mut child, tree) = Stray::new(way).start(By::Nobody);
            kill(tree.program);
            assert_eq!(dead::how(&mut child, LIMIT).signal(), Some(9));
            assert!(alive(tree.left), "{way}");
            kill(tree.left);
            dead::gone(tree.left, LIMIT);
        }
    });
}

#[test]
fn when_the_front_is_killed_nothing_is_left() {
    isolated!(|| {
        for (by, way) in each_guard_and(WAYS) {
            let (mut child, tree) = Stray::new(way).start(by);
            assert_eq!(tree.front(), child.id());
            child.kill().unwrap();
            assert_eq!(dead::how(&mut child, LIMIT).signal(), Some(9));
            nothing_is_left(tree);
        }
    });
}

#[test]
fn when_the_guard_is_killed_nothing_is_left_and_the_program_was_killed() {
    isolated!(|| {
        for (by, way) in each_guard_and(WAYS) {
            let (mut child, tree) = Stray::new(way).start(by);
            kill(tree.guard());
            let status = dead::how(&mut child, LIMIT);
            match by {
                By::Yeshup => is_code(by, status, 128 + 9),
                _ => assert_eq!(status.signal(), Some(9), "{status}"),
            }
            assert!(!alive(tree.left), "{by:?}: {way}");
            nothing_is_left(tree);
        }
    });
}

#[test]
fn when_the_caller_is_killed_nothing_is_left() {
    isolated!(|| {
        for (by, way) in each_guard_and(WAYS) {
            let (mut caller, tree) = Stray::new(way).start_by_a_caller(by);
            // The thread that started it has ended, and nothing came of that.
            assert!(alive(tree.program) && alive(tree.left), "{by:?}: {way}");
            caller.kill().unwrap();
            dead::how(&mut caller, LIMIT);
            nothing_is_left(tree);
        }
    });
}

/// What `kill -9 %1` does, and timeout(1): the caller, the front and the program are in one, and the guard in another.
#[test]
fn when_the_process_group_of_the_caller_is_killed_nothing_is_left() {
    isolated!(|| {
        for (by, way) in each_guard_and(WAYS) {
            let (mut caller, tree) = Stray::new(way).start_by_a_caller(by);
            raw::kill(-i32::try_from(caller.id()).unwrap(), 9);
            dead::how(&mut caller, LIMIT);
            nothing_is_left(tree);
        }
    });
}

/// The control.
#[test]
fn when_the_caller_of_a_program_without_a_guard_is_killed_all_survives() {
    isolated!(|| {
        for way in WAYS {
            let (mut caller, tree) = Stray::new(way).start_by_a_caller(By::Nobody);
            caller.kill().unwrap();
            dead::how(&mut caller, LIMIT);
            for one in [tree.program, tree.left] {
                assert!(alive(one), "{way}");
            }
            for one in [tree.program, tree.left] {
                kill(one);
                dead::gone(one, LIMIT);
            }
        }
    });
}

/// Two at once, in either order; but for front and guard, one of them is left to see it.
#[test]
fn when_two_that_are_not_front_and_guard_are_killed_nothing_is_left() {
    isolated!(|| {
        for by in GUARDS {
            for round in 0..times(8) {
                let way = WAYS[round % WAYS.len()];
                let (mut caller, tree) = Stray::new(way).start_by_a_caller(by);
                let other = match round % 3 {
                    0 => tree.front(),
                    1 => tree.guard(),
                    _ => tree.program,
                };
                let mut victims = [caller.id(), other];
                if round % 2 == 0 {
                    victims.reverse();
                }
                victims.into_iter().for_each(kill);
                dead::how(&mut caller, LIMIT);
                nothing_is_left(tree);
            }
        }
    });
}

/// Not told as wanted, and so that it is known: who has started it is armed, what it started is not.
#[test]
fn when_front_and_guard_are_killed_at_once_the_program_is_and_what_it_started_survives() {
    isolated!(|| {
        for by in GUARDS {
            let (mut child, tree) = Stray::new(WAYS[0]).start(by);
            let (front, guard) = (tree.front(), tree.guard());
            // While it is stopped it sees nothing.
            dead::Watch::of(front).signal(Signal::STOP);
            kill(guard);
            kill(front);
            dead::how(&mut child, LIMIT);
            dead::gone(tree.program, LIMIT);
            assert!(alive(tree.left));
            kill(tree.left);
            nothing_is_left(tree);
        }
    });
}

/// The guard is told to go on by the front, and the front by the guard.
#[test]
fn who_is_stopped_does_what_it_is_there_for_all_the_same() {
    isolated!(|| {
        for by in GUARDS {
            for stops_front in [true, false] {
                let (mut caller, tree) = Stray::new(WAYS[2]).start_by_a_caller(by);
                let one = if stops_front {
                    tree.front()
                } else {
                    tree.guard()
                };
                dead::Watch::of(one).signal(Signal::STOP);
                kill(caller.id());
                dead::how(&mut caller, LIMIT);
                nothing_is_left(tree);
            }
        }
    });
}

/// A guard within a guard: what falls out of the inner one is the outer one's.
#[test]
fn what_an_inner_guard_loses_the_outer_one_ends() {
    isolated!(|| {
        for by in GUARDS {
            let (ready, say) = Ready::new();
            let mut inner = yeshup();
            let script = format!("setsid sleep 1000 & echo $$ $! > {}; wait", say.address());
            inner.args(["sh", "-c", &script]);
            let mut outer = match by {
                By::Yeshup => {
                    let mut outer = yeshup();
                    outer.arg(inner.get_program()).args(inner.get_args());
                    outer
                }
                _ => by.starts(inner, Duration::ZERO),
            };
            let mut child = outer.spawn().unwrap();
            let tree = Tree::heard(&ready);
            let (front, guard) = (tree.front(), tree.guard());
            assert_ne!(front, child.id());
            dead::Watch::of(front).signal(Signal::STOP);
            kill(guard);
            kill(front);
            let status = dead::how(&mut child, LIMIT);
            assert!(!status.success());
            nothing_is_left(tree);
        }
    });
}

/// What `sudo` runs is root's. It is not waited for for ever.
#[test]
fn what_has_become_another_users_is_left_and_the_rest_is_not() {
    isolated!(|| {
        if !geteuid().is_root() {
            return skipped("a program of another user's needs root");
        }
        let copy = std::env::temp_dir().join(format!("occ-set-user-{}", std::process::id()));
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o4755)).unwrap();
        let (ready, say) = Ready::new();
        let mut user = role::command("tree::taken_down::role_user");
        user.env("COPY", &copy).env("SAY", say.address());
        let mut user = user.stdout(Stdio::null()).spawn().unwrap();
        let other = ready.line(LIMIT);
        // It runs. Such a file is not to be left, whatever comes of this.
        std::fs::remove_file(copy).unwrap();
        let other: u32 = other.parse().unwrap();
        let own: u32 = ready.line(LIMIT).parse().unwrap();
        // The guarded shell has ended, and its guard has not waited until a deadline.
        let began = Instant::now();
        let told = ready.line(LIMIT);
        assert_eq!(told, "exit status: 4");
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "{:?}",
            began.elapsed()
        );
        assert!(!alive(own));
        assert!(alive(other));
        kill(other);
        dead::gone(other, LIMIT);
        dead::how(&mut user, LIMIT);
    });
}

/// Plays a user who has a shell run a program that becomes another user's.
#[test]
fn role_user() {
    if role::is(test_path!()) {
        // Opened while it may be: the pipe is root's.
        let say = Say::open(&std::env::var("SAY").unwrap());
        assert!(be_a_user_of_its_own(256, true));
        let (ready, inner) = Ready::new();
        let program = role::command("tree::taken_down::role_another_user");
        let script = "sleep 1000 & echo $!; \"$0\" \"$@\" >/dev/null & read line; exit 4";
        let mut shell = Command::new("sh");
        shell.guard_tree().args(["-c", script]);
        shell.arg(std::env::var_os("COPY").unwrap());
        shell.args(program.get_args());
        shell.env("OCC_ROLE", "tree::taken_down::role_another_user");
        inner.pass("INNER", &mut shell);
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        say.line(ready.pid(LIMIT));
        let mut own = String::new();
        let mut stdout = BufReader::new(shell.stdout.take().unwrap());
        stdout.read_line(&mut own).unwrap();
        say.line(own.trim());
        drop(shell.stdin.take());
        say.line(shell.wait().unwrap());
    }
}

#[test]
fn role_another_user() {
    if role::is(test_path!()) {
        let say = Say::inherited("INNER");
        assert!(be_a_user_of_its_own(256, true));
        say.line(std::process::id());
        raw::stay()
    }
}

/// They fork as fast as they may, for as long as there is one of them.
#[test]
fn a_fork_bomb_under_a_limit_comes_to_an_end_whoever_is_killed() {
    isolated!(|| {
        if !geteuid().is_root() {
            return skipped("a limit on processes needs a user of its own, and that root");
        }
        for by in GUARDS {
            for who in ["nobody", "program", "front", "guard"] {
                let mut stray = Stray::new(BOMB);
                stray.ends = who == "nobody";
                let (mut child, tree) = stray.start(by);
                match who {
                    "program" => kill(tree.program),
                    "front" => kill(tree.front()),
                    "guard" => kill(tree.guard()),
                    _ => {}
                }
                dead::how(&mut child, LIMIT);
                nothing_is_left(tree);
            }
            let (mut caller, tree) = Stray::new(BOMB).start_by_a_caller(by);
            kill(caller.id());
            dead::how(&mut caller, LIMIT);
            nothing_is_left(tree);
        }
    });
}

/// From a caller that ends before anything has begun, to one that ends long after. `yeshup` cannot know of one that had ended
/// before it could look.
#[test]
fn whatever_the_moment_at_which_the_caller_of_a_command_is_killed_nothing_is_left() {
    isolated!(|| {
        for round in 0..times(60) {
            let mut caller = role::command("tree::strays::role_caller");
            caller
                .env("BY", format!("{:?}", By::Command))
                .env("GRACE", "0");
            let envs = [("WAY", WAYS[2]), ("SAY", "/dev/null"), ("ENDS", "no")];
            caller.envs(envs).env("IGNORES", "");
            // What `std` says of a spawn that nobody waits for any more is of no interest.
            caller.stdout(Stdio::null()).stderr(Stdio::null());
            let mut caller = caller.spawn().unwrap();
            // A test binary takes some milliseconds to come to its role.
            let (began, delay) = (
                Instant::now(),
                Duration::from_micros(250 * (round as u64 % 60)),
            );
            while began.elapsed() < delay {
                std::thread::yield_now();
            }
            kill(caller.id());
            dead::how(&mut caller, LIMIT);
            Token::own().wait_none_left(LIMIT);
        }
    });
}
