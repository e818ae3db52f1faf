//! The command line of a process, which lies in its own memory.
//!
//! The kernel reads it there under the lock of that memory, or from where the memory comes from. A process that is
//! stuck with either keeps whoever reads it waiting, and nothing but SIGKILL ends the wait (ps(1) hangs on such a
//! process). So a program of its own reads it, and is killed when it takes too long.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::stat::Stat;

/// The program that reads.
const READER: &str = "cat";

/// Most bytes of a command line that are read.
const MOST: u64 = 1 << 22;

/// The arguments that a process was started with, unless it has written others over them; empty for a zombie and for a
/// thread of the kernel.
///
/// It waits for up to `limit`: a process that is stuck cannot be read.
///
/// # Errors
///
/// [`Missing::TimedOut`]; [`Missing::Unsupported`] where cat(1) is not installed; and those of every field.
#[doc(alias = "cmdline")]
pub fn command_line(os_pid: OsPid, limit: Duration) -> Field<Vec<OsString>> {
    let deadline = Instant::now() + limit;
    let before = Stat::of(os_pid)?;
    let bytes = read(&format!("/proc/{os_pid}/cmdline"), deadline)?;
    // Its number may be another's by now.
    if Stat::of(os_pid)?.started != before.started {
        return Err(Missing::Gone);
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let words = bytes.split(|byte| *byte == 0);
    Ok(words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect())
}

fn read(path: &str, deadline: Instant) -> Field<Vec<u8>> {
    let mut reader = Command::new(READER)
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| match errno_of(&error) {
            Errno::NOENT => Missing::Unsupported,
            errno => Missing::of(errno),
        })?;

    let mut bytes = Vec::new();
    let read = match &mut reader.stdout {
        Some(output) => read_all(output, &mut bytes, deadline),
        None => Err(Missing::Unsupported),
    };
    if read.is_err() {
        let _ = reader.kill();
    }
    let status = reader.wait();
    read?;
    match status
        .map_err(|error| Missing::of(errno_of(&error)))?
        .code()
    {
        Some(0) => Ok(bytes),
        // It was there a moment ago, and anybody may read it.
        _ => Err(Missing::Gone),
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Reads to the end.
fn read_all(
    output: &mut std::process::ChildStdout,
    bytes: &mut Vec<u8>,
    deadline: Instant,
) -> Field<()> {
    let mut buffer = [0; 4096];
    while (bytes.len() as u64) < MOST {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(Missing::TimedOut),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(Missing::of(errno)),
        }
        match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Missing::of(errno_of(&error))),
        }
    }
    Ok(())
}
