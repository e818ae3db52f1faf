//! recvmsg(2) and recvmmsg(2) with their control data, read here byte by byte; and a descriptor by its number.
//!
//! rustix has no recvmmsg, and in its recvmsg it takes the process id in `SCM_CREDENTIALS` for a number that is never 0,
//! and that is what the kernel writes for a sender in a PID namespace that the receiver cannot see into, and
//! for a datagram that was sent before the credentials were asked for: undefined behaviour in a safe call.
#![expect(
    unsafe_code,
    reason = "file descriptors arrive as numbers, and the kernel writes into buffers"
)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

use crate::socket::MAX_FDS;

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length that includes it, a level and a type.
const CMSG: usize = WORD + 8;

/// Unix sockets also deliver a pidfd, of which libc knows nothing everywhere (socket.h).
const SCM_PIDFD: i32 = 4;

const SPACE: usize = space(MAX_FDS * 4) + space(12) + space(4);

const fn space(payload: usize) -> usize {
    CMSG + payload.next_multiple_of(WORD)
}

/// Room for the control data of one datagram, as aligned as the kernel's `struct cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct Control([MaybeUninit<u8>; SPACE]);

impl Control {
    pub(crate) const fn new() -> Control {
        Control([MaybeUninit::uninit(); SPACE])
    }
}

/// What was received, but for its bytes.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) len: usize,
    /// It was longer than the buffer.
    pub(crate) cut: bool,
    /// Descriptors that came with it were lost.
    pub(crate) fds_lost: bool,
    pub(crate) fds: Vec<OwnedFd>,
    /// The sender's process id; `None` also for a sender that the kernel cannot name to us.
    pub(crate) os_pid: Option<u32>,
}

/// Which process connected, or listens, at the other end of a Unix socket: process, user and group. The process is 0 where it is in a
/// PID namespace that this one cannot see into; that too rustix takes for a number that is never 0.
pub(crate) fn peer_credentials(socket: impl AsFd) -> Result<libc::ucred, Errno> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of_val(&credentials) as libc::socklen_t;
    // SAFETY: the kernel writes no more than the length says, which is that of the value.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        )
    };
    match done {
        0 => Ok(credentials),
        _ => Err(last_errno()),
    }
}

/// Receives one datagram into `buffer`; waits for it, or not.
pub(crate) fn recvmsg(socket: impl AsFd, buffer: &mut [u8], wait: bool) -> Result<Message, Errno> {
    let mut control = Control::new();
    let mut iov = iovec(buffer);
    let mut header = header(&mut iov, &mut control);
    // SAFETY: the header points to one buffer and to room for control data, each as long as it says.
    let received =
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut header, flags(wait)) };
    let len = usize::try_from(received).map_err(|_| last_errno())?;
    Ok(read(&header, &control, len))
}

/// Receives what is there, without waiting: each datagram into one of `buffers`. Those that were filled come first, and
/// `received` gets what else there is to say of them.
pub(crate) fn recvmmsg<const N: usize>(
    socket: impl AsFd,
    mut buffers: [&mut [u8]; N],
    controls: &mut [Control; N],
    received: &mut Vec<Message>,
) -> Result<(), Errno> {
    let mut iovs = buffers.each_mut().map(|buffer| iovec(buffer));
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; N];
    for ((slot, iov), control) in headers.iter_mut().zip(&mut iovs).zip(&mut *controls) {
        slot.write(libc::mmsghdr {
            msg_hdr: header(iov, control),
            msg_len: 0,
        });
    }
    // SAFETY: each header was written above, and points to one buffer and to room for control data.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_fd().as_raw_fd(),
            headers.as_mut_ptr().cast(),
            N as libc::c_uint,
            flags(false) as _,
            ptr::null_mut(),
        )
    };
    let count = usize::try_from(count).map_err(|_| last_errno())?;
    for (header, control) in headers.iter().zip(&*controls).take(count) {
        // SAFETY: each was written above.
        let header = unsafe { header.assume_init_ref() };
        received.push(read(&header.msg_hdr, control, header.msg_len as usize));
    }
    Ok(())
}

/// Another descriptor of the same file. The caller knows that `fd` is open, because it holds a borrow of its owner.
pub(crate) fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: it is not -1, as it came from an `OwnedFd`, and that one is borrowed for as long as this number is kept.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

fn flags(wait: bool) -> libc::c_int {
    libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn iovec(buffer: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    }
}

/// What is to be filled: it holds pointers to both, and is used for no longer than they live.
fn header(iov: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: numbers and pointers, for which zero is a value; some systems have padding besides.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = iov;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = SPACE as _;
    header
}

/// What the kernel has said of a datagram that has just been received.
fn read(header: &libc::msghdr, control: &Control, len: usize) -> Message {
    let mut message = Message {
        len,
        cut: header.msg_flags & libc::MSG_TRUNC != 0,
        fds_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
        ..Message::default()
    };
    #[allow(clippy::unnecessary_cast, reason = "a number of 32 bits with musl")]
    let written = (header.msg_controllen as usize).min(SPACE);
    for (kind, payload) in Entries(&control.0[..written]) {
        match kind {
            libc::SCM_RIGHTS => message.fds.extend(owned(payload)),
            libc::SCM_CREDENTIALS => message.os_pid = word(payload).filter(|pid| *pid != 0),
            // Not asked for here, but a socket may have been made elsewhere.
            SCM_PIDFD => owned(payload).for_each(drop),
            _ => {}
        }
    }
    message
}

/// The descriptors in an entry that the kernel has just written.
fn owned(payload: &[u8]) -> impl Iterator<Item = OwnedFd> {
    let numbers = payload.chunks_exact(4).filter_map(word);
    // For a pidfd that it could not make the kernel writes an error number.
    numbers
        .filter_map(|number| RawFd::try_from(number).ok())
        .map(|fd| {
            // SAFETY: recvmsg(2) opened it for this call alone, and each entry is read once.
            unsafe { OwnedFd::from_raw_fd(fd) }
        })
}

fn word(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk()
        .map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The entries of control data, as far as the kernel has written it: their type and payload. All are of the one level
/// `SOL_SOCKET`.
struct Entries<'a>(&'a [MaybeUninit<u8>]);

impl<'a> Iterator for Entries<'a> {
    type Item = (libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<(libc::c_int, &'a [u8])> {
        // SAFETY: the kernel writes the head of an entry whole.
        let head = unsafe { self.0.get(..CMSG)?.assume_init_ref() };
        let (len, rest) = head.split_first_chunk()?;
        let len = usize::from_ne_bytes(*len);
        let kind = word(rest.get(4..)?)?;
        // SAFETY: and then its payload; only what aligns the next one is left as it was.
        let payload = unsafe { self.0.get(CMSG..len)?.assume_init_ref() };
        self.0 = self.0.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        Some((kind as libc::c_int, payload))
    }
}
