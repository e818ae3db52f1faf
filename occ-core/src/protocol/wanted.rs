//! A process that is wanted: what it runs, and what the coordinator sees to for it.

use std::time::Duration;

use occ_sck::Bytes;
use serde::{Deserialize, Serialize};

use crate::containment::Containment;

/// A process, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Where its function is in the image.
    pub function: u64,
    /// What people call that function, or the program.
    pub name: String,
    /// Its options and then its arguments, encoded, unless they are in a memory file that comes along.
    pub args: Bytes,
    /// The length of that file.
    pub blob: Option<u64>,
    /// So many of the bytes are options.
    pub plan: u64,
    /// So many descriptors come along for them.
    pub given: u32,
    /// And so many more that are in the arguments.
    pub with_args: u32,
    /// It gets the host's standard input. Only the host may give it away.
    pub keep_stdin: bool,
    /// What the coordinator sees to.
    pub care: Care,
}

impl Wanted {
    /// Whether a spare can be it: one has its descriptors, its groups and its namespace already.
    pub fn suits_a_spare(&self) -> bool {
        let Care {
            label: _,
            executes,
            containment,
            grace: _,
            stderr_at,
            memory,
            cpu,
        } = &self.care;
        let cared_for = *executes
            || *containment != Containment::default()
            || stderr_at.is_some()
            || memory.is_some()
            || cpu.is_some();
        self.plan == 0 && self.given == 0 && !self.keep_stdin && !cared_for
    }
}

/// What the coordinator sees to for a process, as long as it lives and at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Care {
    /// What people call it.
    pub label: Option<String>,
    /// It executes a program.
    pub executes: bool,
    /// How what it starts is ended with it.
    pub containment: Containment,
    /// How long it may take to end when it is asked to.
    pub grace: Duration,
    /// The last of what it writes to standard error is kept. The pipe for it goes in among the descriptors at this place.
    pub stderr_at: Option<u32>,
    /// Most bytes of memory that it and what it starts may have.
    pub memory: Option<u64>,
    /// Most of the processors that it and what it starts may have, in thousandths of one.
    pub cpu: Option<u32>,
}
