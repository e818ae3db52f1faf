//! What the Linux kernel says of a process.
//!
//! Of one that lives: its descriptors, its sockets and who is at their other ends, its children, group, state, threads
//! and usage. Two [`Snapshot`]s tell by [`diff`](Snapshot::diff) what was opened, closed, started and left.
//!
//! ```
//! use std::net::TcpListener;
//!
//! use occ_proc::{Change, OsPid, Snapshot};
//!
//! let before = Snapshot::of(OsPid::own())?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let after = Snapshot::of(OsPid::own())?;
//!
//! let diff = before.diff(&after);
//! let [Change::Opened { fd, .. }] = diff.changes() else { panic!("{diff}") };
//! let socket = fd.socket().expect("a socket")?;
//! assert!(socket.is_listening());
//! assert_eq!(socket.local, Some(listener.local_addr()?.into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Of one that is dead: [`OsStatus`], [`Usage`], the [`Evidence`] of how it came to its end, and the [`Verdict`] that it
//! amounts to.
//!
//! # What cannot be had
//!
//! A process may end, close what is being looked at, or belong to somebody else, at any moment. So each thing that is
//! asked for comes as a [`Field`]: there, or [`Missing`] with the reason. What is read through one [`Snapshot`] is of
//! one process, also where its number is given to another one meanwhile.
//!
//! # What it does not do
//!
//! - **Wait for the process that is looked at.** Some files below /proc are read under locks of their process, and
//!   reading one of a process that is stuck gets stuck as well. They are read by a helper, and by a deadline:
//!   [`command_line`].
//! - **Look into other network namespaces.** The kernel tells of the sockets in the caller's.
//! - **Follow a process.** A snapshot is of one moment, or rather of some hundred microseconds.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod command_line;
mod diff;
mod evidence;
mod fds;
mod holders;
mod inet_diag;
mod kernel_log;
mod limits;
mod memory_cgroup;
mod missing;
mod moment;
mod netlink;
mod os_pid;
mod proc_dir;
mod process;
mod signal;
mod snapshot;
mod sockets;
mod stat;
mod status;
mod tree;
mod unix_diag;
mod usage;
mod verdict;

pub use command_line::command_line;
pub use diff::{Change, Diff};
pub use evidence::{EarlierPanic, Evidence, Sent, SignalInfo};
pub use fds::{Fd, FdTarget};
pub use holders::{Holder, Holders};
pub use kernel_log::{KernelLog, OomKill, oom_kills};
pub use limits::{cpu_limits, unenforced_limits};
pub use memory_cgroup::MemoryCgroup;
pub use missing::{Field, Missing};
pub use moment::Moment;
pub use os_pid::OsPid;
pub use process::Process;
pub use signal::Signal;
pub use snapshot::Snapshot;
pub use sockets::{Address, Peer, Socket, SocketKind, SocketState, Sockets};
pub use stat::{Stat, State};
pub use status::OsStatus;
pub use tree::{group_members, processes};
pub use usage::{Io, Switches, Usage};
pub use verdict::{Cause, Confidence, Verdict};
