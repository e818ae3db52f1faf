//! The zygote: a small process with one thread and one socket, which forks on request.
//!
//! A fork costs what the forker weighs, and copies locks that its other threads hold; so the one that
//! forks is kept tiny, has no other threads, and holds no descriptor of the processes that it made. They are made with
//! `CLONE_PARENT`: their parent, who is told by the kernel how they end, is the zygote's parent. The zygote itself is
//! expendable; whoever made it makes another.
//!
//! ```text
//! parent                            zygote                               process
//! REQUEST { serial, function, … }
//!   + its end of the control pair ─▶ clone ─────────────────────────────▶ arms, closes what is not its own
//!                                    (or FORK_FAILED on that socket)       HELLO on its control socket
//! ◀──────────────────────────────────────────────────────────────────────  runs the function
//! WHICH { serial } ────────────────▶ the OS pid it forked for it, asked only when the control socket closed
//! ◀─────────────────────────────────  without a HELLO
//! ```
//!
//! - `request`: what is asked for; `start`: how it is read.
//! - `forker`: the zygote itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use occ_proc::OsPid;
use occ_sck::{Blob, Deadline, Envelope, Packet, SendError, Socket};
use serde::{Deserialize, Serialize};

use crate::boot::{self, BootError, Booted};
use crate::descriptor::Descriptor;
use crate::outcome::kind;

mod forker;
mod request;
mod start;

pub use request::{Args, NotEncoded, Request};
pub(crate) use start::{Start, Work};

use request::{Wire, encoded};

/// What the zygote needs to know of the process that it works for.
#[derive(Serialize, Deserialize)]
struct Settings {
    parent: OsPid,
    /// The soft limit on open files that processes shall have, where the parent has raised its own.
    nofile: Option<u64>,
    /// The place of what the zygote runs before it makes the first process; 0 is nothing.
    rehearsal: u64,
}

const ENTRY: &Descriptor = &Descriptor::new(|| "zygote", forker::main);

/// A zygote, from its parent's side.
#[derive(Debug)]
pub struct Zygote {
    process: Booted,
}

impl Zygote {
    /// Starts one.
    ///
    /// It and all the processes that it makes are children of the calling *thread*, and are killed when
    /// that ends: call this from one that outlives them.
    ///
    /// `nofile` is the soft limit on open files that the processes get, if not the caller's.
    ///
    /// `rehearsal` is run by the zygote before it makes the first process. What is done for the first time there no process has to do:
    /// each page that it does not write is one that it shares with all others. It must leave nothing behind that a fork must not have.
    /// `with_rehearsal` is what it gets, and what is closed when it has run.
    ///
    /// # Errors
    ///
    /// The image cannot be started again.
    pub fn start(
        nofile: Option<u64>,
        rehearsal: Option<&'static Descriptor>,
        with_rehearsal: Option<BorrowedFd<'_>>,
    ) -> Result<Zygote, BootError> {
        let settings = Settings {
            parent: OsPid::own(),
            nofile,
            rehearsal: rehearsal.map_or(0, Descriptor::offset),
        };
        let mut args = Vec::new();
        occ_sck::encode_into(&settings, &mut args).map_err(|error| BootError::Io {
            op: "encode",
            source: io::Error::other(error),
        })?;
        let fds: Vec<BorrowedFd<'_>> = with_rehearsal.into_iter().collect();
        boot::launch(ENTRY, args, &fds).map(|process| Zygote { process })
    }

    /// The zygote's own OS pid.
    pub fn os_pid(&self) -> OsPid {
        self.process.os_pid
    }

    /// The socket to it. Its end means that the zygote is no more.
    pub fn socket(&self) -> &Socket {
        &self.process.socket
    }

    /// Asks for a process with `control` as its control socket, and another `socket` for its function.
    ///
    /// That it was asked says nothing yet. The other end of `control` does: a HELLO from the process, a
    /// FORK_FAILED, or nothing and the end, when the zygote died before it forked.
    ///
    /// # Errors
    ///
    /// The request was not sent: [`SendError::Closed`] when there is no zygote any more.
    pub fn request(
        &self,
        request: &Request,
        control: BorrowedFd<'_>,
        socket: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let (mut wire, blob) = Wire::of(request);
        wire.has_socket = socket.is_some();
        let packet = encoded(kind::REQUEST, &wire)?;
        let mut fds = vec![control];
        fds.extend(socket);
        fds.extend(blob.map(Blob::as_fd));
        let others = [&request.joins, &request.given, &request.with_args];
        fds.extend(others.into_iter().flatten().map(AsFd::as_fd));
        packet.send_part(0, &self.process.socket, &fds, deadline)
    }

    /// Asks which process was forked for `serial`; the answer comes on [`Zygote::socket`], and
    /// [`Zygote::answer`] reads it.
    ///
    /// # Errors
    ///
    /// As [`Zygote::request`].
    pub fn ask_which(&self, serial: u64, deadline: Deadline) -> Result<(), SendError> {
        let packet = Packet::of(kind::WHICH, &serial).map_err(|error| SendError::Io {
            op: "encode",
            source: io::Error::other(error),
        })?;
        packet.send_part(0, &self.process.socket, &[], deadline)
    }

    /// Reads an answer: the serial that was asked about, and the process, if one was forked for it.
    pub fn answer(envelope: &Envelope) -> Option<(u64, Option<OsPid>)> {
        (envelope.kind == kind::WHICH).then(|| envelope.decode().ok())?
    }

    /// Why it could not begin, if it said so. Nothing else may read [`Zygote::socket`] meanwhile.
    pub(crate) fn refusal(&self) -> Option<BootError> {
        self.process.refusal()
    }

    /// Kills the zygote and reaps it. The processes that it made live on.
    pub fn end(self) {
        self.process.end();
    }
}
