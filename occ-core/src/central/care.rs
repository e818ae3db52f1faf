//! What is seen to for a process besides: the end of a program, by a pidfd, because its control socket went with its image;
//! what it writes to standard error, the last of which is kept for its report; and the groups that it is in.

use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use occ_proc::Evidence;

use occ_spawn::kernel::{self, Whom};
use occ_spawn::zygote;
use occ_spawn::{OsPid, Tail};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{PidfdFlags, Signal};

use super::{Central, PROGRAM, STDERR, SWEEP};
use crate::containment::Containment;
use crate::control_group::{self, Group, Places, Purpose};
use crate::descent::name_of;
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
    group: Option<Group>,
    /// Its process group is killed with it.
    kills_group: bool,
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
            self.cared.entry(request.serial).or_default().kills_group = true;
        }
        let purpose = Purpose {
            kill: care.containment == Containment::ControlGroup,
            memory: care.memory,
            cpu: care.cpu,
        };
        if purpose != Purpose::NONE {
            let group = self.make_group(request.serial, purpose)?;
            request.joins = group.entrances().map_err(|error| NotSpawned::Io {
                op: "open(cgroup.procs)".to_owned(),
                errno: error.raw_os_error().unwrap_or(0),
            })?;
            self.cared.entry(request.serial).or_default().group = Some(group);
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

    /// A process is no more, or was never made. Nobody has duplicates of what was held for it.
    pub(super) fn forget(&mut self, process: Serial) {
        self.tallied.take_back(process);
        if let Some(Cared {
            group: Some(mut group),
            ..
        }) = self.cared.remove(&process)
            && !group.remove()
        {
            self.emptying.push(group);
            self.sweep_at.get_or_insert_with(|| Instant::now() + SWEEP);
        }
    }

    // ---- control groups ----

    fn make_group(&mut self, process: Serial, purpose: Purpose) -> Result<Group, NotSpawned> {
        let places = self.places.get_or_insert_with(Places::own);
        let name = format!(
            "{}{process}",
            control_group::prefix(self.orphans.incarnation())
        );
        places
            .make(&name, purpose)
            .map_err(|none| NotSpawned::Unsupported {
                what: none.what.to_owned(),
                why: none.why,
            })
    }

    /// A process has ended, and is not reaped: what is in its groups is killed, and told of where it is known.
    pub(super) fn kill_groups_of(&mut self, process: Serial, os_pid: OsPid) -> Vec<Evidence> {
        let Some(cared) = self.cared.get(&process) else {
            return Vec::new();
        };
        if cared.kills_group
            && let Some(group) = os_pid.to_rustix()
        {
            // As long as its leader is not reaped, the number is its own.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let Some(group) = &cared.group else {
            return Vec::new();
        };
        let left = |left: OsPid| (left != os_pid).then(|| Some((left, name_of(left)?)))?;
        let left: Vec<(OsPid, String)> = group.members().into_iter().filter_map(left).collect();
        group.kill();
        left.into_iter()
            .map(|(os_pid, name)| Evidence::LeftBehind { os_pid, name })
            .collect()
    }

    /// What the memory of its control group says of an end by SIGKILL.
    pub(super) fn group_evidence(&self, process: Serial) -> Vec<Evidence> {
        let cared = self.cared.get(&process);
        let group = cared.and_then(|cared| cared.group.as_ref());
        group.map_or_else(Vec::new, Group::evidence)
    }

    /// Removes the groups that are empty by now.
    pub(super) fn remove_groups(&mut self) {
        self.emptying.retain_mut(|group| !group.remove());
        if !self.emptying.is_empty() {
            self.sweep_at.get_or_insert_with(|| Instant::now() + SWEEP);
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
        let Some(cared) = self.cared.get_mut(&process) else {
            return;
        };
        let Some(os_pid) = cared.pidfd.as_ref().map(|(_, os_pid)| *os_pid) else {
            return;
        };
        // One that is traced has ended, and its tracer is told first (ptrace(2)). SIGCHLD comes when it is our turn.
        if matches!(kernel::ended(Whom::OsPid(os_pid), false), Ok(None)) {
            cared.pidfd = None;
            self.awaited.insert(process, os_pid);
            return;
        }
        self.fresh.push((process, os_pid));
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
