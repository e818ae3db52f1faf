//! The folder of a process below /proc, opened once.
//!
//! Whatever is read through it is of one process: where that has ended, and its number is another's, the kernel says
//! that there is nothing any more.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;

/// Most bytes that are read of one file. Those that are read here are far shorter.
const MOST: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct ProcDir {
    fd: OwnedFd,
}

impl ProcDir {
    pub(crate) fn open(pid: OsPid) -> Field<ProcDir> {
        let path = format!("/proc/{pid}");
        match openat(CWD, &path, folder(), Mode::empty()) {
            Ok(fd) => Ok(ProcDir { fd }),
            // /proc can be mounted so that it hides the processes of others.
            Err(Errno::NOENT) if exists(pid) => Err(Missing::Denied),
            Err(errno) => Err(Missing::of(errno)),
        }
    }

    /// The folder of one of its threads.
    pub(crate) fn thread(&self, tid: u32) -> Field<ProcDir> {
        let fd = openat(&self.fd, format!("task/{tid}"), folder(), Mode::empty())
            .map_err(Missing::of)?;
        Ok(ProcDir { fd })
    }

    /// A file that does not depend on what the process is doing.
    pub(crate) fn read(&self, name: &str) -> Field<Vec<u8>> {
        read_at(self.fd.as_fd(), name)
    }

    pub(crate) fn link(&self, name: &str) -> Field<OsString> {
        let target = readlinkat(&self.fd, name, Vec::new()).map_err(Missing::of)?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// The numbers that the entries of a folder are named by.
    pub(crate) fn numbers(&self, name: &str) -> Field<Numbers> {
        let folder = openat(&self.fd, name, folder(), Mode::empty()).map_err(Missing::of)?;
        let own = folder.as_raw_fd();
        let entries = Dir::new(folder).map_err(Missing::of)?;
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Missing::of)?;
            let name = entry.file_name().to_str().ok();
            found.extend(name.and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(Numbers { found, own })
    }

    pub(crate) fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Reads a file, whose name is taken from a folder.
pub(crate) fn read_at(folder: BorrowedFd<'_>, name: &str) -> Field<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(folder, name, flags, Mode::empty()).map_err(Missing::of)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Missing::of(errno)),
        }
        if bytes.len() > MOST {
            return Err(Missing::Unsupported);
        }
    }
}

/// What a folder holds.
pub(crate) struct Numbers {
    pub(crate) found: Vec<u32>,
    /// The descriptor that it was read through, which is in the folder of the process that reads its own.
    pub(crate) own: RawFd,
}

fn folder() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn exists(pid: OsPid) -> bool {
    let Some(pid) = pid.to_rustix() else {
        return false;
    };
    matches!(
        rustix::process::test_kill_process(pid),
        Ok(()) | Err(Errno::PERM)
    )
}
