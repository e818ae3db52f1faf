use std::process::{Command, Stdio};

use occ_test_support::dead::how;
use occ_test_support::tree::{Token, children, descendants, describe, with_env};
use occ_test_support::{LIMIT, isolated, stress};

#[test]
fn descendants_are_children_and_theirs() {
    isolated!(|| {
        let own = std::process::id();
        assert!(descendants(own).is_empty());

        let script = "cat <&3 & cat <&3 & echo; wait";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("exec 3<&0; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();

        assert_eq!(children(own), [shell.id()]);
        let all = descendants(own);
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!(all[0], shell.id(), "parents come first");
        assert!(
            describe(all[0]).contains("exec 3<&0"),
            "{}",
            describe(all[0])
        );

        drop(shell.stdin.take());
        assert!(how(&mut shell, LIMIT).success());
        assert!(descendants(own).is_empty());
    });
}

#[test]
fn a_marked_tree_is_found_wherever_it_strays() {
    isolated!(|| {
        let token = Token::new();
        assert!(token.processes().is_empty());
        token.wait_none_left(LIMIT);

        // The grandchild is an orphan in a session of its own.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<&0; setsid cat <&3 >/dev/null &"])
            .stdin(Stdio::piped());
        token.mark(&mut command);
        let mut shell = command.spawn().unwrap();
        let held = shell.stdin.take();
        assert!(how(&mut shell, LIMIT).success());
        assert_eq!(token.processes().len(), 1);
        let failure = super::panic_of(|| token.wait_none_left(super::SHORT));
        assert!(failure.contains("still there"), "{failure}");
        assert!(
            Token::new().processes().is_empty(),
            "another mark is on nobody"
        );

        drop(held);
        token.wait_none_left(LIMIT);
        assert!(token.processes().is_empty());
    });
}

#[test]
fn what_the_body_of_an_isolated_test_starts_carries_its_mark() {
    isolated!(|| {
        let token = Token::own();
        assert!(
            token.processes().is_empty(),
            "the body itself does not count"
        );
        let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(token.processes(), [cat.id()]);
        drop(cat.stdin.take());
        token.wait_none_left(LIMIT);
        // A zombie is not there any more, though not reaped yet.
        assert!(how(&mut cat, LIMIT).success());
    });
}

#[test]
fn the_whole_entry_must_be_the_same() {
    isolated!(|| {
        let mut cat = Command::new("cat")
            .env("OCC_KEY", "value")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(with_env("OCC_KEY", "value"), [cat.id()]);
        assert!(with_env("OCC_KEY", "val").is_empty());
        assert!(with_env("CC_KEY", "value").is_empty());
        drop(cat.stdin.take());
        assert!(how(&mut cat, LIMIT).success());
    });
}

#[test]
fn a_process_in_the_middle_of_an_exec_is_not_overlooked() {
    isolated!(|| {
        let token = Token::own();
        for _ in 0..stress::times(200) {
            // posix_spawn(3) returns as soon as the new program has its memory, before that is filled.
            let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            assert_eq!(token.processes(), [cat.id()]);
            drop(cat.stdin.take());
            assert!(how(&mut cat, LIMIT).success());
        }
    });
}

#[test]
fn a_process_without_any_environment_is_nobodys() {
    isolated!(|| {
        let mut cat = Command::new("/bin/cat")
            .env_clear()
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(Token::own().processes().is_empty());
        drop(cat.stdin.take());
        assert!(how(&mut cat, LIMIT).success());
    });
}
