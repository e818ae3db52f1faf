//! Descriptors that say which they are: of what message of whom, and which of its descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use occasional::Fd;
use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::line::Line;

/// As it travels. Who sends it may have to try again, and the receiver has one of its own.
pub(crate) type Gift = Fd<Arc<OwnedFd>>;

/// What it is that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A memory file without a byte in it, whose length says it.
    Memory,
    /// The reading end of a pipe that holds eight bytes, and whose other end is closed.
    Pipe,
    /// An end of a pair of sockets, the same.
    Socket,
}

/// Which descriptor it is: the number of its line (23 bits, as there are accounts), the number of the message there, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

impl Token {
    pub(crate) fn new(line: Line, number: u64, at: usize) -> Token {
        debug_assert!(at < 1 << 8);
        // A length of a file has 63 bits. The first is always set, so that nothing usual is as long.
        let which = line.index() << 39 | (number & 0x7fff_ffff) << 8 | at as u64;
        Token(1 << 62 | which & ((1 << 62) - 1))
    }

    fn kind(self) -> Kind {
        match self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 {
            0..=11 => Kind::Memory,
            12..=14 => Kind::Pipe,
            _ => Kind::Socket,
        }
    }

    /// Opens what says it.
    pub(crate) fn make(self) -> io::Result<OwnedFd> {
        match self.kind() {
            Kind::Memory => {
                let file = memfd_create(c"gift", MemfdFlags::CLOEXEC)?;
                ftruncate(&file, self.0)?;
                Ok(file)
            }
            Kind::Pipe => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
                rustix::io::write(&write, &self.0.to_le_bytes())?;
                Ok(read)
            }
            Kind::Socket => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let (read, write) =
                    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                rustix::io::write(&write, &self.0.to_le_bytes())?;
                Ok(read)
            }
        }
    }

    /// Whether it is what `make` made of the same. What is in a pipe can be looked at once.
    pub(crate) fn is_of(self, fd: impl AsFd) -> bool {
        match self.kind() {
            Kind::Memory => fstat(&fd).is_ok_and(|stat| stat.st_size.unsigned_abs() == self.0),
            Kind::Pipe | Kind::Socket => {
                let mut bytes = [0; 16];
                // And then the end: whoever made it has closed the other one.
                rustix::io::read(&fd, &mut bytes) == Ok(8)
                    && bytes[..8] == self.0.to_le_bytes()
                    && rustix::io::read(&fd, &mut bytes) == Ok(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Token> {
        let last = Line::at((1 << 23) - 1);
        let lines = [Line::at(0), Line::at(1), Line::at(17), last];
        let numbers = [0, 1, 2, 3, 4, 1_000_000];
        let all = lines.iter().flat_map(|line| {
            numbers
                .iter()
                .flat_map(|number| [0, 1, 2, 255].map(|at| Token::new(*line, *number, at)))
        });
        all.collect()
    }

    #[test]
    fn each_is_known_and_no_other_is_taken_for_it() {
        let all = tokens();
        for (at, token) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|before| before != token), "{token:?}");
            assert!(token.is_of(token.make().unwrap()), "{token:?}");
            for other in &all {
                assert_eq!(other.is_of(token.make().unwrap()), other == token);
            }
        }
        for kind in [Kind::Memory, Kind::Pipe, Kind::Socket] {
            assert!(all.iter().any(|token| token.kind() == kind), "{kind:?}");
        }
    }

    /// Of a pipe that somebody else can still write to, the descriptors of whoever made it were not closed.
    #[test]
    fn a_pipe_whose_other_end_is_open_is_wrong() {
        let token = *tokens()
            .iter()
            .find(|token| token.kind() == Kind::Pipe)
            .unwrap();
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        rustix::io::write(&write, &token.0.to_le_bytes()).unwrap();
        assert!(!token.is_of(&read));
    }
}
