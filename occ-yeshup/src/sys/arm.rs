//! All of the unsafe code: arming between fork and exec.
#![expect(unsafe_code, reason = "pre_exec is unsafe")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::arm::arm;
use crate::parent::Parent;

/// Has what `command` starts call [`arm`] before it executes its program.
pub(crate) fn arm_before_exec(command: &mut Command, parent: Parent) {
    // SAFETY: after fork only async-signal-safe work is allowed. `arm` makes three system calls at most, and
    // an `io::Error` made from an error number does not allocate.
    unsafe { command.pre_exec(move || arm(parent)) };
}
