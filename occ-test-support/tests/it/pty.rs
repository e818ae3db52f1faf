use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use occ_test_support::dead::how;
use occ_test_support::pty::Pty;
use occ_test_support::{LIMIT, isolated};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn it_is_the_controlling_terminal_on_all_three_fds() {
    isolated!(|| {
        let mut pty = Pty::new();
        let script = "test -t 0 && test -t 1 && test -t 2 && echo yes > /dev/tty";
        let mut child = pty.spawn(shell(script));
        assert_eq!(pty.read_until("yes", LIMIT), "yes");
        assert!(how(&mut child, LIMIT).success());
    });
}

#[test]
fn ctrl_c_interrupts_who_is_at_the_terminal() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut child = pty.spawn(shell("echo ready; exec cat"));
        pty.read_until("ready\r\n", LIMIT);
        pty.ctrl_c();
        assert_eq!(how(&mut child, LIMIT).signal(), Some(2));
    });
}

#[test]
fn ctrl_backslash_quits_and_what_is_typed_arrives() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut child = pty.spawn(shell("ulimit -c 0; exec cat"));
        pty.write(b"hello\n");
        // Once as the terminal's echo, once as cat's.
        pty.read_until("hello\r\n", LIMIT);
        pty.read_until("hello\r\n", LIMIT);
        pty.ctrl_backslash();
        assert_eq!(how(&mut child, LIMIT).signal(), Some(3));
    });
}

#[test]
fn what_does_not_show_is_a_failure_that_tells_what_did() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut child = pty.spawn(shell("echo this; exec cat"));
        let failure = super::panic_of(|| drop(pty.read_until("that", super::SHORT)));
        assert!(failure.contains("no \"that\" within"), "{failure}");
        child.kill().unwrap();
        how(&mut child, LIMIT);
    });
}

#[test]
fn the_hang_up_ends_reading() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut child = pty.spawn(shell("echo one; echo two"));
        assert_eq!(pty.read_to_end(LIMIT), "one\r\ntwo\r\n");
        let mut other = Pty::new();
        let mut silent = other.spawn(shell("true"));
        let failure = super::panic_of(|| drop(other.read_until("three", LIMIT)));
        assert!(failure.contains("hung up without"), "{failure}");
        assert!(how(&mut child, LIMIT).success());
        assert!(how(&mut silent, LIMIT).success());
    });
}
