//! Run a plain function as a Linux process, and know how it ended.
//!
//! - [`Spawner`] makes processes from functions, also in a program with many threads or much memory, and [`Child`] is one of
//!   them: wait for it, kill it, poll it.
//! - [`Spawner::spawn_exe`] runs an executable, and [`Options`] are for both.
//! - [`ExitReason`] says why a process ended: with a value, an error, a panic, a bare code or a signal.
//! - [`exit`] and [`fail`] end the calling process with a value or an error from anywhere in it.
//! - [`entry`], [`boot`] and [`zygote`] are the parts underneath, for those who build a coordinator of
//!   their own on them.
//!
//! # Example
//!
//! ```
//! use occ_spawn::{ExitReason, Spawner};
//!
//! fn add(a: i32, b: i32) -> i32 {
//!     a + b
//! }
//!
//! # fn main() -> anyhow::Result<()> {
//! let spawner = Spawner::new()?;
//! let mut child = spawner.spawn(add, (2, 3))?;
//! let exit = child.wait()?;
//! match &exit.reason {
//!     ExitReason::Value(value) => assert_eq!(value.get::<i32>()?, 5),
//!     other => anyhow::bail!("it {other}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How a function gets there
//!
//! The first time, the program's own image is started again, and caught before its `main`: that is the
//! zygote, which forks a process for each request. What travels is the place of the function in the image and its
//! encoded arguments. So a function must capture nothing, and no line of `main` runs twice. Initialisers that run
//! before `main` (those of the `ctor` crate, C++ constructors) run in the zygote as in any start of the program.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod backtrace;
mod begin;
pub mod boot;
mod child;
mod descriptor;
mod earlier;
mod error;
mod exit;
mod frames;
mod function;
mod image;
mod keeper;
mod last_signal;
pub mod options;
mod outcome;
mod panic;
mod process;
mod report;
mod resolver;
mod spare;
mod spawner;
mod sys;
mod tail;
mod title;
mod watch;
pub mod zygote;

/// How a function is named to another process of the same image, and run there.
pub mod entry {
    pub use crate::descriptor::{Context, Descriptor, Encoded, NoSuchFunction, Trampoline};
    pub use crate::exit::LastWords;
    pub use crate::function::{Run, descriptor, result_kind};
    pub use crate::outcome::{End, kind};
    pub use crate::sys::is_fork;
}

/// How the kernel says that a child has ended.
pub mod kernel {
    pub use crate::sys::{Ended, Whom, ended};
    pub use crate::watch::EndWatch;
}

pub use backtrace::Backtrace;
pub use child::{Child, Exit};
pub use error::{SpawnError, WaitError};
pub use exit::{ExitReason, Failure, Panic, Value};
pub use function::{Arguments, Function, Outcome, result_kind};
pub use occ_proc::{
    Cause, Confidence, EarlierPanic, Evidence, Field, Io, Missing, Moment, OsPid, OsStatus, Sent,
    Signal, SignalInfo, Switches, Usage, Verdict,
};
pub use options::{Limit, NotBegun, Options, Stdio, Step};
pub use process::{exit, fail, fail_with};
pub use report::ExitReport;
pub use spawner::Spawner;
pub use tail::Tail;
