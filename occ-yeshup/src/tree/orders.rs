//! What an image that is started again is to be: the first datagram on its line, there before the image is.
//!
//! It is also how an image knows that it is meant. A program that somebody calls by one of our names has no such datagram,
//! and its `main` runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send, sockopt};

const MAGIC: [u8; 8] = *b"yeshup\x01\n";
const LENGTH: usize = MAGIC.len() + 1 + 8;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Front = 1,
    Guard = 2,
}

impl Role {
    /// How many descriptors it is given.
    pub(crate) fn descriptors(self) -> i32 {
        match self {
            // The line, and a pidfd of the caller.
            Role::Front => 2,
            // And the pipe for the word to go.
            Role::Guard => 3,
        }
    }
}

/// What it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    role: Role,
    /// For the front, how many milliseconds the program may take to end.
    pub(crate) number: u64,
}

impl Orders {
    pub(crate) fn new(role: Role, number: u64) -> Orders {
        Orders { role, number }
    }

    /// Leaves them in the other end of `line`. It makes one system call, and nothing else.
    pub(crate) fn send(self, line: &OwnedFd) -> rustix::io::Result<()> {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = self.role as u8;
        bytes[9..].copy_from_slice(&self.number.to_le_bytes());
        send(line, &bytes, SendFlags::NOSIGNAL).map(|_| ())
    }

    /// What lies in `line`, if these are orders for this role.
    pub(crate) fn peek(line: BorrowedFd<'_>, role: Role) -> Option<Orders> {
        if sockopt::socket_type(line.as_fd()) != Ok(SocketType::SEQPACKET) {
            return None;
        }
        let mut bytes = [0; LENGTH + 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let (_, length) = recv(line, &mut bytes[..], flags).ok()?;
        let fits = length == LENGTH && bytes[..8] == MAGIC && bytes[8] == role as u8;
        let number = bytes.get(9..LENGTH)?.try_into().ok()?;
        fits.then(|| Orders::new(role, u64::from_le_bytes(number)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::net::{AddressFamily, SocketFlags, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let kind = SocketType::SEQPACKET;
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn orders_are_found_by_whom_they_are_for_and_stay() {
        let (sender, line) = pair();
        let orders = Orders::new(Role::Guard, 42);
        orders.send(&sender).unwrap();
        for _ in 0..2 {
            assert_eq!(Orders::peek(line.as_fd(), Role::Guard), Some(orders));
            assert_eq!(Orders::peek(line.as_fd(), Role::Front), None);
        }
    }

    #[test]
    fn what_is_no_such_datagram_is_no_orders() {
        for text in [&b""[..], b"x", &MAGIC, &[7; LENGTH], &[7; LENGTH + 1]] {
            let (sender, line) = pair();
            assert_eq!(Orders::peek(line.as_fd(), Role::Front), None, "empty");
            send(&sender, text, SendFlags::empty()).unwrap();
            assert_eq!(Orders::peek(line.as_fd(), Role::Front), None, "{text:?}");
        }
        let (stream, _other) = UnixStream::pair().unwrap();
        assert_eq!(Orders::peek(stream.as_fd(), Role::Front), None);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(Orders::peek(null.as_fd(), Role::Front), None);
    }
}
