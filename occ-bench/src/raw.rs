//! The bare limits: the system calls that the work cannot do without, and nothing around them. Forks, blocking calls
//! and fixed buffers, as in a C program.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use anyhow::ensure;
use rustix::event::{PollFd, PollFlags, epoll, pause, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitIdOptions, kill_process, pidfd_open,
    set_parent_process_death_signal,
};

use crate::clock;
use crate::killing::until_asleep;
use crate::meter::serve;
use crate::place::pin;
use crate::room;
use crate::stats::median_of;
use crate::sys::fork;

/// What ours asks the kernel for as well.
const SEND_BUFFER: usize = 1 << 20;

/// The small message.
pub(crate) const SMALL: usize = 16;

/// What is longer goes in pieces of this length: the kernel has no quicker way for it.
const PIECE: usize = 64 * 1024;

/// A process made, ended and noticed, in µs: fork, _exit, waitid.
pub(crate) fn fork_exit_wait(count: usize) -> anyhow::Result<()> {
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            wait(fork(|| ())?)?;
            Ok(clock::micros_since(start))
        })
    })
}

/// A process killed and noticed, in µs: kill, poll of a pidfd, waitid.
pub(crate) fn kill_poll_wait(count: usize) -> anyhow::Result<()> {
    serve(|| {
        median_of(count, || {
            let child = fork(|| {
                die_with_parent();
                pause();
            })?;
            let pidfd = pidfd_open(child, PidfdFlags::empty())?;
            until_asleep(child.as_raw_pid().unsigned_abs())?;

            let start = clock::now();
            kill_process(child, Signal::KILL)?;
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None)?;
            wait(child)?;
            Ok(clock::micros_since(start))
        })
    })
}

/// Small messages there and back, in µs: send and recv, both blocking.
pub(crate) fn round_trip(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let echo = Partner::start(there, |socket| {
        let mut buffer = [0; SMALL];
        while recv(socket, &mut buffer, RecvFlags::empty()).is_ok_and(|(_, len)| len == SMALL)
            && send(socket, &buffer, SendFlags::empty()).is_ok()
        {}
    })?;
    serve(|| {
        median_of(count, || {
            let mut buffer = [1; SMALL];
            let start = clock::now();
            send(&echo.socket, &buffer, SendFlags::empty())?;
            let (_, len) = recv(&echo.socket, &mut buffer, RecvFlags::empty())?;
            ensure!(len == SMALL, "the echo has ended");
            Ok(clock::micros_since(start))
        })
    })
}

/// A small message, from the start of its send to the end of the recv that waits for it, in µs: it says itself when that
/// was. Sender and receiver are on one processor.
pub(crate) fn one_message(count: usize, cpu: usize) -> anyhow::Result<()> {
    pin(&[cpu])?;
    let sender = Partner::start(cpu, |socket| {
        let mut message = [0; SMALL];
        while recv(socket, &mut message, RecvFlags::empty()).is_ok_and(|(_, len)| len == 1) {
            message[..8].copy_from_slice(&clock::now().to_ne_bytes());
            if send(socket, &message, SendFlags::empty()).is_err() {
                return;
            }
        }
    })?;
    serve(|| {
        median_of(count, || {
            // It is heard when this process waits, and the processor is free.
            send(&sender.socket, &[0; 1], SendFlags::empty())?;
            let mut message = [0; SMALL];
            let (_, len) = recv(&sender.socket, &mut message, RecvFlags::empty())?;
            ensure!(len == SMALL, "the sender has ended");
            let start = u64::from_ne_bytes(message[..8].try_into()?);
            Ok(clock::micros_since(start))
        })
    })
}

/// Messages of `size` bytes a second, in one direction: send and recv, both blocking. A long one goes in pieces, which are
/// received one behind the other, into one piece of memory.
pub(crate) fn one_way(count: usize, size: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let sender = Partner::start(there, |socket| stream(socket, size))?;
    let mut buffer = vec![0; size];
    serve(|| {
        let start = clock::now();
        send(&sender.socket, &count.to_ne_bytes(), SendFlags::empty())?;
        for _ in 0..count {
            for piece in buffer.chunks_mut(PIECE) {
                let expected = piece.len();
                let (_, len) = recv(&sender.socket, piece, RecvFlags::empty())?;
                ensure!(len == expected, "the sender has ended");
            }
        }
        Ok(clock::rate_since(start, count))
    })
}

/// Small messages a second from `senders` processes, `count` from each: one recv for each time that epoll names
/// a socket.
pub(crate) fn fan_in(
    senders: usize,
    count: usize,
    here: usize,
    there: usize,
) -> anyhow::Result<()> {
    pin(&[here])?;
    room::raise_open_files(senders as u64)?;
    let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut partners = Vec::new();
    for number in 0..senders {
        let sender = Partner::start(there, |socket| stream(socket, SMALL))?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&watch, &sender.socket, data, epoll::EventFlags::IN)?;
        partners.push(sender);
    }
    serve(|| {
        let start = clock::now();
        for partner in &partners {
            send(&partner.socket, &count.to_ne_bytes(), SendFlags::empty())?;
        }
        let mut left = senders * count;
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let mut buffer = [0; SMALL];
        while left > 0 {
            let (ready, _) = epoll::wait(&watch, &mut space, None)?;
            for event in ready {
                let socket = &partners[event.data.u64() as usize].socket;
                let (_, len) = recv(socket, &mut buffer, RecvFlags::empty())?;
                ensure!(len == SMALL, "a sender has ended");
                left -= 1;
            }
        }
        Ok(clock::rate_since(start, senders * count))
    })
}

/// Sends as many messages as it is told to, again and again.
fn stream(socket: &OwnedFd, size: usize) {
    let message = vec![1; size];
    let mut count = [0; size_of::<usize>()];
    while recv(socket, &mut count, RecvFlags::empty()).is_ok_and(|(_, len)| len == count.len()) {
        for _ in 0..usize::from_ne_bytes(count) {
            for piece in message.chunks(PIECE) {
                if send(socket, piece, SendFlags::empty()).is_err() {
                    return;
                }
            }
        }
    }
}

/// Processes a second, made by a fork server on request: a byte asks for one; the child writes one datagram and
/// ends; the server reaps. `window` of them are under way at a time.
pub(crate) fn fork_server(count: usize, window: usize) -> anyhow::Result<()> {
    let (reports, report) = pair()?;
    let server = Partner::start_anywhere(|requests| {
        let mut byte = [0; 1];
        while recv(requests, &mut byte, RecvFlags::empty()).is_ok_and(|(_, len)| len == 1) {
            let child = fork(|| {
                let _ = send(&report, &[0; SMALL], SendFlags::empty());
            });
            if child.is_err() {
                return;
            }
            while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        }
    })?;
    serve(|| {
        let start = clock::now();
        let mut buffer = [0; SMALL];
        for number in 0..count + window {
            if number < count {
                send(&server.socket, &[0; 1], SendFlags::empty())?;
            }
            if number >= window {
                let (_, len) = recv(&reports, &mut buffer, RecvFlags::empty())?;
                ensure!(len == SMALL, "the fork server has ended");
            }
        }
        Ok(clock::rate_since(start, count))
    })
}

/// A forked process, connected with the one that forked it. It ends when this is dropped.
pub(crate) struct Partner {
    pub(crate) child: Pid,
    pub(crate) socket: OwnedFd,
}

impl Partner {
    pub(crate) fn start(cpu: usize, work: impl FnOnce(&OwnedFd)) -> anyhow::Result<Partner> {
        Partner::start_anywhere(|socket| {
            if pin(&[cpu]).is_ok() {
                work(socket);
            }
        })
    }

    fn start_anywhere(work: impl FnOnce(&OwnedFd)) -> anyhow::Result<Partner> {
        let (socket, theirs) = pair()?;
        let child = fork(|| {
            die_with_parent();
            work(&theirs);
        })?;
        Ok(Partner { child, socket })
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = kill_process(self.child, Signal::KILL);
        let _ = wait(self.child);
    }
}

pub(crate) fn die_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

pub(crate) fn wait(child: Pid) -> rustix::io::Result<()> {
    let child = rustix::process::WaitId::Pid(child);
    rustix::process::waitid(child, WaitIdOptions::EXITED).map(drop)
}

pub(crate) fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    for end in [&a, &b] {
        set_socket_send_buffer_size(end, SEND_BUFFER)?;
    }
    Ok((a, b))
}
