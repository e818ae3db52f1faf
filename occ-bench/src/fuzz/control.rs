//! A process that says to its coordinator what no process says.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use occ_core::protocol::{Reply, Request};
use occ_sck::{Assembler, Deadline, MAX_DATAGRAM, Packet, Received, SendError, Socket, kind};
use occasional::{Pid, self_pid};
use rustix::net::SendFlags;

use super::corpus::{self, Names};
use super::examine::Batch;
use super::traffic::Datagram;
use crate::sys::{SharedNumbers, control_socket};

/// The coordinator reads for as long as its answers are fetched.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one waits for room before one fetches answers again.
const MOMENT: Duration = Duration::from_millis(5);

/// The kind of a request.
const REQUEST: u8 = kind::SYSTEM;

pub(crate) fn babble(batch: Batch, host: Pid, progress: String) -> anyhow::Result<(u64, u64)> {
    let names = Names {
        me: self_pid(),
        host,
    };
    let corpus = corpus::read("control", names)?;
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
    until_all_is_read(&control, &mut room)?;
    Ok((batch.inputs, answers))
}

/// Asks something, and waits for the answer. What stands before the last word of a process that has died may look like its end: a
/// datagram without a byte, which cannot be told from that (recvmsg(2)).
fn until_all_is_read(control: &Socket, room: &mut [u8]) -> anyhow::Result<()> {
    // No other is likely to have that number.
    let id = 0x6f63_6320_6675_7a7a;
    let question = Packet::of(REQUEST, &Request::Demonitor { id, number: 0 })?;
    let deadline = Deadline::after(PATIENCE);
    let mut asked = false;
    while !deadline.passed() {
        asked = asked || question.send_part(0, control, &[], Deadline::Now).is_ok();
        let moment = Deadline::after(MOMENT);
        let mut fds = Vec::new();
        if let Ok(Received::Datagram { len, .. }) = control.receive(room, &mut fds, moment)
            && let Ok(Some(envelope)) = Assembler::default().push(&room[..len], fds)
            && matches!(envelope.decode(), Ok(Reply::Done { id: answered }) if answered == id)
        {
            return Ok(());
        }
    }
    bail!("the coordinator has not answered for {PATIENCE:?}")
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
