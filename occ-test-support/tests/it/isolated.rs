use std::fs::File;
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::process::{Command, Stdio};

use occ_test_support::alive::alive;
use occ_test_support::dead::Watch;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, isolated, role, test_path, tree};

/// What a test shows that fails. It is started as a program; its body is isolated as any other.
fn failure_of(mut program: Command) -> String {
    let output = program.output().unwrap();
    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success(), "it succeeded:\n{shown}");
    shown
}

/// The pid that a role printed as `pid 42.`
fn pid_in(shown: &str) -> u32 {
    let (_, rest) = shown.split_once("pid ").unwrap();
    rest.split_once('.').unwrap().0.parse().unwrap()
}

#[test]
fn the_body_has_a_process_of_its_own_under_a_reaper_of_its_own() {
    let here = std::process::id();
    isolated!(move || {
        assert_eq!(
            std::process::id(),
            here,
            "the test is started anew, so this was set in the body's process"
        );
        assert_eq!(tree::children(parent_id()), [here]);
        assert!(Command::new("true").status().unwrap().success());
    });
}

#[test]
fn a_body_of_another_test_is_not_taken_for_its_own() {
    let missing = super::panic_of(|| isolated("isolated::no_such_test", || {}));
    assert!(missing.contains("is not the path of a test"), "{missing}");
}

#[test]
fn role_prints_and_panics() {
    if role::is(test_path!()) {
        isolated!(|| {
            println!("printed before");
            panic!("the reason");
        });
    }
}

#[test]
fn what_the_body_printed_is_shown_when_it_fails() {
    let shown = failure_of(role::command("isolated::role_prints_and_panics"));
    assert!(shown.contains("printed before"), "{shown}");
    assert!(shown.contains("the reason"), "{shown}");
}

#[test]
fn role_opens_an_fd_and_keeps_it() {
    if role::is(test_path!()) {
        isolated!(|| std::mem::forget(File::open("/dev/null").unwrap()));
    }
}

#[test]
fn a_leaked_fd_is_reported() {
    let shown = failure_of(role::command("isolated::role_opens_an_fd_and_keeps_it"));
    assert!(
        shown.contains("left open: ") && shown.contains("-> /dev/null"),
        "{shown}"
    );
}

#[test]
fn role_closes_an_fd_it_had_before() {
    if role::is(test_path!()) {
        let before = File::open("/dev/zero").unwrap();
        isolated!(move || drop(before));
    }
}

#[test]
fn a_closed_fd_is_reported() {
    let shown = failure_of(role::command("isolated::role_closes_an_fd_it_had_before"));
    assert!(
        shown.contains("closed: ") && shown.contains("-> /dev/zero"),
        "{shown}"
    );
}

#[test]
#[expect(clippy::zombie_processes, reason = "it is what this is about")]
fn role_leaves_a_zombie() {
    if role::is(test_path!()) {
        isolated!(|| {
            let child = Command::new("true").spawn().unwrap();
            dead::gone(child.id(), LIMIT);
        });
    }
}

#[test]
fn a_zombie_that_the_body_made_is_reported() {
    let shown = failure_of(role::command("isolated::role_leaves_a_zombie"));
    assert!(
        shown.contains("left children") && shown.contains("state Z"),
        "{shown}"
    );
}

#[test]
#[expect(clippy::zombie_processes, reason = "it is what this is about")]
fn role_leaves_a_child() {
    if role::is(test_path!()) {
        isolated!(|| {
            let child = Command::new("tail")
                .args(["-f", "/dev/null"])
                .spawn()
                .unwrap();
            println!("pid {}.", child.id());
        });
    }
}

#[test]
fn a_living_child_is_reported_and_ended() {
    let shown = failure_of(role::command("isolated::role_leaves_a_child"));
    let pid = pid_in(&shown);
    assert!(
        shown.contains("left children") && shown.contains(&format!("process {pid} ")),
        "{shown}"
    );
    assert!(!alive(pid), "{shown}");
}

#[test]
fn role_leaves_an_orphan() {
    if role::is(test_path!()) {
        isolated!(|| {
            let script = "tail -f /dev/null & echo pid $!.";
            assert!(
                Command::new("sh")
                    .args(["-c", script])
                    .status()
                    .unwrap()
                    .success()
            );
        });
    }
}

#[test]
fn an_orphan_that_stays_is_reported_and_ended() {
    let mut program = role::command("isolated::role_leaves_an_orphan");
    program.env("OCC_GRACE_MS", "20");
    let shown = failure_of(program);
    let pid = pid_in(&shown);
    assert!(
        shown.contains("still there") && shown.contains(&format!("process {pid} ")),
        "{shown}"
    );
    assert!(!alive(pid), "{shown}");
}

#[test]
fn an_orphan_that_ends_by_itself_is_no_leak() {
    isolated!(|| {
        let script = "exec 3<&0; cat <&3 >&2 &";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let held = shell.stdin.take();
        assert!(shell.wait().unwrap().success());
        // cat is an orphan now, and lives.
        let family = tree::children(parent_id());
        assert_eq!(family.len(), 2, "{family:?}");
        // It ends when it sees the end of its input, some time after this line.
        drop(held);
    });
}

#[test]
fn role_is_killed() {
    if role::is(test_path!()) {
        isolated!(|| std::process::abort());
    }
}

#[test]
fn a_body_that_is_killed_has_failed() {
    let shown = failure_of(role::command("isolated::role_is_killed"));
    assert!(shown.contains("the body ended with"), "{shown}");
}

#[test]
fn role_has_a_body_without_end() {
    if role::is(test_path!()) {
        isolated!(|| {
            Say::open(&std::env::var("SAY").unwrap()).line(std::process::id());
            loop {
                std::thread::park();
            }
        });
    }
}

#[test]
fn a_body_without_end_is_killed_and_its_tree_shown() {
    let (_ready, say) = Ready::new();
    let mut program = role::command("isolated::role_has_a_body_without_end");
    program
        .env("SAY", say.address())
        .env("OCC_BODY_LIMIT_MS", "500");
    let shown = failure_of(program);
    assert!(
        shown.contains("the body did not end within 500ms and is killed:\nprocess "),
        "{shown}"
    );
}

#[test]
fn the_body_dies_when_the_test_binary_is_killed() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let mut program = role::command("isolated::role_has_a_body_without_end");
        let mut program = program.env("SAY", say.address()).spawn().unwrap();
        let body = Watch::of(ready.pid(LIMIT));
        assert!(body.is_alive());

        program.kill().unwrap();
        assert_eq!(dead::how(&mut program, LIMIT).signal(), Some(9));
        body.wait_gone(LIMIT);
    });
}
