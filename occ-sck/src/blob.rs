//! Bytes in sealed memory that travel as one file descriptor.
//!
//! However many bytes there are, handing them over takes one small datagram, so it never blocks half-way
//! and whoever passes it on copies nothing. The seals say that the sender can no longer change it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::Resource;
use serde::de::DeserializeOwned;

use crate::assemble::ONE_PIECE;
use crate::carried::Decoding;
use crate::error::{BlobError, DecodeError};
use crate::stream::Stream;
use crate::value::{decode, decode_from, type_name_of};

/// How often sealing is tried: for three seconds.
const SEAL_TRIES: u32 = 20;

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Bytes in a sealed memory file.
///
/// ```
/// use std::os::fd::OwnedFd;
///
/// use occ_sck::Blob;
///
/// let blob = Blob::new(b"as many as there is memory for")?;
/// let len = blob.len();
///
/// // What a receiver does with a descriptor that came with a length.
/// let received = Blob::from_fd(OwnedFd::from(blob), len)?;
/// assert_eq!(received.read()?, b"as many as there is memory for");
/// # Ok::<(), occ_sck::BlobError>(())
/// ```
#[derive(Debug)]
pub struct Blob {
    fd: OwnedFd,
    len: u64,
}

impl Blob {
    /// Copies `bytes` into a new sealed memory file.
    ///
    /// # Errors
    ///
    /// No room for a descriptor or for the bytes; the caller's limit on file sizes, which counts here
    /// (setrlimit(2)).
    #[doc(alias = "memfd_create")]
    pub fn new(bytes: &[u8]) -> Result<Blob, BlobError> {
        let mut draft = Draft::new(bytes.len() as u64)?;
        draft.write(bytes)?;
        draft.finish()
    }

    /// Takes a descriptor that somebody sent for a sealed memory file of `len` bytes.
    ///
    /// # Errors
    ///
    /// Another length, or a file that its sender could still change or cut.
    pub fn from_fd(fd: OwnedFd, len: u64) -> Result<Blob, BlobError> {
        match rustix::fs::fcntl_get_seals(&fd) {
            Ok(seals) if seals.contains(SealFlags::WRITE | SealFlags::SHRINK) => {}
            Ok(_) | Err(Errno::INVAL) => return Err(BlobError::Unsealed),
            Err(source) => {
                return Err(BlobError::Io {
                    op: "fcntl(F_GET_SEALS)",
                    len,
                    source: source.into(),
                });
            }
        }
        let stat = rustix::fs::fstat(&fd).map_err(|source| BlobError::Io {
            op: "fstat",
            len,
            source: source.into(),
        })?;
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if found != len {
            return Err(BlobError::Length {
                expected: len,
                found,
            });
        }
        Ok(Blob { fd, len })
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes, copied out.
    ///
    /// # Errors
    ///
    /// No memory for so many bytes, or pread(2) failed.
    pub fn read(&self) -> Result<Vec<u8>, BlobError> {
        let len = self.len;
        let failed = |op, source: io::Error| BlobError::Io { op, len, source };

        let size = usize::try_from(len).map_err(|_| failed("allocate", Errno::NOMEM.into()))?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size)
            .map_err(|_| failed("allocate", Errno::NOMEM.into()))?;
        self.read_at(0, &mut bytes, size)?;
        Ok(bytes)
    }

    /// The value that the bytes from `at` on spell, with those of `fds` that it names: see
    /// [`decode_with_fds`](crate::decode_with_fds). It is read piece by piece where it is long.
    ///
    /// # Errors
    ///
    /// As [`decode_with_fds`](crate::decode_with_fds), and [`DecodeError::Blob`].
    pub fn decode_with_fds<T: DeserializeOwned>(
        &self,
        at: u64,
        fds: Vec<OwnedFd>,
    ) -> Result<T, DecodeError> {
        let scope = Decoding::giving(fds);
        let value = self.decode_behind(at);
        match scope.end() {
            Ok(_) => value,
            Err(source) => Err(DecodeError::Fds {
                type_name: type_name_of::<T>(),
                source,
            }),
        }
    }

    pub(crate) fn decode_behind<T: DeserializeOwned>(&self, at: u64) -> Result<T, DecodeError> {
        let left = self.len.saturating_sub(at);
        let of = usize::try_from(left).unwrap_or(usize::MAX);
        if left > ONE_PIECE {
            return decode_from(Stream::of_file(self, at), of);
        }
        let mut bytes = Vec::new();
        self.read_at(at, &mut bytes, of)
            .map_err(|source| DecodeError::Blob {
                type_name: type_name_of::<T>(),
                source,
            })?;
        decode(&bytes)
    }

    /// Appends the `len` bytes from `at` on.
    ///
    /// # Errors
    ///
    /// There are not as many, or pread(2) failed.
    pub fn read_at(&self, at: u64, into: &mut Vec<u8>, len: usize) -> Result<(), BlobError> {
        let begin = into.len();
        into.reserve_exact(len);
        while into.len() < begin + len {
            let done = into.len() - begin;
            let room = rustix::buffer::spare_capacity(into);
            // There may be more room than was asked for; what is read into it is read again where it belongs.
            match rustix::io::pread(self, room, at + done as u64) {
                Ok(0) => {
                    return Err(BlobError::Length {
                        expected: self.len(),
                        found: at + done as u64,
                    });
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(source) => {
                    return Err(BlobError::Io {
                        op: "pread",
                        len: self.len(),
                        source: source.into(),
                    });
                }
            }
        }
        into.truncate(begin + len);
        Ok(())
    }
}

/// A memory file that is being written.
pub(crate) struct Draft {
    fd: OwnedFd,
    /// Bytes that it is to have.
    len: u64,
    at: u64,
}

impl Draft {
    pub(crate) fn new(len: u64) -> Result<Draft, BlobError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let create = |flags| rustix::fs::memfd_create(c"occasional", flags);
        // A system may refuse memory files that could be executed; kernels before 6.3 know no other.
        let fd = match create(flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => create(flags),
            created => created,
        }
        .map_err(failed("memfd_create", len))?;
        // Past the limit the kernel would send SIGXFSZ before it gave us the error.
        let limit = rustix::process::getrlimit(Resource::Fsize).current;
        if limit.is_some_and(|limit| len > limit) {
            return Err(failed("pwrite", len)(Errno::FBIG));
        }
        Ok(Draft { fd, len, at: 0 })
    }

    /// Appends `bytes`: no more in all than were announced.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.fd, bytes, self.at) {
                Ok(0) => return Err(failed("pwrite", self.len)(Errno::NOSPC)),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.at += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(source) => return Err(failed("pwrite", self.len)(source)),
            }
        }
        Ok(())
    }

    /// From now on nobody can change it.
    pub(crate) fn finish(self) -> Result<Blob, BlobError> {
        seal(&self.fd).map_err(failed("fcntl(F_ADD_SEALS)", self.len))?;
        Ok(Blob {
            fd: self.fd,
            len: self.at,
        })
    }
}

fn failed(op: &'static str, len: u64) -> impl Fn(Errno) -> BlobError {
    move |source| BlobError::Io {
        op,
        len,
        source: source.into(),
    }
}

/// Seals a file that nobody else has.
///
/// EBUSY means that somebody holds a page of it, and here that is the kernel, which moves pages about. Each try waits for
/// up to 155 ms by itself (mm/memfd.c, `memfd_wait_for_pins`); on a machine that was short of memory that was not enough
/// once in some thousand files.
fn seal(fd: &OwnedFd) -> rustix::io::Result<()> {
    let mut sealed = Ok(());
    for _ in 0..SEAL_TRIES {
        sealed = rustix::fs::fcntl_add_seals(fd, SEALS);
        if sealed != Err(Errno::BUSY) {
            break;
        }
    }
    sealed
}

impl AsFd for Blob {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Blob> for OwnedFd {
    fn from(blob: Blob) -> OwnedFd {
        blob.fd
    }
}
