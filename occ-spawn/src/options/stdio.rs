//! Where a standard descriptor comes from.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// What a process has for its standard input, output or error.
#[derive(Debug)]
pub enum Stdio {
    /// What whoever started the system has.
    Inherit,
    /// /dev/null.
    Null,
    /// This, which may be shared with others.
    Fd(OwnedFd),
}

macro_rules! given {
    ($($from:ty)*) => {
        $(
            impl From<$from> for Stdio {
                fn from(given: $from) -> Stdio {
                    Stdio::Fd(given.into())
                }
            }
        )*
    };
}

given!(OwnedFd File PipeReader PipeWriter UnixStream TcpStream);
