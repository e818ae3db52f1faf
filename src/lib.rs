//! Erlang's way of writing programs that survive failure, on real Linux processes.
//!
//! A plain function runs as a process. It has one inbox; it sends values and addresses, and receives
//! selectively; and when a process ends, for whatever reason, whoever asked is told what happened and why.
//!
//! ```
//! use occasional::{Pid, receive, self_pid, send, spawn};
//!
//! fn say_hello() -> anyhow::Result<()> {
//!     loop {
//!         let (from, name): (Pid, String) = receive()?;
//!         send(from, format!("hello {name}"))?;
//!     }
//! }
//!
//! fn hello() -> anyhow::Result<String> {
//!     let h = spawn(say_hello, ())?;
//!     send(h, (self_pid(), "foo".to_string()))?;
//!     Ok(receive()?)
//! }
//!
//! # fn main() -> Result<(), occasional::RunError> {
//! let greeting: String = occasional::run(hello, ())?;
//! assert_eq!(greeting, "hello foo");
//! # Ok(())
//! # }
//! ```
//!
//! - [`run`] and [`start`] make a system.
//! - [`spawn`], [`spawn_monitor`], [`monitor`], [`demonitor`], [`kill`], [`terminate`]: processes, and the news of their end,
//!   [`Down`]. [`spawn_exe`] runs an executable as one, and [`Builder`] has the options for both.
//! - [`spawn_addr`] is for those who want it typed: an [`Inbox`] of one type of messages, and an [`Addr`] that takes no others.
//! - [`send`], [`try_send`], [`send_timeout`], from other threads by a [`handle`]; [`receive`](fn@receive) and its kin, and [`receive!`] for whichever comes first of
//!   several types.
//! - [`inbox_info`] says what waits in the inbox, and [`limit_inbox`] how much may.
//! - Who has an event loop already waits in that: [`inbox_fd`] is readable when something has come, and [`tick`] brings it in.
//! - [`exit`], [`fail`] and [`fail_with`] end the calling process with a value or an error from anywhere in it.
//!
//! The free functions act on the process that the calling thread is. Each is also a method of a handle in `occ-core`, for
//! those who would rather pass one on.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod addr;
mod messages;
mod processes;
mod select;
mod since;
mod system;

pub use addr::{spawn_addr, spawn_addr_monitor};
pub use messages::{
    flush, handle, inbox_fd, inbox_info, limit_inbox, make_ref, receive, receive_any,
    receive_any_timeout, receive_map, receive_map_timeout, receive_timeout, receive_where,
    receive_where_timeout, send, send_timeout, spin, tick, try_send,
};
pub use processes::{
    demonitor, kill, monitor, os_pid, processes, self_pid, spawn, spawn_exe, spawn_exe_monitor,
    spawn_monitor, terminate, try_self_pid,
};
pub use since::{Since, since};
pub use system::{System, fallbacks, lifetime_guarantee, run, start, start_with};

#[doc(hidden)]
pub use occ_core::__receive;
#[doc(hidden)]
pub use select::__select;

pub use occ_core::{
    AbnormalExit, Addr, AfterInbox, Arguments, Backtrace, Builder, Bytes, Cause, Confidence,
    Containment, DecodeError, Down, EarlierPanic, Evidence, ExitReason, ExitReport, Failure,
    Fallback, Fd, Field, Function, Handle, Inbox, InboxInfo, InboxLimits, Io, LifetimeGuarantee,
    Limit, Mail, Mark, Message, Missing, Moment, MonitorRef, OldestInfo, OsPid, OsStatus, Outcome,
    Panic, PeerInfo, Pid, Policy, ProcessInfo, Receive, ReceiveError, Ref, RunError, SendError,
    Sent, Signal, SignalInfo, SpawnError, StartError, Stdio, Step, Switches, SystemBuilder,
    SystemError, Tail, Term, TypeInfo, Usage, Value, Verdict, exit, fail, fail_with, result_kind,
};
