//! Starting the program's own image again, to run one function of it and not its `main`.
//!
//! ```text
//! parent                                     child
//! posix_spawn(/proc/self/exe,
//!   argv = [MARKER, the caller's argv …],
//!   fd 3 = one end of a new pair) ─────────▶ the init function sees MARKER, and a socket at 3 that its
//!                                            parent made: closes all other fds, arms
//! BOOT { fingerprint, offset, args, fds } ─▶ the same image? a function? then runs it and never returns
//!                                   ◀─────── BOOT_FAILED { why }, and exits, if not
//! ```
//!
//! So a process starts from what is on disk (or was: the file may be replaced meanwhile), never from a
//! copy of the caller's memory; its cost does not depend on the caller, and the caller's threads do not matter.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use occ_proc::OsPid;
use occ_sck::{
    Assembler, Bytes, Deadline, Envelope, Limits, MAX_DATAGRAM, Packet, Received, SendError, Socket,
};
use occ_yeshup::Parent;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::process::{Signal, WaitId, WaitIdOptions};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::descriptor::{Context, Descriptor, Encoded};
use crate::image::{Fingerprint, Image};
use crate::outcome::{End, kind};
use crate::sys::{self, ForkKind, ForkState};

pub use crate::sys::close_from;

/// What argv[0] of a booting image is.
pub(crate) const MARKER: &[u8] = b"occasional-boot";

/// Where a booting image, and every process, finds the socket to whoever started it.
pub(crate) const CONTROL_FD: RawFd = 3;

/// The socket at [`CONTROL_FD`], once it is known to be ours.
static CONTROL: OnceLock<Socket> = OnceLock::new();

/// The image could not be started again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootError {
    /// /proc is not mounted, or not readable.
    #[error("/proc/self is not to be had: a new process is started from /proc/self/exe")]
    NoProc(#[source] io::Error),
    /// The executable is not the image that this code is part of.
    #[error(
        "{exe:?} is not the image that this code is part of: it is a library in another program, \
         or the program was started through the dynamic loader or an emulator"
    )]
    NotThisImage {
        /// What /proc/self/exe names.
        exe: OsString,
    },
    /// A system call failed.
    #[error("{op} failed")]
    Io {
        /// The call.
        op: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The new image was not told what to run.
    #[error("the new process did not take its orders")]
    Orders(#[source] SendError),
    /// The new image took its orders, and could not do what they say.
    #[error("the new process could not begin: {why}")]
    Refused {
        /// What it said.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Orders {
    fingerprint: u64,
    offset: u64,
    args: Bytes,
}

/// An image that has been started again.
#[derive(Debug)]
pub struct Booted {
    /// Its process.
    pub os_pid: OsPid,
    /// The socket to it.
    pub socket: Socket,
}

/// Starts the image again, to run `entry` with `args` and `fds`.
///
/// The new process has the caller's environment, arguments, working directory and fds 0 to 2, nothing
/// else of it. It is a child of the calling *thread*, and is killed when that ends.
///
/// # Errors
///
/// See [`BootError`]. What goes wrong later closes the socket, after a frame of the kind
/// [`kind::BOOT_FAILED`] if there is something to say.
pub fn launch(
    entry: &'static Descriptor,
    args: Vec<u8>,
    fds: &[BorrowedFd<'_>],
) -> Result<Booted, BootError> {
    let image = Image::own();
    if !image.is_the_executable().map_err(no_proc)? {
        let exe = std::fs::read_link("/proc/self/exe").map_err(no_proc)?;
        return Err(BootError::NotThisImage {
            exe: exe.into_os_string(),
        });
    }

    let failed = |op| move |source: io::Error| BootError::Io { op, source };
    let (ours, theirs) = Socket::pair().map_err(failed("socketpair"))?;
    let mut argv = vec![c_string(MARKER)];
    argv.extend(std::env::args_os().map(|arg| c_string(arg.as_bytes())));
    let envp: Vec<CString> = std::env::vars_os()
        .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    let os_pid = sys::exec_self(&argv, &envp, theirs.as_fd(), CONTROL_FD)
        .map_err(failed("posix_spawn(/proc/self/exe)"))?;
    drop(theirs);

    let orders = Orders {
        fingerprint: image.fingerprint.0,
        offset: entry.offset(),
        args: args.into(),
    };
    let packet = Packet::of(kind::BOOT, &orders)
        .map_err(|error| failed("encode")(io::Error::other(error)))?;
    let booted = Booted {
        os_pid: OsPid::new(os_pid),
        socket: ours,
    };
    match packet.send_whole(&booted.socket, fds, Deadline::Never) {
        Ok(()) => Ok(booted),
        Err(error) => {
            booted.end();
            Err(BootError::Orders(error))
        }
    }
}

fn no_proc(source: io::Error) -> BootError {
    match source.raw_os_error() {
        // That says nothing of /proc.
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => BootError::Io {
            op: "open(/proc/self)",
            source,
        },
        _ => BootError::NoProc(source),
    }
}

impl Booted {
    /// Kills the process and takes its status away.
    pub fn end(&self) {
        let Some(pid) = self.os_pid.to_rustix() else {
            return;
        };
        let wait =
            |options| rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | options);
        // Where somebody else has reaped it, its number may be a stranger's by now, and not to be killed.
        if wait(WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).is_ok() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            while matches!(wait(WaitIdOptions::empty()), Err(Errno::INTR)) {}
        }
    }

    /// What it said before it closed its socket, if it could not begin. Nothing else may read the socket.
    pub fn refusal(&self) -> Option<BootError> {
        refusal(&receive_one(&self.socket, Deadline::Now).ok()?)
    }
}

/// Reads what a new image says that could not begin.
pub(crate) fn refusal(envelope: &Envelope) -> Option<BootError> {
    let why = (envelope.kind == kind::BOOT_FAILED).then(|| envelope.decode().ok())??;
    Some(BootError::Refused { why })
}

/// Tells whoever ordered it that this new image cannot begin.
pub(crate) fn refuse(control: &Socket, why: &str) {
    if let Ok(packet) = Packet::of(kind::BOOT_FAILED, &why.to_owned()) {
        let _ = packet.send_whole(control, &[], Deadline::Now);
    }
}

/// No string of a process's own arguments or environment has a zero byte in it.
fn c_string(bytes: &[u8]) -> CString {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

// ---- in the new image, before main ----

/// True when argv[0] is [`MARKER`], as the kernel tells it.
pub(crate) fn cmdline_starts_with_marker() -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/proc/self/cmdline", flags, Mode::empty()) else {
        return false;
    };
    let mut start = [0; MARKER.len() + 1];
    let read = rustix::io::read(&file, &mut start);
    read == Ok(start.len()) && start.strip_suffix(b"\0") == Some(MARKER)
}

/// True when fd 3 is what only [`launch`] leaves there. A program that somebody started with our marker for
/// a name runs its `main`.
#[expect(unsafe_code, reason = "looks at an inherited descriptor by number")]
pub(crate) fn has_control_socket() -> bool {
    // SAFETY: nothing else runs yet that could close it; if it is not open, the calls below say so.
    let fd = unsafe { sys::borrow(CONTROL_FD) };
    rustix::net::sockopt::socket_type(fd) == Ok(SocketType::SEQPACKET)
}

/// Runs what the parent ordered, in place of `main`.
pub(crate) fn take_over() -> ! {
    open_standard_fds();
    let Some(control) = take_control() else {
        sys::end(1)
    };

    // The socket was made by our parent and nobody else. If the parent has died meanwhile, there is nobody to
    // run for; a fork of it may hold the other end, so the end of file need not come.
    let maker = rustix::net::sockopt::socket_peercred(control).ok();
    let parent = maker.and_then(|cred| Parent::from_os_pid(cred.pid.as_raw_pid().unsigned_abs()));
    if parent.is_none_or(|parent| occ_yeshup::arm(parent).is_err()) {
        sys::end(1);
    }

    let (entry, context) = match read_orders(control) {
        Ok(orders) => orders,
        Err(why) => {
            refuse(control, &why);
            sys::end(1)
        }
    };
    let end = entry.run(context);
    sys::end(end.status)
}

fn read_orders(control: &'static Socket) -> Result<(Descriptor, Context), String> {
    let envelope = receive_one(control, Deadline::Never)?;
    if envelope.kind != kind::BOOT {
        return Err(format!(
            "expected orders, and this is a frame of kind {}",
            envelope.kind
        ));
    }
    let orders: Orders = envelope.decode().map_err(|error| error.to_string())?;
    let here = Image::own().fingerprint;
    if here != Fingerprint(orders.fingerprint) {
        return Err("/proc/self/exe is another image than the one that started it".to_owned());
    }
    let entry = Descriptor::find(orders.offset).map_err(|error| error.to_string())?;
    Ok((
        entry,
        Context {
            control,
            args: Encoded::Here(orders.args.0),
            with_args: Vec::new(),
            preface: Vec::new(),
            fds: envelope.fds,
        },
    ))
}

/// A fork copies a lock that another thread holds, and nobody ever opens the copy.
pub(crate) fn is_alone() -> Result<(), String> {
    if sys::is_single_threaded() {
        Ok(())
    } else {
        Err("an initialiser that runs before main has started a thread".to_owned())
    }
}

pub(crate) fn fork_state() -> Result<ForkState, String> {
    ForkState::of_this_thread()
        .map_err(|error| format!("the kernel does not say where the thread id is kept: {error}"))
}

/// Forks the image that has been started again, to run `work` in a child that has its descriptors in one table with the caller
/// (`CLONE_FILES`, clone(2)): what either opens both have, and what either closes is closed in both. None is closed with
/// the end of the first of them.
///
/// It is a child of the calling thread, and not armed.
///
/// # Errors
///
/// In words: the process has other threads, or the kernel cannot fork.
///
/// # Safety
///
/// Neither may close, or drop, what is the other's. What `work` takes with it is the child's from then on, and the caller must
/// forget it.
#[expect(unsafe_code, reason = "forks")]
pub unsafe fn fork_with_descriptors(work: impl FnOnce() -> End) -> Result<OsPid, String> {
    is_alone()?;
    let state = fork_state()?;
    // SAFETY: one thread, this one; the caller answers for the descriptors.
    match unsafe { sys::fork(&state, ForkKind::SharesDescriptors) } {
        Ok(Some(os_pid)) => Ok(OsPid::new(os_pid)),
        Ok(None) => {
            let end = crate::panic::catch(work);
            sys::end(end.status)
        }
        Err(error) => Err(format!("cannot fork: {error}")),
    }
}

/// Receives one message of one datagram.
pub(crate) fn receive_one(socket: &Socket, deadline: Deadline) -> Result<Envelope, String> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut fds: Vec<OwnedFd> = Vec::new();
    match socket.receive(&mut buffer, &mut fds, deadline) {
        Ok(Received::Datagram { len, .. }) => Assembler::new(Limits::default())
            .push(&buffer[..len], fds)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "a message in parts, where one datagram was expected".to_owned()),
        Ok(Received::Nothing) => Err("nothing arrived in time".to_owned()),
        Ok(Received::Closed) => Err("the peer has closed the connection".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// As `std` does before `main`: a program that starts without one of its standard descriptors must not
/// get a file of its own under that number.
#[expect(unsafe_code, reason = "looks at the standard descriptors by number")]
fn open_standard_fds() {
    for number in 0..=2 {
        // SAFETY: nothing else runs yet that could close it; if it is not open, the call says so.
        let fd = unsafe { sys::borrow(number) };
        if rustix::io::fcntl_getfd(fd).is_err()
            && let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
        {
            // The lowest free number is this one: those below it are open by now.
            std::mem::forget(null);
        }
    }
}

/// Takes the socket at [`CONTROL_FD`] for the one to whoever started this process.
#[expect(unsafe_code, reason = "takes an inherited descriptor by number")]
fn take_control() -> Option<&'static Socket> {
    // SAFETY: see `has_control_socket`: it is open, and only this line takes it.
    let fd = unsafe { sys::own_fd(CONTROL_FD) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    let _ = CONTROL.set(Socket::from(fd));
    CONTROL.get()
}

/// The socket to whoever started this process; `None` in a process that nobody of us started.
pub(crate) fn control() -> Option<&'static Socket> {
    CONTROL.get()
}
