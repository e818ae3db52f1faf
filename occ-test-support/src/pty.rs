//! A terminal, as a person would sit at it.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::poll::readable;
use crate::sys;

/// A pseudo-terminal; this is the keyboard and the screen.
#[derive(Debug)]
pub struct Pty {
    controller: OwnedFd,
    /// Read from the screen, and not yet returned.
    seen: Vec<u8>,
}

impl Pty {
    /// Opens one.
    #[must_use]
    #[doc(alias = "openpt")]
    pub fn new() -> Pty {
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
        grantpt(&controller).expect("grantpt");
        unlockpt(&controller).expect("unlockpt");
        Pty {
            controller,
            seen: Vec::new(),
        }
    }

    /// Starts `command` as the leader of a session of its own, with this as its terminal on fds 0 to 2.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    #[doc(alias = "TIOCSCTTY")]
    pub fn spawn(&self, mut command: Command) -> Child {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal =
            ioctl_tiocgptpeer(&self.controller, flags).expect("opening the user side of a pty");
        let copy = || Stdio::from(terminal.try_clone().expect("dup"));
        command.stdin(copy()).stdout(copy()).stderr(copy());
        sys::lead_session_on_stdin(&mut command);
        // The command, and with it our copies of the terminal, is dropped on return: the hang-up of the
        // screen must mean that the processes at the terminal are gone.
        command.spawn().expect("spawn at a terminal")
    }

    /// Types `bytes`.
    pub fn write(&self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let written = rustix::io::write(&self.controller, left).expect("writing to a pty");
            left = &left[written..];
        }
    }

    /// Types ctrl-c.
    pub fn ctrl_c(&self) {
        self.write(b"\x03");
    }

    /// Types ctrl-z.
    pub fn ctrl_z(&self) {
        self.write(b"\x1a");
    }

    /// Types ctrl-\, which is SIGQUIT.
    pub fn ctrl_backslash(&self) {
        self.write(b"\x1c");
    }

    /// Reads the screen until `needle` shows, and returns everything up to its end.
    ///
    /// The terminal shows what is typed, too, and ends lines with `\r\n`.
    ///
    /// # Panics
    ///
    /// If it did not show within `limit`, or the last process at the terminal has gone.
    #[track_caller]
    pub fn read_until(&mut self, needle: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let found = self
                .seen
                .windows(needle.len())
                .position(|window| window == needle.as_bytes());
            if let Some(at) = found {
                let rest = self.seen.split_off(at + needle.len());
                return text(&std::mem::replace(&mut self.seen, rest));
            }
            let shown = || text(&self.seen);
            assert!(
                readable(self.controller.as_fd(), deadline),
                "no {needle:?} within {limit:?}: {:?}",
                shown()
            );
            let more = self.read_more();
            assert!(more, "hung up without {needle:?}: {:?}", text(&self.seen));
        }
    }

    /// Reads the screen until the last process at the terminal has gone, and returns what it showed.
    ///
    /// # Panics
    ///
    /// If one is still there after `limit`.
    #[track_caller]
    pub fn read_to_end(&mut self, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            let shown = || text(&self.seen);
            assert!(
                readable(self.controller.as_fd(), deadline),
                "no hang-up within {limit:?}: {:?}",
                shown()
            );
            if !self.read_more() {
                return text(&std::mem::take(&mut self.seen));
            }
        }
    }

    /// Reads what there is; false at the hang-up, which Linux tells as EIO.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.controller, &mut buffer) {
            Ok(0) | Err(Errno::IO) => false,
            Ok(read) => {
                self.seen.extend(&buffer[..read]);
                true
            }
            Err(Errno::INTR) => true,
            Err(error) => panic!("reading a pty: {error}"),
        }
    }
}

impl Default for Pty {
    fn default() -> Pty {
        Pty::new()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
