//! Whether anybody has a descriptor still, wherever: in a process, or in a message under way.
//!
//! Each sender has the writing end of a pipe, and each of its messages with descriptors brings one of that. The end of the pipe comes
//! when the last of them is closed, whoever had it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstat;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

/// Which pipe it is, from either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(fd: impl AsFd) -> io::Result<Identity> {
        let stat = fstat(fd)?;
        Ok(Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Witness(OwnedFd);

impl Witness {
    /// One, and what it is a witness of.
    pub(crate) fn new() -> io::Result<(Witness, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Witness(read), write))
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Identity::of(&self.0)
    }

    /// Whether all are closed, at the latest by `deadline`.
    pub(crate) fn is_over_by(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.try_into().map_err(io::Error::other)?;
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut fds, Some(&left))?;
        Ok(fds[0].revents().contains(PollFlags::HUP))
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use occ_sck::{Deadline, Socket};

    use super::*;

    fn is_over(witness: &Witness) -> bool {
        witness.is_over_by(Instant::now()).unwrap()
    }

    #[test]
    fn one_that_is_forgotten_is_noticed_until_it_is_closed() {
        let (witness, write) = Witness::new().unwrap();
        let forgotten = rustix::io::fcntl_dupfd_cloexec(&write, 3).unwrap();
        drop(write);
        assert!(!is_over(&witness));
        drop(forgotten);
        assert!(is_over(&witness));
    }

    #[test]
    fn one_under_way_is_noticed_until_nobody_can_receive_it() {
        let (witness, write) = Witness::new().unwrap();
        let (a, b) = Socket::pair().unwrap();
        a.send(&[IoSlice::new(&[0])], &[write.as_fd()], Deadline::Now)
            .unwrap();
        drop((write, a));
        assert!(!is_over(&witness));
        drop(b);
        assert!(is_over(&witness));
    }

    #[test]
    fn both_ends_are_one_pipe_and_another_is_another() {
        let (witness, write) = Witness::new().unwrap();
        let identity = witness.identity().unwrap();
        assert_eq!(Identity::of(&write).unwrap(), identity);
        let (_other, write) = Witness::new().unwrap();
        assert_ne!(Identity::of(&write).unwrap(), identity);
    }
}
