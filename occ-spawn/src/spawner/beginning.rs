//! From the request to the first word of a process, whoever dies meanwhile.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use occ_proc::OsPid;
use occ_sck::{Assembler, Deadline, Limits, MAX_DATAGRAM, Received, SendError, Socket};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use super::Spawner;
use crate::boot::{self, BootError};
use crate::child::Child;
use crate::error::SpawnError;
use crate::options::NotBegun;
use crate::outcome::kind;
use crate::zygote::{Request, Zygote};

/// How long a new process may take to say its first word before somebody looks whether it lives.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How often that is waited for when there is nobody left to ask.
const PATIENCE: u32 = 10;

impl Spawner {
    /// Sends the request, and says to which zygote. One that has died is replaced; a request that a dead
    /// one may have taken is not repeated.
    pub(super) fn request(
        &self,
        request: &Request,
        control: BorrowedFd<'_>,
        socket: Option<BorrowedFd<'_>>,
    ) -> Result<u64, SpawnError> {
        let mut current = self.inner.current();
        for _ in 0..2 {
            let zygote = match current.zygote.take() {
                Some(zygote) => zygote,
                None => match self.inner.keeper()?.zygote() {
                    // Killed before it had read a line: nothing has been asked of it.
                    Err(SpawnError::Boot(BootError::Orders(SendError::Closed))) => continue,
                    started => started?,
                },
            };
            match zygote.request(request, control, socket, Deadline::Never) {
                Ok(()) => {
                    current.zygote = Some(zygote);
                    return Ok(current.replaced);
                }
                Err(SendError::Closed) => {
                    current.replaced += 1;
                    // The next one would refuse as well, and for the same reason.
                    if let SpawnError::Boot(refusal) = bury(zygote) {
                        return Err(refusal.into());
                    }
                }
                Err(error) => {
                    current.zygote = Some(zygote);
                    return Err(SpawnError::Io {
                        op: "sendmsg",
                        source: error.into(),
                    });
                }
            }
        }
        Err(SpawnError::ZygoteDied)
    }

    /// Waits for the first word of a new process; and if it is to execute a program, for the end of its socket, which that
    /// takes away.
    pub(super) fn begin(
        &self,
        serial: u64,
        asked: u64,
        control: Socket,
        executes: bool,
    ) -> Result<Child, SpawnError> {
        let mut known = None;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut refused = false;
        let mut patience = PATIENCE;
        loop {
            let deadline = if refused {
                Deadline::Now
            } else {
                Deadline::after(FIRST_WORD)
            };
            let received = control
                .receive(&mut buffer, &mut Vec::new(), deadline)
                .map_err(|error| SpawnError::Io {
                    op: "recvmsg",
                    source: io::Error::other(error),
                })?;
            let (len, sender) = match received {
                Received::Datagram { len, sender } => (len, sender),
                Received::Nothing if refused => return Err(SpawnError::DiedAtBirth),
                // The end of file does not come where a fork of this program, made by somebody at the wrong
                // moment, holds the other end. Nor need the process be dead: it may only be slow.
                Received::Nothing if let Some(os_pid) = known => {
                    if has_ended(os_pid) || has_executed(os_pid) {
                        return Child::new(os_pid, control, Arc::clone(&self.inner));
                    }
                    continue;
                }
                Received::Nothing => match self.forked_for(serial, asked) {
                    Ok(Some(os_pid)) if has_ended(os_pid) => {
                        return Child::new(os_pid, control, Arc::clone(&self.inner));
                    }
                    Ok(Some(_)) => continue,
                    Ok(None) => {
                        refused = true;
                        continue;
                    }
                    // It may have died after the fork, and the process is about to say so; one that is slower
                    // than this finds nobody to say it to, and ends.
                    Err(error) => {
                        patience -= 1;
                        if patience == 0 {
                            return Err(error);
                        }
                        continue;
                    }
                },
                // Either there was no fork, or the process was killed before its first line. The zygote
                // knows, if it lives.
                Received::Closed if let Some(os_pid) = known => {
                    return Child::new(os_pid, control, Arc::clone(&self.inner));
                }
                Received::Closed => {
                    return match self.forked_for(serial, asked)? {
                        Some(os_pid) => Child::new(os_pid, control, Arc::clone(&self.inner)),
                        None => Err(SpawnError::DiedAtBirth),
                    };
                }
            };
            let envelope = Assembler::new(Limits::default()).push(&buffer[..len], Vec::new());
            return match (envelope, sender) {
                (Ok(Some(envelope)), _) if envelope.kind == kind::FORK_FAILED => {
                    let errno = envelope.decode::<i32>().unwrap_or(0);
                    Err(SpawnError::Fork(io::Error::from_raw_os_error(errno)))
                }
                (Ok(Some(envelope)), sender) if envelope.kind == kind::NOT_BEGUN => {
                    // It ends by itself, and nobody else waits for it.
                    if let Some(sender) = sender {
                        reap(OsPid::new(sender.os_pid));
                    }
                    Err(envelope
                        .decode()
                        .map_or(SpawnError::DiedAtBirth, |why: NotBegun| why.into()))
                }
                (Ok(Some(envelope)), Some(sender)) if envelope.kind == kind::HELLO && executes => {
                    known = Some(OsPid::new(sender.os_pid));
                    continue;
                }
                (Ok(Some(envelope)), Some(sender)) if envelope.kind == kind::HELLO => {
                    Child::new(OsPid::new(sender.os_pid), control, Arc::clone(&self.inner))
                }
                _ => Err(SpawnError::DiedAtBirth),
            };
        }
    }

    /// Asks the zygote that was `asked` which process it forked for `serial`; requests are taken in turn, so
    /// that request is dealt with by the time of the answer.
    fn forked_for(&self, serial: u64, asked: u64) -> Result<Option<OsPid>, SpawnError> {
        let mut current = self.inner.current();
        let same = current.replaced == asked;
        let Some(zygote) = current.zygote.take_if(|_| same) else {
            return Err(SpawnError::ZygoteDied);
        };
        let answer = zygote
            .ask_which(serial, Deadline::Never)
            .ok()
            .and_then(|()| boot::receive_one(zygote.socket(), Deadline::Never).ok());
        match answer {
            Some(envelope) if envelope.kind == kind::WHICH => {
                current.zygote = Some(zygote);
                Ok(Zygote::answer(&envelope).and_then(|(_, os_pid)| os_pid))
            }
            Some(envelope) => {
                current.replaced += 1;
                zygote.end();
                Err(boot::refusal(&envelope).map_or(SpawnError::ZygoteDied, SpawnError::Boot))
            }
            None => {
                current.replaced += 1;
                Err(bury(zygote))
            }
        }
    }
}

/// Reaps a zygote that has died, and says what of.
fn bury(zygote: Zygote) -> SpawnError {
    let refusal = zygote.refusal();
    zygote.end();
    refusal.map_or(SpawnError::ZygoteDied, SpawnError::Boot)
}

/// True when a child of this program has ended; it stays what it is, for its parent to reap.
fn has_ended(os_pid: OsPid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = os_pid.to_rustix();
    pid.is_none_or(|pid| !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// True when a child of this program is another program by now.
fn has_executed(os_pid: OsPid) -> bool {
    occ_proc::Stat::of(os_pid).is_ok_and(|stat| stat.executed)
}

/// Waits for a child that is about to end.
fn reap(os_pid: OsPid) {
    let Some(pid) = os_pid.to_rustix() else {
        return;
    };
    let wait = || rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    while wait().is_err_and(|errno| errno == Errno::INTR) {}
}
