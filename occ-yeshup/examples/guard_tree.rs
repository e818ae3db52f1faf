//! A program that strays as far as it can, in a session of its own, and is gone all the same when its command ends.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use occ_yeshup::CommandExt;

#[expect(clippy::print_stdout, reason = "it is what an example does")]
fn main() -> io::Result<()> {
    // Two that would run for long, one of them in another session and with another parent, and a shell that ends.
    let script = "sleep 1000 & echo sleep $!; setsid sh -c 'trap \"\" TERM; echo daemon $$; sleep 1000; :' & read line";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .guard_tree()
        .spawn()?;
    let mut said = BufReader::new(shell.stdout.take().expect("piped"));
    for _ in 0..2 {
        let mut line = String::new();
        said.read_line(&mut line)?;
        print!("runs: {line}");
    }

    drop(shell.stdin.take());
    println!("the shell: {}", shell.wait()?);
    // Whoever could still write to the pipe is gone, so this is its end.
    said.read_to_string(&mut String::new())?;
    println!("the pipe that all of them held is closed: nothing is left");
    Ok(())
}
