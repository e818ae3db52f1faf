//! Helpers for the tests of this workspace. Not published.
//!
//! A test here deals with real processes, so it needs answers to a few questions, and none of them is a
//! sleep:
//!
//! | question | where |
//! |---|---|
//! | is it ready? | [`ready`]: a line on a pipe |
//! | is it dead? | [`lifeline`]: end of file on a pipe whose only write end the victims held |
//! | is it dead, and how? | [`dead`]: a pidfd and poll(2) |
//! | does it live? | [`alive`]: a ping answered after the event that could have killed it |
//! | what does it do? | [`stat`]: running, waiting, stopped; its parent, group and session |
//! | what if nothing can be opened? | [`fds::without_room`] |
//! | is anything left? | [`mod@isolated`]: children and fds of a whole test; [`tree`]: processes by mark |
//! | does it leave a core file? | [`no_cores`] |
//! | in which ways can one stray? | [`stray`] |
//! | what if fork(2) fails? | [`cgroup`] |
//! | what if no more descriptors may be under way? | [`in_flight`] |
//! | which sockets has it? | [`sockets`]: those that listen, and those that are connected |
//! | what safe Rust has not? | [`raw`] |
//! | can it be tested here? | [`skipped`] says that it cannot |
//! | does it hang? | [`deadline`]: a hang becomes a failure |
//! | is a limit kept? | [`takes`]: never early, and late only against ten times of it |
//! | what does it do at a terminal? | [`pty`] |
//! | how is a program built that way? | [`mod@workshop`]: a package of its own |
//! | what if its host is killed? | [`role`]: the test binary as another program |
//!
//! Helpers panic instead of returning errors: their callers are tests.

#![warn(missing_docs)]

pub mod alive;
pub mod cgroup;
mod cores;
pub mod dead;
pub mod deadline;
pub mod fds;
pub mod in_flight;
pub mod isolated;
pub mod lifeline;
mod meanwhile;
pub mod memory;
pub mod pass;
pub mod pty;
pub mod raw;
pub mod ready;
pub mod role;
pub mod sockets;
pub mod stat;
pub mod stray;
pub mod stress;
pub mod test_path;
pub mod tree;
pub mod workshop;

mod poll;
mod reaper;
mod skip;
mod sys;

pub use cores::no_cores;
pub use deadline::{LIMIT, takes, within};
pub use isolated::isolated;
pub use meanwhile::meanwhile;
pub use rustix::process::Signal;
pub use skip::skipped;
