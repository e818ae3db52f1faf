//! All of this crate's unsafe code: what happens between fork and exec, and what Linux offers and rustix does not.

#[cfg(feature = "tree")]
mod args;
mod arm;
#[cfg(feature = "tree")]
mod descriptors;
#[cfg(feature = "tree")]
mod fork;
#[cfg(feature = "tree")]
mod hook;
#[cfg(feature = "tree")]
mod image;
#[cfg(feature = "tree")]
mod launch;
#[cfg(feature = "tree")]
mod signals;
#[cfg(feature = "tree")]
mod wait;

#[cfg(feature = "tree")]
pub use args::arguments;
pub(crate) use arm::arm_before_exec;
#[cfg(feature = "tree")]
pub(crate) use descriptors::{close_inherited, inherited_descriptors, is_open, put};
#[cfg(feature = "tree")]
pub(crate) use fork::{become_program, end, fork_alone};
#[cfg(feature = "tree")]
pub(crate) use launch::{guard_before_exec, wait_for_the_word};
#[cfg(feature = "tree")]
pub(crate) use signals::{
    Arrived, Mask, arrived, block_all, default_for_children, end_by, send, signal_descriptor,
};
#[cfg(feature = "tree")]
pub(crate) use wait::{Waited, wait_any};
