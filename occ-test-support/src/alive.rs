//! Alive: a ping answered after the event that could have killed it.
//!
//! [`alive`] only asks the kernel whether the process has ended. A process with a death signal on its way
//! still looks alive; one that answers a ping sent after the event has survived it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::dead::Watch;
use crate::pass::{Pass, inherited};
use crate::poll::readable;

/// Whether the process `pid` has not ended. A zombie has.
#[must_use]
#[track_caller]
pub fn alive(pid: u32) -> bool {
    Watch::of(pid).is_alive()
}

/// The test's end: pings.
#[derive(Debug)]
pub struct Pulse {
    socket: UnixStream,
    sent: AtomicU64,
}

/// The other end, which one process takes to answer. Drop the test's own copy once it has.
#[derive(Debug)]
pub struct Heart(Pass);

impl Pulse {
    /// Makes the pair.
    #[must_use]
    pub fn new() -> (Pulse, Heart) {
        let (socket, heart) = UnixStream::pair().expect("socketpair");
        (
            Pulse {
                socket,
                sent: AtomicU64::new(0),
            },
            Heart(Pass::new(heart.into())),
        )
    }

    /// Pings, and says whether an answer came. No answer means that the other end is closed.
    ///
    /// # Panics
    ///
    /// If the other end is open, but there was no answer within `limit`.
    #[must_use]
    #[track_caller]
    pub fn beats(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let ping = self.sent.fetch_add(1, Ordering::Relaxed).to_ne_bytes();
        match (&self.socket).write_all(&ping) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return false,
            Err(error) => panic!("ping: {error}"),
        }
        assert!(
            readable(self.socket.as_fd(), deadline),
            "a ping was not answered within {limit:?}"
        );
        let mut answer = [0; 8];
        match (&self.socket).read_exact(&mut answer) {
            Ok(()) => assert_eq!(answer, ping, "the answer is to this ping"),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return false;
            }
            Err(error) => panic!("answer: {error}"),
        }
        true
    }

    /// Pings and expects an answer.
    ///
    /// # Panics
    ///
    /// If there was none.
    #[track_caller]
    pub fn ping(&self, limit: Duration) {
        assert!(self.beats(limit), "it does not live: its end is closed");
    }
}

impl Heart {
    /// Lets what `command` starts take this end with [`Heart::inherited`]`(key)`.
    pub fn pass(&self, key: &str, command: &mut Command) {
        self.0.to(key, command);
    }

    /// Takes the end that the parent passed under `key`.
    #[must_use]
    #[track_caller]
    pub fn inherited(key: &str) -> Heart {
        Heart(Pass::new(inherited(key)))
    }

    /// Waits for one ping, runs `first`, then answers. False if the test is gone instead.
    ///
    /// With it a test says when something is to happen, and knows that it has.
    pub fn beat_after(&self, first: impl FnOnce()) -> bool {
        let mut ping = [0; 8];
        let read = read_exact(&self.0, &mut ping);
        if read {
            first();
            let _ = rustix::io::write(&self.0, &ping);
        }
        read
    }

    /// Answers pings until the test is gone.
    pub fn beat(&self) {
        while self.beat_after(|| {}) {}
    }
}

impl From<Heart> for OwnedFd {
    fn from(heart: Heart) -> OwnedFd {
        heart.0.as_fd().try_clone_to_owned().expect("dup")
    }
}

fn read_exact(from: &Pass, buffer: &mut [u8; 8]) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(from, &mut buffer[filled..]) {
            Ok(0) => return false,
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}
