//! A parent that dies of SIGKILL, which nothing can catch, and takes its child with it.
//!
//! The example is three programs in one: run it without arguments.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use occ_yeshup::CommandExt;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("parent") => parent(),
        _ => watch(),
    }
}

/// Starts a child that would never end, and dies.
#[expect(clippy::print_stdout, reason = "a pipe to the watcher")]
fn parent() -> io::Result<()> {
    let child = Command::new("tail")
        .args(["-f", "/dev/null"])
        .die_with_parent()
        .spawn()?;
    println!(
        "child {} of parent {} lives",
        child.id(),
        std::process::id()
    );
    Command::new("kill")
        .args(["-9", &std::process::id().to_string()])
        .status()?;
    unreachable!("killed");
}

/// Starts the parent, and waits until nobody holds the pipe any more: the parent does, and the child.
#[expect(clippy::print_stdout, reason = "it is what an example does")]
fn watch() -> io::Result<()> {
    let mut parent = Command::new(std::env::current_exe()?)
        .arg("parent")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    parent
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut said)?;
    print!("{said}");
    println!("parent: {}", parent.wait()?);
    println!("the pipe that the child held is closed: it is dead, too");
    Ok(())
}
