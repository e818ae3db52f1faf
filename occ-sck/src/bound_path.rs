//! The path that a listening socket is bound to: whose it is, and how one that is nobody's any more is taken over.
//!
//! A process that is killed leaves its path behind, and bind(2) refuses a path that is there. To remove it is safe only if it is
//! nobody's, and nobody else finds the same and binds it in between:
//!
//! - It is nobody's if connect(2) is refused by a socket of another *type* than any listener has. For one that somebody has the kernel
//!   says that the type is wrong, whether it listens yet or not, and who has it notices nothing.
//! - One who wants to take a path over locks the folder (flock(2)) from the look to bind(2). Who finds a path free needs no
//!   lock: it has the path the moment that bind(2) returns, and from then on it is somebody's.
//! - Who closes removes the path first, while the socket is still there: so it cannot be another's yet.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::address::Address;
use crate::connection_error::ListenError;
use crate::deadline::Deadline;
use crate::transmit::{self, MOMENT};

/// How long one waits for others who take over a path in the same folder. It takes them some microseconds.
const LOCKED: Duration = Duration::from_secs(5);

/// How often a path may turn out to be another's before it counts as in use.
const TRIES: usize = 10;

/// A path in the file system, and which file it was when it was bound.
#[derive(Debug)]
pub(crate) struct BoundPath {
    path: PathBuf,
    file: File,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File(u64, u64);

impl BoundPath {
    /// Binds `fd`, in place of a socket that somebody has left behind.
    pub(crate) fn bind(
        fd: &OwnedFd,
        address: &Address,
        path: &Path,
    ) -> Result<BoundPath, ListenError> {
        if !bind(fd, address)? {
            take_over(fd, address, path)?;
        }
        let failed = failed(address, "stat");
        // As it is to be found after a change of the working directory.
        let path = std::path::absolute(path).map_err(|error| ListenError::Io {
            op: "getcwd",
            address: address.clone(),
            source: error,
        })?;
        let (file, _) = look(&path).map_err(failed)?;
        Ok(BoundPath { path, file })
    }

    /// Removes the path if it is still ours. The socket must still be open: else it could be another's in between.
    pub(crate) fn remove(&self) {
        if look(&self.path).is_ok_and(|(file, _)| file == self.file) {
            // It is gone, or nothing can be done about it: the next who binds it takes it over.
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

fn failed<'a>(address: &'a Address, op: &'static str) -> impl Fn(Errno) -> ListenError + Copy + 'a {
    move |source| ListenError::Io {
        op,
        address: address.clone(),
        source: source.into(),
    }
}

/// False if something is there.
fn bind(fd: &OwnedFd, address: &Address) -> Result<bool, ListenError> {
    let failed = failed(address, "bind");
    match rustix::net::bind(fd, &address.to_rustix().map_err(failed)?) {
        Ok(()) => Ok(true),
        Err(Errno::ADDRINUSE) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn take_over(fd: &OwnedFd, address: &Address, path: &Path) -> Result<(), ListenError> {
    let in_use = || ListenError::AddrInUse {
        address: address.clone(),
    };
    // Before the lock, so that a path that somebody has waits for nobody.
    if is_somebodys(address)? {
        return Err(in_use());
    }
    let _lock = Lock::on_folder_of(path, address)?;
    for _ in 0..TRIES {
        let (file, kind) = match look(path) {
            Ok(found) => found,
            Err(Errno::NOENT) if bind(fd, address)? => return Ok(()),
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(failed(address, "stat")(error)),
        };
        if kind != FileType::Socket {
            return Err(ListenError::NoSocket {
                address: address.clone(),
            });
        }
        if is_somebodys(address)? {
            return Err(in_use());
        }
        // Who does not know of the lock may have put another in its place.
        if look(path).is_ok_and(|(now, _)| now == file) {
            match rustix::fs::unlink(path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(failed(address, "unlink")(error)),
            }
        }
    }
    Err(in_use())
}

/// Whether a process has a socket that is bound to the path.
fn is_somebodys(address: &Address) -> Result<bool, ListenError> {
    // No listener has this type.
    let probe = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed(address, "socket"))?;
    let failed = failed(address, "connect");
    match rustix::net::connect(&probe, &address.to_rustix().map_err(failed)?) {
        Ok(()) | Err(Errno::PROTOTYPE) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn look(path: &Path) -> rustix::io::Result<(File, FileType)> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    #[allow(
        clippy::useless_conversion,
        reason = "of other types on other machines"
    )]
    let file = File(stat.st_dev.into(), stat.st_ino.into());
    Ok((file, FileType::from_raw_mode(stat.st_mode)))
}

/// The lock on a folder. Others who take over a path in it wait; nobody else does.
struct Lock(OwnedFd);

impl Lock {
    fn on_folder_of(path: &Path, address: &Address) -> Result<Lock, ListenError> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(folder, flags, Mode::empty()).map_err(failed(address, "open"))?;
        let deadline = Deadline::after(LOCKED);
        loop {
            match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(folder)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if deadline.passed() => {
                    return Err(ListenError::Locked {
                        address: address.clone(),
                    });
                }
                // No events: the kernel tells nobody that a lock is free, but those who wait for it without a limit.
                Err(Errno::AGAIN) => {
                    let moment = deadline.no_later_than(MOMENT);
                    let waited = transmit::wait(folder.as_fd(), PollFlags::empty(), moment);
                    waited.map_err(|source| ListenError::Io {
                        op: "poll",
                        address: address.clone(),
                        source,
                    })?;
                }
                Err(error) => return Err(failed(address, "flock")(error)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // By name, because a fork that another thread made meanwhile has the same open file and with it the lock.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}
