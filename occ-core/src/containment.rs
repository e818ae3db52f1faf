//! How what a process starts is ended with it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How what a process forks and executes is ended when it ends itself.
///
/// Whatever is chosen, all of it ends with the system. What is chosen is had: where it cannot be, the spawn is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Containment {
    /// Its process group, which it leads, is killed. What leaves the group (setsid(2), setpgid(2)) is not: it ends with the system.
    ProcessGroup,
    /// All that descends from it is looked for, also past dead parents and in other sessions, stopped and killed.
    #[default]
    Sweep,
    /// It is in a control group of its own, which the kernel kills at one stroke (`cgroup.kill` of version 2); and the sweep.
    ControlGroup,
    /// It is the first process of a PID namespace of its own, which the kernel ends with it; and the sweep. Within, it is number 1: a
    /// signal that it sends itself and has no handler for is ignored (pid_namespaces(7)).
    PidNamespace,
}

/// In a word or two.
impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Containment::ProcessGroup => "process group",
            Containment::Sweep => "sweep",
            Containment::ControlGroup => "control group",
            Containment::PidNamespace => "PID namespace",
        })
    }
}
