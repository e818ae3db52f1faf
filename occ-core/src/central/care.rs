//! What is seen to for a process besides: the end of a program, by a pidfd, because its control socket went with its image; and
//! what it writes to standard error, the last of which is kept for its report.

use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use occ_spawn::zygote;
use occ_spawn::{OsPid, Tail};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::PidfdFlags;

use super::{Central, PROGRAM, STDERR};
use crate::containment::Containment;
use crate::protocol::{Care, NotSpawned};
use crate::state::Serial;

/// Bytes read at a time.
const PART: usize = 16 * 1024;

/// Parts read at the end of a process: more than a pipe holds, unless somebody goes on writing.
const LAST_PARTS: usize = 80;

/// What is held for a process.
#[derive(Debug, Default)]
pub(super) struct Cared {
    /// Readable once it has ended.
    pidfd: Option<(OwnedFd, OsPid)>,
    stderr: Option<Captured>,
}

#[derive(Debug)]
struct Captured {
    pipe: File,
    tail: Tail,
}

fn failed(op: &str) -> impl Fn(rustix::io::Errno) -> NotSpawned {
    let op = op.to_owned();
    move |errno| NotSpawned::Io {
        op: op.clone(),
        errno: errno.raw_os_error(),
    }
}

impl Central {
    /// Adds to a request what the coordinator has to give to the process.
    pub(super) fn take_care(
        &mut self,
        mut request: zygote::Request,
        care: &Care,
    ) -> Result<zygote::Request, NotSpawned> {
        if care.containment == Containment::ProcessGroup {
            request.mark = None;
        }
        if let Some(at) = care.stderr_at {
            let (ours, theirs) = stderr_pipe().map_err(failed("pipe"))?;
            let at = (at as usize).min(request.given.len());
            request.given.insert(at, theirs);
            let data = epoll::EventData::new_u64(STDERR | request.serial);
            epoll::add(&self.epoll, &ours, data, EventFlags::IN).map_err(failed("epoll_ctl"))?;
            let captured = Captured {
                pipe: ours.into(),
                tail: Tail::default(),
            };
            self.cared.entry(request.serial).or_default().stderr = Some(captured);
        }
        Ok(request)
    }

    /// A process is no more, or was never made.
    pub(super) fn forget(&mut self, process: Serial) {
        if let Some(cared) = self.cared.remove(&process) {
            // A fork of the process may hold the other end of its pipe, but nobody a duplicate of ours.
            drop(cared);
        }
    }

    // ---- the end of a program ----

    /// Watches a program by its pidfd, if it is one; false if it has to be asked about at each SIGCHLD.
    pub(super) fn watch_program(&mut self, process: Serial, os_pid: OsPid) -> bool {
        if !self.state.executes(process) {
            return false;
        }
        let pidfd = os_pid.to_rustix().ok_or(rustix::io::Errno::SRCH);
        let pidfd = pidfd.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
        let Ok(pidfd) = pidfd else { return false };
        let data = epoll::EventData::new_u64(PROGRAM | process);
        if epoll::add(&self.epoll, &pidfd, data, EventFlags::IN).is_err() {
            return false;
        }
        self.cared.entry(process).or_default().pidfd = Some((pidfd, os_pid));
        true
    }

    pub(super) fn program_ended(&mut self, process: Serial) {
        let cared = self.cared.get(&process);
        if let Some((_, os_pid)) = cared.and_then(|cared| cared.pidfd.as_ref()) {
            self.fresh.push((process, *os_pid));
        }
    }

    // ---- standard error ----

    /// Reads what is there, as far as the others have their turn.
    pub(super) fn read_stderr(&mut self, process: Serial) {
        let Entry::Occupied(mut cared) = self.cared.entry(process) else {
            return;
        };
        if let Some(captured) = &mut cared.get_mut().stderr
            && !captured.read(&mut self.buffer[..PART])
        {
            // All that had the other end have closed it: there is nothing more to come.
            let _ = epoll::delete(&self.epoll, captured.pipe.as_fd());
        }
    }

    /// The last that a process wrote, which has ended.
    pub(super) fn take_tail(&mut self, process: Serial) -> Option<Tail> {
        let mut captured = self.cared.get_mut(&process)?.stderr.take()?;
        let _ = epoll::delete(&self.epoll, captured.pipe.as_fd());
        for _ in 0..LAST_PARTS {
            if !captured.read(&mut self.buffer[..PART]) {
                break;
            }
        }
        Some(captured.tail)
    }
}

impl Captured {
    /// Reads one part; false if there is nothing.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.pipe.read(buffer) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.tail.push(&buffer[..read]);
                true
            }
        }
    }
}

/// A pipe whose end for reading never blocks: it is nobody's but ours, and so is its mode.
fn stderr_pipe() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}
