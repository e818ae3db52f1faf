//! The coordinator of a system of processes, and what a process and a program see of it.
//!
//! - [`System`] is a running system, from the side of the program that started it; [`run()`] is one for
//!   the time that a function takes.
//! - [`Process`] is the calling process: spawn, monitor, send, receive.
//! - [`Builder`] has the options of a process, [`Containment`] among them; [`LifetimeGuarantee`] says what of that holds here.
//! - [`Down`] tells a watcher how a process ended.
//! - [`state`] is the coordinator as a pure state machine, and [`protocol`] what is said to it.
//!
//! # Example
//!
//! ```
//! use occ_core::{Down, ExitReason, System};
//!
//! fn add(a: u64, b: u64) -> u64 {
//!     a + b
//! }
//!
//! let mut system = System::start()?;
//! let me = system.process();
//! let (pid, monitor) = me.spawn_monitor(add, (1, 2))?;
//! let down: Down = me.receive()?;
//! assert_eq!((down.pid, down.monitor), (pid, monitor));
//! let ExitReason::Value(sum) = down.reason else { panic!("it {}", down.reason) };
//! assert_eq!(sum.get::<u64>()?, 3);
//! system.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod addr;
mod builder;
mod central;
mod containment;
mod control;
mod control_group;
pub mod current;
mod descent;
mod down;
mod error;
mod fallbacks;
mod guarantee;
mod guard;
mod handle;
mod line;
mod process;
pub mod protocol;
mod run;
mod start;
pub mod state;
mod sys;
mod system;
mod tally;

pub use addr::{Addr, Inbox, Mail};
pub use builder::Builder;
pub use containment::Containment;
pub use control::Control;
pub use down::{AbnormalExit, Down, MonitorRef};
pub use error::{RunError, SpawnError, StartError, SystemError};
pub use fallbacks::Fallback;
pub use guarantee::LifetimeGuarantee;
pub use handle::Handle;
pub use process::Process;
pub use protocol::ProcessInfo;
pub use run::{Yields, run, run_with};
pub use start::AfterInbox;
pub use system::{System, SystemBuilder};

#[doc(hidden)]
pub use occ_inbox::{__receive, select};
pub use occ_inbox::{
    InboxInfo, InboxLimits, Mark, Message, OldestInfo, PeerInfo, Pid, Policy, Receive,
    ReceiveError, Ref, SendError, TypeInfo,
};
pub use occ_sck::{Bytes, DecodeError, Fd, Term};
pub use occ_spawn::{
    Arguments, Backtrace, Cause, Confidence, EarlierPanic, Evidence, ExitReason, ExitReport,
    Failure, Field, Function, Io, Limit, Missing, Moment, Options, OsPid, OsStatus, Outcome, Panic,
    Sent, Signal, SignalInfo, Stdio, Step, Switches, Tail, Usage, Value, Verdict, exit, fail,
    fail_with, result_kind,
};
