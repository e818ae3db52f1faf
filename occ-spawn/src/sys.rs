//! All of this crate's unsafe code: what Linux offers and rustix does not.

mod descriptors;
mod end;
mod ended;
mod exec;
mod fork;
mod handlers;
mod hook;
mod image;
mod no_files;
mod signals;
mod threads;
mod unforked;
mod unwind;
mod wiped;

pub use descriptors::close_from;
pub(crate) use descriptors::{borrow, close, duplicate_to, own as own_fd};
pub(crate) use end::end;
pub use ended::{Ended, Whom, ended};
pub(crate) use exec::{exec_self, execute};
pub(crate) use fork::{ForkState, Kind as ForkKind, fork};
pub(crate) use image::{
    bring_in, conjure, function_at, image_bytes, image_headers, image_start, read_at,
};
pub(crate) use no_files::without_files;
pub(crate) use signals::{
    default_sigpipe, set_up_signals, sigchld_is_ignored, unblock_signals, with_signals_blocked,
};
pub(crate) use threads::{is_single_threaded, was_single_threaded};
pub(crate) use unforked::unforked;
pub(crate) use unwind::{each_object, return_addresses};
pub use wiped::is_fork;
pub(crate) use wiped::{Own, is_first_to_end, map_own_record, own, set_own};
