//! Ways in which what a process starts strays from it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustix::process::setsid;

use crate::raw;

/// Runs `body` in a fork, and gives what it says first.
///
/// # Panics
///
/// If it says nothing.
pub fn fork_and_hear(body: impl FnOnce(&mut dyn FnMut(u32))) -> u32 {
    let (mut read, write) = std::io::pipe().expect("a pipe");
    if raw::fork().is_none() {
        drop(read);
        let mut write = Some(write);
        let mut say = |pid: u32| {
            // Whoever reads waits for the end of it.
            let told = write
                .take()
                .map(|mut write| write.write_all(&pid.to_ne_bytes()));
            assert!(matches!(told, Some(Ok(()))));
        };
        body(&mut say);
        raw::exit_now(0)
    }
    drop(write);
    let mut pid = [0; 4];
    read.read_exact(&mut pid).expect("it says who it is");
    u32::from_ne_bytes(pid)
}

/// Strays in a way that is called so, and gives who is left.
///
/// # Panics
///
/// If no way is called so.
#[must_use]
pub fn stray(way: &str) -> u32 {
    let own = || std::process::id();
    match way {
        "a fork" => fork_and_hear(|say| {
            say(own());
            raw::stay()
        }),
        "a fork of a fork, whose parent has ended" => fork_and_hear(|say| {
            if raw::fork().is_none() {
                say(own());
                raw::stay()
            }
        }),
        "a session of its own" => fork_and_hear(|say| {
            setsid().expect("a fork leads no group");
            if raw::fork().is_none() {
                say(own());
                raw::stay()
            }
        }),
        "one that ignores SIGTERM and SIGHUP" => fork_and_hear(|say| {
            raw::ignore(libc::SIGTERM);
            raw::ignore(libc::SIGHUP);
            say(own());
            raw::stay()
        }),
        "a program" => {
            let program = Command::new("sleep").arg("1000").spawn();
            program.expect("sleep").id()
        }
        "a program of a shell's, in a session of its own" => {
            let mut shell = Command::new("sh");
            shell.args(["-c", "setsid sh -c 'sleep 1000 & echo $!'"]);
            shell.stderr(Stdio::null()).stdout(Stdio::piped());
            let mut shell = shell.spawn().expect("sh");
            // Not to the end: the program holds the pipe.
            let mut line = String::new();
            let stdout = shell.stdout.take().expect("a pipe");
            let said = BufReader::new(stdout).read_line(&mut line);
            said.and_then(|_| shell.wait()).expect("a line of a shell");
            line.trim().parse().expect("a number")
        }
        other => panic!("{other}"),
    }
}
