//! recvmsg(2) with its control data, read here byte by byte.
//!
//! rustix would read it for us, but takes the process id in `SCM_CREDENTIALS` for a number that is never 0,
//! and that is what the kernel writes for a sender in a PID namespace that the receiver cannot see into, and
//! for a datagram that was sent before the credentials were asked for: undefined behaviour in a safe call.
#![expect(
    unsafe_code,
    reason = "file descriptors arrive as numbers, and the kernel writes into a buffer"
)]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags};

use crate::socket::MAX_FDS;

/// The types of control data that a Unix socket delivers and we read (socket.h). All are of the one level
/// `SOL_SOCKET`.
const RIGHTS: u32 = 1;
const CREDENTIALS: u32 = 2;
const PIDFD: u32 = 4;

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length that includes it, a level and a type.
const CMSG: usize = WORD + 8;

const SPACE: usize = space(MAX_FDS * 4) + space(12) + space(4);

const fn space(payload: usize) -> usize {
    CMSG + payload.next_multiple_of(WORD)
}

/// As aligned as the kernel's `struct cmsghdr`, so that the first one is at the very start.
#[repr(C, align(16))]
struct Control([MaybeUninit<u8>; SPACE]);

/// What recvmsg(2) said.
pub(crate) struct Message {
    pub(crate) bytes: usize,
    pub(crate) flags: ReturnFlags,
    /// The sender's process id; `None` also for a sender that the kernel cannot name to us.
    pub(crate) os_pid: Option<u32>,
}

/// Receives one datagram into `buffer`, and appends the file descriptors that came with it to `fds`.
pub(crate) fn recvmsg(
    socket: impl AsFd,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    flags: RecvFlags,
) -> rustix::io::Result<Message> {
    // Zero, so that the kernel's last entry is followed by one of length 0.
    let mut space = Control([MaybeUninit::new(0); SPACE]);
    let mut control = RecvAncillaryBuffer::new(&mut space.0);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags);
    // It borrows the space and owns nothing; its `Drop` reads the entries and closes what is in them.
    std::mem::forget(control);
    let received = received?;

    // SAFETY: every byte was set above, and the kernel writes only bytes.
    let entries = unsafe { space.0.assume_init_ref() };
    let mut message = Message {
        bytes: received.bytes,
        flags: received.flags,
        os_pid: None,
    };
    for (kind, payload) in Entries(entries) {
        match kind {
            RIGHTS => fds.extend(owned(payload)),
            CREDENTIALS => message.os_pid = word(payload).filter(|pid| *pid != 0),
            // Not asked for here, but a socket may have been made elsewhere.
            PIDFD => owned(payload).for_each(drop),
            _ => {}
        }
    }
    Ok(message)
}

/// The descriptors in an entry that the kernel has just written.
fn owned(payload: &[u8]) -> impl Iterator<Item = OwnedFd> {
    payload.chunks_exact(4).filter_map(word).map(|number| {
        // SAFETY: recvmsg(2) opened it for this call alone, and each entry is read once.
        unsafe { OwnedFd::from_raw_fd(number as RawFd) }
    })
}

fn word(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The entries of control data: their type and payload.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        let (len, head) = self.0.split_first_chunk()?;
        let len = usize::from_ne_bytes(*len);
        let payload = self.0.get(CMSG..len)?;
        let kind = word(head.get(4..)?)?;
        self.0 = self.0.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        Some((kind, payload))
    }
}
