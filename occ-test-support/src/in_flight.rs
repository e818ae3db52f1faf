//! A user without privileges, and without room for descriptors that are under way.
//!
//! The kernel counts the descriptors that a user's processes have sent and nobody has received (unix(7)). Another test
//! may have some under way at any moment, and receive them the next: so room can come at any time, unless somebody
//! takes it at once.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

/// How often one looks whether there is room again.
const OFTEN: Duration = Duration::from_micros(500);

/// A process of an ordinary user. There is one at a time, because one that takes all room takes it from the others.
#[derive(Debug)]
pub struct OrdinaryUser {
    _lock: File,
}

impl OrdinaryUser {
    /// Waits for its turn; takes from the calling thread, and from what it starts, the privileges that exempt root from
    /// the limit; and sets that limit for the process, which is also the one on open files: as a soft limit, and if
    /// `hard`, as a hard one.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    #[must_use]
    pub fn with(limit: u64, hard: bool) -> OrdinaryUser {
        let lock = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("a file");
        flock(&lock, FlockOperation::LockExclusive).expect("flock");

        let exempt = CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
        let mut sets = capabilities(None).expect("capget");
        for one in exempt.iter() {
            // EPERM for somebody who has no privileges anyway.
            let _ = remove_capability_from_bounding_set(one);
        }
        sets.effective.remove(exempt);
        sets.permitted.remove(exempt);
        sets.inheritable.remove(exempt);
        set_capabilities(None, sets).expect("capset");

        let maximum = if hard {
            Some(limit)
        } else {
            getrlimit(Resource::Nofile).maximum
        };
        let current = Some(limit);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("setrlimit");
        OrdinaryUser { _lock: lock }
    }
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
