//! A child never outlives its parent, on Linux, and neither does what it starts.
//!
//! The kernel kills an armed process at the moment its parent ends, in whatever way the parent ends: nothing
//! has to run, nothing has to poll. This crate makes the one system call for it, and closes the gap around
//! it in which a parent could die unnoticed.
//!
//! ```
//! use std::process::{Command, Stdio};
//!
//! use occ_yeshup::CommandExt;
//!
//! // Lives as long as the thread that is here.
//! let mut cat = Command::new("cat").stdin(Stdio::piped()).die_with_parent().spawn()?;
//! assert!(cat.try_wait()?.is_none());
//! cat.kill()?;
//! cat.wait()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`CommandExt::die_with_parent`] arms what a [`Command`](std::process::Command) starts.
//! - `CommandExt::guard_tree` takes down all that a command has started, when the command ends, or the calling process. It is
//!   there with the feature `tree`, which is on by default, and so is the program `yeshup`.
//! - [`arm`] arms the calling process, for those who fork themselves; [`disarm`] and [`is_armed`] belong to
//!   it.
//! - [`Parent`] says whose death is meant.
//!
//! # What it does not do
//!
//! - **Threads.** The signal follows the *thread* that started the child, not its process: when that thread
//!   ends, the child dies, though the process lives on. Start children from a thread that outlives them.
//!   On the child's side, [`arm`] counts for as long as the thread that called it lives.
//! - **Grandchildren.** Being armed is not inherited: a child of an armed process that is not armed itself
//!   survives both. Every generation arms its own.
//! - **Privileges.** The kernel disarms a process that changes its user or group, or executes a set-user-ID,
//!   set-group-ID or file-capability program. Change first, then arm.
//! - **Front and guard at once.** If the two processes that take a tree down are killed in the same instant, the program is as
//!   well, and what it had started survives.
//! - **Mercy.** The signal is SIGKILL. Nothing in an armed child runs any more.
//! - **Reaping.** A killed child of a dead parent is reaped by init or the nearest subreaper.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod arm;
#[cfg(feature = "tree")]
#[doc(hidden)]
pub mod cli;
mod command;
mod parent;
mod sys;
#[cfg(feature = "tree")]
mod tree;

pub use arm::{arm, disarm, is_armed};
pub use command::CommandExt;
pub use parent::Parent;
