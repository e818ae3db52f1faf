//! `yeshup` where a person sits: keys come to the program once, and it stops as the program does.

use std::process::{Child, Command};

use occ_test_support::dead::{Watch, how};
use occ_test_support::pty::Pty;
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, Signal, isolated, within};

use super::strays::{By, Stray, WAYS, yeshup};

#[test]
fn ctrl_c_comes_to_the_program_once_and_is_not_the_end_of_yeshup() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut command = yeshup();
        let script = "for one in INT QUIT USR1; do trap \"echo got $one\" $one; done; sleep 1000 & \
                      echo ready; while :; do wait; done";
        command.args(["sh", "-c", script]);
        let mut child = pty.spawn(command);
        pty.read_until("ready", LIMIT);
        for (key, name) in [(&b"\x03"[..], "got INT"), (b"\x1c", "got QUIT")] {
            pty.write(key);
            pty.read_until(name, LIMIT);
            // What is passed on comes in order, so a second one would come before this.
            Watch::of(child.id()).signal(Signal::USR1);
            let between = pty.read_until("got USR1", LIMIT);
            assert!(!between.contains(name), "{between:?}");
        }
        // From a process it is passed on, and once as well.
        Watch::of(child.id()).signal(Signal::INT);
        pty.read_until("got INT", LIMIT);
        child.kill().unwrap();
        how(&mut child, LIMIT);
        pty.read_to_end(LIMIT);
    });
}

#[test]
fn ctrl_c_ends_a_program_that_does_nothing_about_it_and_that_is_told() {
    isolated!(|| {
        let mut pty = Pty::new();
        let mut command = yeshup();
        command.args(["sh", "-c", "echo ready; exec sleep 1000"]);
        let mut child = pty.spawn(command);
        pty.read_until("ready", LIMIT);
        pty.ctrl_c();
        assert_eq!(how(&mut child, LIMIT).code(), Some(128 + 2));
        pty.read_to_end(LIMIT);
    });
}

/// A shell with job control, to which `yeshup` is `$YESHUP`.
fn shell_at_a_prompt() -> (Pty, Child) {
    let mut pty = Pty::new();
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noediting", "-i"]);
    shell
        .env("PS1", "prompt> ")
        .env("YESHUP", env!("CARGO_BIN_EXE_yeshup"));
    let child = pty.spawn(shell);
    pty.read_until("prompt> ", LIMIT);
    (pty, child)
}

#[test]
fn ctrl_z_stops_it_and_fg_lets_it_go_on() {
    isolated!(|| {
        let (mut pty, mut child) = shell_at_a_prompt();
        let script = "echo rea''dy $PPID.; while read line; do echo got-$line; [ $line = end ] && exit 9; done";
        pty.write(format!("$YESHUP sh -c \"{}\"\n", script.replace('$', "\\$")).as_bytes());
        pty.read_until("ready ", LIMIT);
        let guard = pty.read_until(".", LIMIT);
        let guard = guard.trim_end_matches('.').parse().unwrap();
        let front = Stat::of(guard).unwrap().parent;
        for round in 0..3 {
            pty.ctrl_z();
            pty.read_until("Stopped", LIMIT);
            pty.read_until("prompt> ", LIMIT);
            pty.write(b"fg\n");
            pty.read_until("$YESHUP", LIMIT);
            // A key would go to the shell until the program is in the foreground again, and it is when it answers.
            pty.write(format!("round{round}\n").as_bytes());
            pty.read_until(&format!("got-round{round}"), LIMIT);
            within(LIMIT, || while Stat::of(front).unwrap().state != 'S' {});
        }
        pty.write(b"end\n");
        pty.read_until("got-end", LIMIT);
        pty.read_until("prompt> ", LIMIT);
        pty.write(b"echo status-$?\n");
        pty.read_until("status-9", LIMIT);
        pty.write(b"exit\n");
        assert!(how(&mut child, LIMIT).success());
        pty.read_to_end(LIMIT);
    });
}

/// Whoever stops a program lets it go on, and knows nothing of what stands above it.
#[test]
fn it_goes_on_when_its_program_is_let_go_on() {
    isolated!(|| {
        let (mut child, tree) = Stray::new(WAYS[0]).start(By::Yeshup);
        for _ in 0..5 {
            Watch::of(tree.program).signal(Signal::STOP);
            within(
                LIMIT,
                || while Stat::of(child.id()).unwrap().state != 'T' {},
            );
            Watch::of(tree.program).signal(Signal::CONT);
            within(
                LIMIT,
                || while Stat::of(child.id()).unwrap().state == 'T' {},
            );
        }
        Watch::of(tree.program).signal(Signal::STOP);
        within(
            LIMIT,
            || while Stat::of(child.id()).unwrap().state != 'T' {},
        );
        Watch::of(tree.program).signal(Signal::KILL);
        assert_eq!(how(&mut child, LIMIT).code(), Some(128 + 9));
    });
}

/// While it is stopped it would not see it; the guard does.
#[test]
fn one_that_is_stopped_ends_with_its_parent_all_the_same() {
    isolated!(|| {
        let (mut pty, mut child) = shell_at_a_prompt();
        pty.write(b"$YESHUP setsid -f sleep 1000; $YESHUP sh -c 'echo rea''dy; read line'\n");
        pty.read_until("ready", LIMIT);
        pty.ctrl_z();
        pty.read_until("Stopped", LIMIT);
        child.kill().unwrap();
        how(&mut child, LIMIT);
        occ_test_support::tree::Token::own().wait_none_left(LIMIT);
        pty.read_to_end(LIMIT);
    });
}
