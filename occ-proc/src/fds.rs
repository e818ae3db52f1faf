//! Open file descriptors, and what they refer to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::missing::{Field, Missing};
use crate::os_pid::OsPid;
use crate::proc_dir::ProcDir;
use crate::sockets::Socket;
use crate::stat::{Stat, State};

/// An open file descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fd {
    /// Its number.
    pub number: RawFd,
    /// What it refers to.
    pub target: FdTarget,
}

/// What a file descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FdTarget {
    /// A file, folder or device, by the path that it has now. Of a file that was deleted the kernel ends the path with
    /// ` (deleted)`.
    Path(PathBuf),
    /// A pipe, by its inode: both ends have the same.
    Pipe(u64),
    /// A socket, by its inode, and what the kernel says of it.
    Socket(u64, Field<Box<Socket>>),
    /// Memory that looks like a file (memfd_create(2)), by its name.
    Memory(String),
    /// Another process.
    Pidfd {
        /// Which; nothing if it has ended.
        os_pid: Field<OsPid>,
    },
    /// Something that is nowhere in the file system, by the kernel's name for it: `eventpoll`, `eventfd`, `signalfd`,
    /// `timerfd`, …
    Anonymous(String),
}

impl Fd {
    /// What is known of the socket; `None` if it is none.
    pub fn socket(&self) -> Option<Result<&Socket, Missing>> {
        match &self.target {
            FdTarget::Socket(_, about) => Some(about.as_deref().map_err(|missing| *missing)),
            _ => None,
        }
    }

    /// Its path in the file system, if it has one.
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.target {
            FdTarget::Path(path) => Some(path),
            _ => None,
        }
    }

    /// True for a terminal, as far as its name tells.
    pub fn is_terminal(&self) -> bool {
        let name = self.path().map(|path| path.as_os_str().as_bytes());
        name.is_some_and(|name| {
            name.starts_with(b"/dev/pts/")
                || name.starts_with(b"/dev/tty")
                || name == b"/dev/console"
        })
    }
}

/// All that a process has open, without the descriptors that are only there to look.
pub(crate) fn of(dir: &ProcDir, pid: OsPid, stat: &Stat) -> Field<Vec<Fd>> {
    // The kernel closed all before it made a zombie of it, and does not let everybody look at that.
    if stat.state == State::Zombie && stat.threads <= 1 {
        return Ok(Vec::new());
    }
    // Where the main thread has ended and others have not, the descriptors are theirs.
    if stat.state == State::Zombie && stat.threads > 1 {
        for tid in dir.numbers("task")?.found {
            if tid == pid.get() {
                continue;
            }
            if let Ok(fds) = dir.thread(tid).and_then(|thread| listed(&thread, &[])) {
                return Ok(fds);
            }
        }
    }
    let looking = [dir.as_raw_fd()];
    listed(dir, if pid == OsPid::own() { &looking } else { &[] })
}

fn listed(dir: &ProcDir, looking: &[RawFd]) -> Field<Vec<Fd>> {
    let numbers = dir.numbers("fd")?;
    let mut fds = BTreeMap::new();
    for number in numbers.found {
        let Ok(fd) = RawFd::try_from(number) else {
            continue;
        };
        if !looking.is_empty() && (looking.contains(&fd) || fd == numbers.own) {
            continue;
        }
        let link = match dir.link(&format!("fd/{number}")) {
            Ok(link) => link,
            // Closed since it was listed.
            Err(Missing::Gone) => continue,
            Err(missing) => return Err(missing),
        };
        let about = || dir.read(&format!("fdinfo/{number}"));
        fds.insert(fd, FdTarget::of(&link, about));
    }
    Ok(fds
        .into_iter()
        .map(|(number, target)| Fd { number, target })
        .collect())
}

impl FdTarget {
    fn of(link: &OsStr, about: impl Fn() -> Field<Vec<u8>>) -> FdTarget {
        let bytes = link.as_bytes();
        let inode = |kind: &str| {
            let rest = bytes.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?;
            let number = rest.strip_suffix(b"]")?;
            std::str::from_utf8(number).ok()?.parse::<u64>().ok()
        };
        if let Some(inode) = inode("socket") {
            return FdTarget::Socket(inode, Err(Missing::Gone));
        }
        if let Some(inode) = inode("pipe") {
            return FdTarget::Pipe(inode);
        }
        let anonymous = bytes.strip_prefix(b"anon_inode:");
        if anonymous == Some(b"[pidfd]") || inode("pidfd").is_some() {
            let os_pid = about().and_then(|about| target_of_pidfd(&about));
            return FdTarget::Pidfd { os_pid };
        }
        if let Some(name) = anonymous {
            let name = name.strip_prefix(b"[").unwrap_or(name);
            let name = name.strip_suffix(b"]").unwrap_or(name);
            return FdTarget::Anonymous(String::from_utf8_lossy(name).into_owned());
        }
        if let Some(name) = bytes.strip_prefix(b"/memfd:") {
            let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
            return FdTarget::Memory(String::from_utf8_lossy(name).into_owned());
        }
        if bytes.starts_with(b"/") {
            return FdTarget::Path(PathBuf::from(link));
        }
        FdTarget::Anonymous(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The line `Pid:` of proc_pid_fdinfo(5): 0 in another PID namespace, -1 where the process has ended.
fn target_of_pidfd(about: &[u8]) -> Field<OsPid> {
    let text = String::from_utf8_lossy(about);
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match line.map(|rest| rest.trim().parse::<i64>()) {
        Some(Ok(-1)) => Err(Missing::Gone),
        Some(Ok(pid)) if pid > 0 => u32::try_from(pid)
            .map(OsPid::new)
            .map_err(|_| Missing::Unsupported),
        _ => Err(Missing::Unsupported),
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.number, self.target)
    }
}

impl fmt::Display for FdTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FdTarget::Path(path) => path.display().fmt(f),
            FdTarget::Pipe(inode) => write!(f, "pipe {inode}"),
            FdTarget::Socket(_, Ok(socket)) => socket.fmt(f),
            FdTarget::Socket(inode, Err(missing)) => write!(f, "socket {inode} ({missing})"),
            FdTarget::Memory(name) => write!(f, "memory {name:?}"),
            FdTarget::Pidfd { os_pid: Ok(os_pid) } => write!(f, "pidfd of process {os_pid}"),
            FdTarget::Pidfd {
                os_pid: Err(missing),
            } => write!(f, "pidfd ({missing})"),
            FdTarget::Anonymous(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_is() {
        let of =
            |link: &str| FdTarget::of(OsStr::new(link), || Ok(b"pos:\t0\nPid:\t42\n".to_vec()));
        assert_eq!(of("/dev/null"), FdTarget::Path("/dev/null".into()));
        assert_eq!(of("pipe:[7]"), FdTarget::Pipe(7));
        assert_eq!(of("socket:[8]"), FdTarget::Socket(8, Err(Missing::Gone)));
        assert_eq!(
            of("anon_inode:[eventpoll]"),
            FdTarget::Anonymous("eventpoll".into())
        );
        assert_eq!(
            of("anon_inode:inotify"),
            FdTarget::Anonymous("inotify".into())
        );
        assert_eq!(
            of("/memfd:a name (deleted)"),
            FdTarget::Memory("a name".into())
        );
        let pidfd = FdTarget::Pidfd {
            os_pid: Ok(OsPid::new(42)),
        };
        assert_eq!(of("anon_inode:[pidfd]"), pidfd);
        assert_eq!(of("pidfd:[99]"), pidfd);
        // A file may be called anything.
        assert_eq!(
            of("/tmp/socket:[8]"),
            FdTarget::Path("/tmp/socket:[8]".into())
        );
        assert_eq!(
            of("net:[4026531840]"),
            FdTarget::Anonymous("net:[4026531840]".into())
        );
    }

    #[test]
    fn a_pidfd_of_nobody_says_why() {
        assert_eq!(target_of_pidfd(b"Pid:\t-1\n"), Err(Missing::Gone));
        assert_eq!(target_of_pidfd(b"Pid:\t0\n"), Err(Missing::Unsupported));
        assert_eq!(target_of_pidfd(b"pos:\t0\n"), Err(Missing::Unsupported));
    }
}
