//! A signal that ended a process, by number and by name.

use std::fmt;

use rustix::process::Signal as Raw;

/// A signal that ended a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Signal {
    number: i32,
    core_dumped: bool,
}

/// Number, name and meaning, as in signal(7).
const NAMES: &[(i32, &str, &str)] = &[
    (Raw::HUP.as_raw(), "SIGHUP", "Hangup"),
    (Raw::INT.as_raw(), "SIGINT", "Interrupt"),
    (Raw::QUIT.as_raw(), "SIGQUIT", "Quit"),
    (Raw::ILL.as_raw(), "SIGILL", "Illegal instruction"),
    (Raw::TRAP.as_raw(), "SIGTRAP", "Trace/breakpoint trap"),
    (Raw::ABORT.as_raw(), "SIGABRT", "Aborted"),
    (Raw::BUS.as_raw(), "SIGBUS", "Bus error"),
    (Raw::FPE.as_raw(), "SIGFPE", "Floating point exception"),
    (Raw::KILL.as_raw(), "SIGKILL", "Killed"),
    (Raw::USR1.as_raw(), "SIGUSR1", "User defined signal 1"),
    (Raw::SEGV.as_raw(), "SIGSEGV", "Segmentation fault"),
    (Raw::USR2.as_raw(), "SIGUSR2", "User defined signal 2"),
    (Raw::PIPE.as_raw(), "SIGPIPE", "Broken pipe"),
    (Raw::ALARM.as_raw(), "SIGALRM", "Alarm clock"),
    (Raw::TERM.as_raw(), "SIGTERM", "Terminated"),
    (Raw::STKFLT.as_raw(), "SIGSTKFLT", "Stack fault"),
    (Raw::VTALARM.as_raw(), "SIGVTALRM", "Virtual timer expired"),
    (Raw::PROF.as_raw(), "SIGPROF", "Profiling timer expired"),
    (Raw::XCPU.as_raw(), "SIGXCPU", "CPU time limit exceeded"),
    (Raw::XFSZ.as_raw(), "SIGXFSZ", "File size limit exceeded"),
    (Raw::IO.as_raw(), "SIGIO", "I/O possible"),
    (Raw::POWER.as_raw(), "SIGPWR", "Power failure"),
    (Raw::SYS.as_raw(), "SIGSYS", "Bad system call"),
];

impl Signal {
    /// The signal with this number.
    pub fn new(number: i32, core_dumped: bool) -> Signal {
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
