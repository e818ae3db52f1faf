//! An fd that a child inherits, by number, on purpose.
//!
//! The number travels in an environment variable of the caller's choice, together with what the fd refers
//! to (`7 pipe:[4242]`). The environment reaches further than the fd does: a grandchild that inherited only
//! the variable must not take whatever it finds at that number, so the receiver compares.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys;

/// An fd to hand to children.
#[derive(Debug)]
pub struct Pass(Arc<OwnedFd>);

impl Pass {
    /// Wraps `fd`.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Pass {
        Pass(Arc::new(fd))
    }

    /// Lets what `command` starts inherit the fd, to be taken with [`inherited`]`(key)`.
    ///
    /// It only borrows: dropping `self` closes the fd here, and a later spawn of `command` fails. So a test
    /// that waits for end of file needs to drop `self`, but not `command`.
    pub fn to(&self, key: &str, command: &mut Command) {
        command.env(
            key,
            format!("{} {}", self.0.as_raw_fd(), target(self.0.as_raw_fd())),
        );
        sys::keep_open(command, Arc::downgrade(&self.0));
    }
}

impl AsFd for Pass {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Takes the fd that the parent passed under `key`. It is close-on-exec from here on.
///
/// # Panics
///
/// If nothing was passed under `key`, the fd did not come along, or it was taken before.
#[must_use]
#[track_caller]
pub fn inherited(key: &str) -> OwnedFd {
    static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    let value = std::env::var(key).unwrap_or_else(|_| panic!("nothing was passed as {key}"));
    let (number, expected) = value
        .split_once(' ')
        .unwrap_or_else(|| panic!("{key} is {value:?}"));
    let number: RawFd = number
        .parse()
        .unwrap_or_else(|_| panic!("{key} is {value:?}"));
    assert_eq!(
        target(number),
        expected,
        "fd {number}, passed as {key}, is not what the parent passed"
    );

    let first = TAKEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key.to_owned());
    assert!(first, "{key} was taken before");
    sys::take_inherited(number)
}

fn target(number: RawFd) -> String {
    fs::read_link(format!("/proc/self/fd/{number}")).map_or_else(
        |error| error.to_string(),
        |target| target.to_string_lossy().into_owned(),
    )
}
