//! What a process is asked for with, and how that travels.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_sck::{Blob, BlobError, Bytes, Deadline, EncodeError, Packet, SendError, Socket, Term};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::outcome::kind;

/// Arguments longer than this travel in a memory file.
const INLINE: usize = 48 * 1024;

/// How a process is to be started.
#[derive(Debug)]
pub struct Request {
    /// The number that the caller knows it by, until there is an OS pid.
    pub serial: u64,
    /// Where the function's descriptor is: [`Descriptor::offset`](crate::entry::Descriptor::offset).
    pub function: u64,
    /// Its arguments, encoded.
    pub args: Args,
    /// The descriptors in them.
    pub with_args: Vec<OwnedFd>,
    /// What whoever asks for the process has to tell it besides: [`Context::preface`](crate::entry::Context::preface).
    pub preface: Vec<u8>,
    /// Keep the standard input of whoever booted the zygote; else it is /dev/null.
    pub keep_stdin: bool,
    /// A mark that the process and all that descends from it carry: its soft `RLIMIT_LOCKS`, which the kernel does not
    /// enforce.
    pub mark: Option<u64>,
    /// So many bytes before the arguments proper are options, as in a [`Parcel`](crate::options::Parcel).
    pub plan: u64,
    /// What belongs to them.
    pub given: Vec<OwnedFd>,
    /// Its options are to name a program, which it executes; else they must not.
    pub executes: bool,
    /// It is the first process of a PID namespace of its own.
    pub namespace: bool,
    /// The `cgroup.procs` files of control groups that it joins before anything else.
    pub joins: Vec<OwnedFd>,
    /// It is made without knowing what for, and waits to be told: see [`Request::start`].
    pub spare: bool,
    /// What it is likely to be told: the place of a function, or 0.
    pub likely: u64,
}

impl Request {
    /// A request for a spare. Before it waits it runs `rehearsal`, the place of a function that does beforehand what it can of what
    /// others will do; 0 is none.
    ///
    /// With a `preface` that function runs for good, and what it has prepared is there when the process is told what it is.
    pub fn spare(serial: u64, rehearsal: u64) -> Request {
        Request {
            serial,
            function: rehearsal,
            args: Args::Inline(Vec::new()),
            with_args: Vec::new(),
            preface: Vec::new(),
            keep_stdin: false,
            mark: None,
            plan: 0,
            given: Vec::new(),
            executes: false,
            namespace: false,
            joins: Vec::new(),
            spare: true,
            likely: 0,
        }
    }

    /// Tells a spare, by its control socket, to become this process: the function and its arguments, because all else it has had from the
    /// beginning. There is no first word of it again: it has said one when it was made, and whatever it says from here on it says as
    /// this process.
    ///
    /// # Errors
    ///
    /// It was not told: [`SendError::Closed`] when there is no such process any more.
    pub fn start(&self, spare: &Socket) -> Result<(), SendError> {
        let packet = self.for_spare()?;
        let (_, blob) = self.args.parts();
        let blob = blob.map(Blob::as_fd).into_iter();
        let fds: Vec<BorrowedFd<'_>> = blob.chain(self.with_args.iter().map(AsFd::as_fd)).collect();
        packet.send_part(0, spare, &fds, Deadline::Now)
    }

    pub(crate) fn for_spare(&self) -> Result<Packet, SendError> {
        let (args, blob) = self.args.parts();
        let rest = Rest {
            function: self.function,
            blob: blob.map(Blob::len),
            with_args: self.with_args.len() as u32,
            args: args.to_vec().into(),
        };
        encoded(kind::START, &rest)
    }
}

pub(super) fn encoded<T: Term>(kind: u8, wire: &T) -> Result<Packet, SendError> {
    Packet::of(kind, wire).map_err(|error| SendError::Io {
        op: "encode",
        source: io::Error::other(error),
    })
}

/// Arguments that cannot be put on their way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotEncoded {
    /// They cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// No room for the memory file.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Encoded arguments on their way to a process.
#[derive(Debug)]
pub enum Args {
    /// In the request itself.
    Inline(Vec<u8>),
    /// In a memory file, which nobody on the way reads.
    Blob(Blob),
}

impl Args {
    /// Chooses by length.
    ///
    /// # Errors
    ///
    /// No room for a memory file.
    pub fn new(bytes: Vec<u8>) -> Result<Args, BlobError> {
        if bytes.len() <= INLINE {
            Ok(Args::Inline(bytes))
        } else {
            Blob::new(&bytes).map(Args::Blob)
        }
    }

    /// The options and behind them these arguments, and the descriptors in the arguments. What is long is not copied: it is
    /// written to its memory file as it is encoded.
    ///
    /// # Errors
    ///
    /// The arguments cannot be encoded, or there is no room for a memory file or a descriptor.
    pub fn encode<A: Term>(
        mut options: Vec<u8>,
        args: &A,
    ) -> Result<(Args, Vec<OwnedFd>), NotEncoded> {
        let mut packet = Packet::new();
        packet.prepare(kind::REQUEST, args)?;
        let encoded = if packet.is_long() {
            match packet.blob_behind(&options, args) {
                Ok(blob) => Args::Blob(blob),
                Err(SendError::Encode(error)) => return Err(error.into()),
                Err(SendError::Blob(error)) => return Err(error.into()),
                Err(error) => {
                    let (op, len) = ("write", packet.len());
                    let source = io::Error::from(error);
                    return Err(BlobError::Io { op, len, source }.into());
                }
            }
        } else {
            options.extend_from_slice(packet.payload());
            Args::new(options)?
        };
        Ok((encoded, packet.take_fds()))
    }

    /// What is inline, and the memory file.
    fn parts(&self) -> (&[u8], Option<&Blob>) {
        match self {
            Args::Inline(bytes) => (bytes, None),
            Args::Blob(blob) => (&[], Some(blob)),
        }
    }
}

/// What a spare does not know before.
#[derive(Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) function: u64,
    /// The length of the memory file that holds the arguments.
    pub(super) blob: Option<u64>,
    /// So many descriptors are in them.
    pub(super) with_args: u32,
    pub(super) args: Bytes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    pub(super) serial: u64,
    pub(super) function: u64,
    pub(super) keep_stdin: bool,
    pub(super) mark: Option<u64>,
    /// A second socket comes along for the function itself.
    pub(super) has_socket: bool,
    /// The length of the memory file that holds the arguments.
    pub(super) blob: Option<u64>,
    pub(super) plan: u64,
    pub(super) executes: bool,
    pub(super) namespace: bool,
    pub(super) spare: bool,
    pub(super) likely: u64,
    pub(super) joins: u32,
    pub(super) given: u32,
    pub(super) with_args: u32,
    pub(super) args: Bytes,
    pub(super) preface: Bytes,
}

impl Wire {
    /// And the memory file that belongs to it.
    pub(super) fn of(request: &Request) -> (Wire, Option<&Blob>) {
        let (args, blob) = request.args.parts();
        let wire = Wire {
            serial: request.serial,
            function: request.function,
            keep_stdin: request.keep_stdin,
            mark: request.mark,
            has_socket: false,
            blob: blob.map(Blob::len),
            plan: request.plan,
            executes: request.executes,
            namespace: request.namespace,
            spare: request.spare,
            likely: request.likely,
            joins: request.joins.len() as u32,
            given: request.given.len() as u32,
            with_args: request.with_args.len() as u32,
            args: args.to_vec().into(),
            preface: request.preface.clone().into(),
        };
        (wire, blob)
    }
}
