//! A signal that ended a process, by number and by name.

use std::fmt;

/// A signal that ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    number: i32,
    core_dumped: bool,
}

/// Number, name and meaning, as in signal(7).
const NAMES: &[(i32, &str, &str)] = &[
    (libc::SIGHUP, "SIGHUP", "Hangup"),
    (libc::SIGINT, "SIGINT", "Interrupt"),
    (libc::SIGQUIT, "SIGQUIT", "Quit"),
    (libc::SIGILL, "SIGILL", "Illegal instruction"),
    (libc::SIGTRAP, "SIGTRAP", "Trace/breakpoint trap"),
    (libc::SIGABRT, "SIGABRT", "Aborted"),
    (libc::SIGBUS, "SIGBUS", "Bus error"),
    (libc::SIGFPE, "SIGFPE", "Floating point exception"),
    (libc::SIGKILL, "SIGKILL", "Killed"),
    (libc::SIGUSR1, "SIGUSR1", "User defined signal 1"),
    (libc::SIGSEGV, "SIGSEGV", "Segmentation fault"),
    (libc::SIGUSR2, "SIGUSR2", "User defined signal 2"),
    (libc::SIGPIPE, "SIGPIPE", "Broken pipe"),
    (libc::SIGALRM, "SIGALRM", "Alarm clock"),
    (libc::SIGTERM, "SIGTERM", "Terminated"),
    (libc::SIGSTKFLT, "SIGSTKFLT", "Stack fault"),
    (libc::SIGVTALRM, "SIGVTALRM", "Virtual timer expired"),
    (libc::SIGPROF, "SIGPROF", "Profiling timer expired"),
    (libc::SIGXCPU, "SIGXCPU", "CPU time limit exceeded"),
    (libc::SIGXFSZ, "SIGXFSZ", "File size limit exceeded"),
    (libc::SIGIO, "SIGIO", "I/O possible"),
    (libc::SIGPWR, "SIGPWR", "Power failure"),
    (libc::SIGSYS, "SIGSYS", "Bad system call"),
];

impl Signal {
    pub(crate) fn new(number: i32, core_dumped: bool) -> Signal {
        Signal {
            number,
            core_dumped,
        }
    }

    /// Its number on this architecture.
    pub fn number(self) -> i32 {
        self.number
    }

    /// Its name, such as `SIGTERM`; `None` for a real-time signal.
    pub fn name(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(number, ..)| *number == self.number)
            .map(|(_, name, _)| *name)
    }

    /// What it means, in the words that shells use, such as `Terminated`; `None` for a real-time signal.
    pub fn description(self) -> Option<&'static str> {
        NAMES
            .iter()
            .find(|(number, ..)| *number == self.number)
            .map(|(.., text)| *text)
    }

    /// True when the kernel wrote a core file, or handed one to whoever collects them.
    pub fn core_dumped(self) -> bool {
        self.core_dumped
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "signal {}", self.number)?,
        }
        if self.core_dumped {
            f.write_str(" (core dumped)")
        } else {
            Ok(())
        }
    }
}
