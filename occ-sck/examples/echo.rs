//! A process that answers, until the one who asks closes its end: over a pair, and at an address.
//!
//! The other process is this program again. Its end of the pair is its standard input, which a process
//! inherits without more ado; at an address it listens, and anybody may ask.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use occ_sck::{Address, Channel, Limits, Listener, Socket};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Question {
    number: u64,
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Squared(u64),
    TooLarge(Question),
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["answer"] => {
            let end = std::io::stdin().as_fd().try_clone_to_owned()?;
            answer(Channel::new(end.into(), Limits::default()))
        }
        ["listen", address] => listen(&address.parse()?),
        _ => {
            over_a_pair()?;
            at_an_address()
        }
    }
}

fn over_a_pair() -> anyhow::Result<()> {
    let (ours, theirs) = Socket::pair()?;
    let mut child = start(&["answer"], OwnedFd::from(theirs).into())?;
    ask(Channel::new(ours, Limits::default()))?;
    assert!(child.wait()?.success());
    Ok(())
}

fn at_an_address() -> anyhow::Result<()> {
    // The server says where it listens: it was given any port that is free.
    let (mut ours, theirs) = Channel::pair()?;
    let theirs = theirs.into_fd().expect("nothing has come yet");
    let mut child = start(&["listen", "tcp:127.0.0.1:0"], theirs.into())?;
    let address: Address = ours.receive()?.expect("the server lives");
    for _ in 0..2 {
        ask(Channel::connect(&address)?)?;
    }

    ours.send(&())?;
    assert!(child.wait()?.success());
    let refused = Channel::connect(&address).expect_err("nobody listens");
    assert_eq!(refused.to_string(), format!("nobody listens at {address}"));
    Ok(())
}

fn start(arguments: &[&str], stdin: Stdio) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(arguments).stdin(stdin).spawn()?)
}

fn ask(mut channel: Channel) -> anyhow::Result<()> {
    for (number, expected) in [(7, Some(49)), (u64::MAX, None)] {
        let text = "square".to_string();
        channel.send(&Question { number, text })?;
        match (channel.receive()?, expected) {
            (Some(Answer::Squared(square)), Some(expected)) => assert_eq!(square, expected),
            (Some(Answer::TooLarge(question)), None) => assert_eq!(question.number, number),
            (other, _) => anyhow::bail!("unexpected: {other:?}"),
        }
    }
    Ok(())
}

fn answer(mut channel: Channel) -> anyhow::Result<()> {
    while let Some(question) = channel.receive::<Question>()? {
        channel.send(&match question.number.checked_mul(question.number) {
            Some(square) => Answer::Squared(square),
            None => Answer::TooLarge(question),
        })?;
    }
    Ok(())
}

/// Answers whoever connects, a thread each, until its standard input says that it is enough.
fn listen(address: &Address) -> anyhow::Result<()> {
    let end = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut parent = Channel::new(end.into(), Limits::default());
    let listener = Listener::bind(address)?;
    parent.send(listener.address())?;
    std::thread::scope(|scope| {
        let server = scope.spawn(|| -> anyhow::Result<()> {
            while let Some(channel) = listener.accept()? {
                scope.spawn(|| answer(channel));
            }
            Ok(())
        });
        parent.receive::<()>()?;
        // From here on nobody is let in, and who waits in `accept` is told.
        listener.close();
        server.join().expect("no panic")
    })
}
