//! A process that keeps a state, and answers over a socket for as long as somebody asks.

use occ_sck::{Channel, Limits, Socket};
use occ_spawn::{ExitReason, Spawner};

fn add_up(socket: Socket, start: i64) -> anyhow::Result<i64> {
    let mut channel = Channel::new(socket, Limits::default());
    let mut sum = start;
    while let Some(n) = channel.receive::<i64>()? {
        sum += n;
        channel.send(&sum)?;
    }
    Ok(sum)
}

#[expect(clippy::print_stdout, reason = "an example")]
fn main() -> anyhow::Result<()> {
    let spawner = Spawner::new()?;
    let (mut child, socket) = spawner.spawn_with_socket(add_up, (100,))?;
    let mut channel = Channel::new(socket, Limits::default());
    for n in [1_i64, 20] {
        channel.send(&n)?;
        let sum: Option<i64> = channel.receive()?;
        println!("{n} more: {sum:?}");
    }

    // Nobody asks any more: it returns.
    drop(channel);
    match child.wait()?.reason {
        ExitReason::Value(sum) => assert_eq!(sum.get::<i64>()?, 121),
        other => anyhow::bail!("it {other}"),
    }
    Ok(())
}
