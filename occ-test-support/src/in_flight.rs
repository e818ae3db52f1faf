//! A user without privileges, and without room for descriptors that are under way.
//!
//! The kernel counts the descriptors that a user's processes have sent and nobody has received (unix(7)). So a test that
//! is about that number needs a user of its own.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::{skipped, sys};

/// Users from here on are nobody.
const FIRST_USER: u32 = 1_000_000_000;

/// How often one looks whether there is room again.
const OFTEN: Duration = Duration::from_micros(500);

/// Makes the calling process, and what it starts, one of a user that nobody else is, and sets the limit for it, which is
/// also the one on open files: as a soft limit, and if `hard`, as a hard one.
///
/// False, and said loudly, where that cannot be done: the descriptors that other tests have under way would count.
///
/// # Panics
///
/// If the kernel refuses the limit.
#[must_use]
#[track_caller]
pub fn be_a_user_of_its_own(limit: u64, hard: bool) -> bool {
    if let Err(error) = sys::set_user(FIRST_USER + std::process::id()) {
        skipped(&format!("this user may not be another: {error}"));
        return false;
    }
    // A process that was another's before is hidden from its own user until it says otherwise.
    set_dumpable_behavior(DumpableBehavior::Dumpable).expect("prctl");
    let maximum = if hard {
        Some(limit)
    } else {
        getrlimit(Resource::Nofile).maximum
    };
    let current = Some(limit);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("setrlimit");
    true
}

/// No room, until it is dropped.
#[derive(Debug)]
pub struct NoRoom {
    stop: Option<Sender<()>>,
    taker: Option<JoinHandle<()>>,
}

impl NoRoom {
    /// Takes all room there is, and whatever comes.
    ///
    /// # Panics
    ///
    /// If the kernel refuses, and for another reason than that there is no room; or if it never does.
    #[must_use]
    pub fn now() -> NoRoom {
        let (stop, stopped) = channel();
        let (tell, full) = channel();
        let taker = std::thread::spawn(move || {
            let mut held = Vec::new();
            loop {
                take_all(&mut held);
                let _ = tell.send(());
                if stopped.recv_timeout(OFTEN) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        full.recv().expect("room is taken");
        NoRoom {
            stop: Some(stop),
            taker: Some(taker),
        }
    }
}

impl Drop for NoRoom {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(taker) = self.taker.take() {
            let _ = taker.join();
        }
    }
}

/// Sends descriptors that nobody receives, until the kernel takes no more.
fn take_all(held: &mut Vec<(OwnedFd, OwnedFd)>) {
    for _ in 0..1_000_000 {
        if held.is_empty() {
            held.push(pair());
        }
        let (from, _) = held.last().expect("there is one");
        match send_one(from) {
            Ok(()) => {}
            Err(Errno::TOOMANYREFS) => return,
            Err(Errno::AGAIN) => held.push(pair()),
            Err(error) => panic!("sendmsg: {error}"),
        }
    }
    panic!("the kernel sets no limit here");
}

fn pair() -> (OwnedFd, OwnedFd) {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None).expect("socketpair")
}

fn send_one(from: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [from.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(from, &[IoSlice::new(b"x")], &mut control, flags).map(drop)
}
