//! A process that says to its coordinator what no process says.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use occ_sck::{Deadline, MAX_DATAGRAM, Received, SendError, Socket};
use occasional::{Pid, self_pid};
use rustix::net::SendFlags;

use super::corpus::Names;
use super::examine::Batch;
use super::traffic::Datagram;
use crate::sys::{SharedNumbers, control_socket};

/// The coordinator reads for as long as its answers are fetched.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one waits for room before one fetches answers again.
const MOMENT: Duration = Duration::from_millis(5);

pub(crate) fn babble(batch: Batch, host: Pid, progress: String) -> anyhow::Result<(u64, u64)> {
    let names = Names {
        me: self_pid(),
        host,
    };
    let corpus = batch.target.corpus(names)?;
    let progress = SharedNumbers::at_path(&progress, 1)?;
    let control = Socket::from(control_socket()?);
    let mut room = vec![0; MAX_DATAGRAM];
    let mut answers = 0;
    for number in batch.first..batch.first + batch.inputs {
        progress.at(0).store(number, Ordering::Release);
        for datagram in batch.input(&corpus, number) {
            answers += say(&control, &datagram, &mut room)?;
        }
    }
    Ok((batch.inputs, answers))
}

/// Says it, and fetches what has come meanwhile: how much that was.
fn say(
    control: &Socket,
    Datagram { bytes, gifts }: &Datagram,
    room: &mut [u8],
) -> anyhow::Result<u64> {
    if bytes.is_empty() {
        // Newer kernels refuse it.
        let _ = rustix::net::send(control, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        return Ok(0);
    }
    let fds: Result<Vec<OwnedFd>, _> = gifts.iter().map(|gift| gift.open()).collect();
    let fds = fds.context("a descriptor to send")?;
    let mut fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let deadline = Deadline::after(PATIENCE);
    let mut answers = 0;
    loop {
        // Whoever does not fetch answers is not read any more.
        while let Ok(Received::Datagram { .. }) =
            control.receive(room, &mut Vec::new(), Deadline::Now)
        {
            answers += 1;
        }
        match control.send(&[IoSlice::new(bytes)], &fds, Deadline::after(MOMENT)) {
            Ok(()) => return Ok(answers),
            Err(SendError::Full) if deadline.passed() => {
                bail!("the coordinator has not read for {PATIENCE:?}")
            }
            Err(SendError::Full) => {}
            // The kernel lets a user have so many under way, in all processes together (unix(7)).
            Err(SendError::TooManyInFlight { .. }) => fds.clear(),
            Err(error) => return Err(error).context("a word to the coordinator"),
        }
    }
}
