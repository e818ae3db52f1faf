//! A process that answers, until the one who asks closes its end.
//!
//! The other process is this program again. Its end of the pair is its standard input, which a process
//! inherits without more ado.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use occ_sck::{Channel, Limits, Socket};
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
    if std::env::args().nth(1).as_deref() == Some("answer") {
        let end = std::io::stdin().as_fd().try_clone_to_owned()?;
        return answer(Channel::new(end.into(), Limits::default()));
    }

    let (ours, theirs) = Socket::pair()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("answer")
        .stdin(OwnedFd::from(theirs))
        .spawn()?;
    let mut channel = Channel::new(ours, Limits::default());

    for (number, expected) in [(7, Some(49)), (u64::MAX, None)] {
        let text = "square".to_string();
        channel.send(&Question { number, text })?;
        match (channel.receive()?, expected) {
            (Some(Answer::Squared(square)), Some(expected)) => assert_eq!(square, expected),
            (Some(Answer::TooLarge(question)), None) => assert_eq!(question.number, number),
            (other, _) => anyhow::bail!("unexpected: {other:?}"),
        }
    }

    drop(channel);
    assert!(child.wait()?.success());
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
