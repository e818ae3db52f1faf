//! The bare way to a process that one has no connection with: a third one makes a pair of sockets and passes both ends on.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, send, sendmsg,
};

use crate::clock;
use crate::killing::until_asleep;
use crate::meter::serve;
use crate::place::pin;
use crate::raw::{Partner, SMALL, pair};
use crate::stats::median_of;

/// A small message to a new process, from the request for a connection until it has it, in µs. All are on one processor.
pub(crate) fn first_message(count: usize, cpu: usize) -> anyhow::Result<()> {
    pin(&[cpu])?;
    let broker = Partner::start(cpu, connect_as_asked)?;
    serve(|| {
        median_of(count, || {
            let (at_peer, at_broker) = pair()?;
            let peer = Partner::start(cpu, |_| {
                let _ = say_when(&at_peer);
            })?;
            drop(at_peer);
            pass(&broker.socket, &at_broker)?;
            drop(at_broker);
            until_asleep(peer.child.as_raw_pid().unsigned_abs())?;
            until_asleep(broker.child.as_raw_pid().unsigned_abs())?;

            let start = clock::now();
            send(&broker.socket, &[0; SMALL], SendFlags::empty())?;
            let socket = passed(&broker.socket)?.context("no connection")?;
            send(&socket, &[1; SMALL], SendFlags::empty())?;
            let mut received = [0; 8];
            let (_, len) = recv(&socket, &mut received, RecvFlags::empty())?;
            ensure!(len == received.len(), "the peer has ended");
            Ok(clock::micros_between(start, u64::from_ne_bytes(received)))
        })
    })
}

/// The third one. With a descriptor comes word of a new peer; without, somebody wants to be connected with the last of them.
fn connect_as_asked(asker: &OwnedFd) {
    let mut peer = None;
    while let Ok(passed_on) = passed(asker) {
        let done = match (passed_on, &peer) {
            (Some(new), _) => {
                peer = Some(new);
                Ok(())
            }
            (None, Some(peer)) => pair().and_then(|(a, b)| {
                pass(peer, &b)?;
                pass(asker, &a)
            }),
            (None, None) => return,
        };
        if done.is_err() {
            return;
        }
    }
}

/// The peer: waits for a connection, and on that for a message.
fn say_when(broker: &OwnedFd) -> anyhow::Result<()> {
    clock::look();
    let socket = passed(broker)?.context("no connection")?;
    let (_, len) = recv(&socket, &mut [0; SMALL], RecvFlags::empty())?;
    let now = clock::now();
    ensure!(len == SMALL, "the one who asked has ended");
    send(&socket, &now.to_ne_bytes(), SendFlags::empty())?;
    Ok(())
}

fn pass(to: &OwnedFd, fd: &OwnedFd) -> rustix::io::Result<()> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let message = [IoSlice::new(&[0; SMALL])];
    sendmsg(to, &message, &mut control, SendFlags::empty()).map(drop)
}

/// The descriptor that comes with the next message, if one does.
fn passed(from: &OwnedFd) -> anyhow::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut message = [0; SMALL];
    let mut parts = [IoSliceMut::new(&mut message)];
    let received = recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    ensure!(received.bytes > 0, "it has ended");
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}
