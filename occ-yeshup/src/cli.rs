//! The program `yeshup`: the same front, in a `main` of its own.
//!
//! It prints nothing itself but where there is nobody else to: the process that could not become the program.

mod options;
mod report;

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use occ_proc::{Moment, OsPid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, Signal, getpid, getppid, pidfd_open, set_child_subreaper};

use crate::arm::arm;
use crate::cli::options::{Asked, Options};
use crate::cli::report::Clues;
use crate::parent::Parent;
use crate::sys::{self, Mask};
use crate::tree::{Front, Guard, Line, Outcome};

pub use crate::sys::arguments;

/// What a failure of yeshup itself ends with, as of env(1) and timeout(1).
const FAILED: i32 = 125;
/// The program is there, and cannot be executed.
const NOT_EXECUTABLE: i32 = 126;
/// There is no such program.
const ABSENT: i32 = 127;

/// How yeshup ends.
#[derive(Debug)]
pub struct End {
    /// Its exit code.
    pub code: i32,
    /// What goes to stdout.
    pub out: String,
    /// What goes to stderr.
    pub err: String,
}

impl End {
    fn failed(why: &str) -> End {
        End {
            code: FAILED,
            out: String::new(),
            err: format!("yeshup: {why}\n"),
        }
    }

    fn said(out: &str) -> End {
        End {
            code: 0,
            out: out.to_owned(),
            err: String::new(),
        }
    }
}

/// Runs the program that the arguments name, `argv[0]` among them.
///
/// Call it once, as the first thing in a process that has one thread, and end with what it says.
pub fn run(arguments: Vec<CString>) -> End {
    match options::parse(arguments.into_iter().skip(1)) {
        Ok(Asked::Help) => End::said(options::HELP),
        Ok(Asked::Version) => End::said(concat!("yeshup ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Run(options)) => guarded(&options)
            .unwrap_or_else(|error| End::failed(&format!("cannot guard the program: {error}"))),
        Err(why) => End::failed(&format!("{why}\nTry `yeshup --help`.")),
    }
}

fn guarded(options: &Options) -> io::Result<End> {
    // Nothing may end us in the middle, and what comes meanwhile is passed on later.
    let mask = sys::block_all();
    let given = sys::inherited_descriptors()?;
    keep_standard_numbers()?;
    let caller = caller()?;
    set_child_subreaper(Some(getpid()))?;
    let kind = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (front, guard) = socketpair(AddressFamily::UNIX, kind.0, kind.1, None)?;
    let (failure, failed) = pipe_with(PipeFlags::CLOEXEC)?;
    if sys::fork_alone()?.is_none() {
        drop((front, failure));
        let done = guard_program(guard, caller, failed, &given, mask, options);
        sys::end(if done.is_ok() { 0 } else { FAILED })
    }
    drop((guard, failed));

    let clues = options.report.then(Clues::new);
    let started = Moment::now();
    hold_nothing(&given, options.report)?;
    crate::tree::settle(c"yeshup");
    let outcome = Front::new(Line::new(front), caller, options.grace)?.run();
    Ok(end(options, &outcome, &failure, clues, started))
}

/// What the first fork does: it becomes the guard, and its own fork the program.
fn guard_program(
    line: OwnedFd,
    caller: Option<OwnedFd>,
    failed: OwnedFd,
    given: &[i32],
    mask: Mask,
    options: &Options,
) -> io::Result<()> {
    let own = Parent::current();
    set_child_subreaper(Some(getpid()))?;
    let (word, go) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(program) = sys::fork_alone()? else {
        drop((line, caller, go));
        sys::end(become_program(&word, &failed, own, mask, options))
    };
    drop((word, failed));
    hold_nothing(given, false)?;
    crate::tree::settle(c"yeshup-guard");
    let program = OsPid::new(program.as_raw_pid().unsigned_abs());
    let guard = Guard::new(Line::new(line), caller, go, Some(program))?;
    guard.stop_front_as_well().run();
    Ok(())
}

/// The exit code of a process that could not become the program. It has the program's stderr, and says so there.
fn become_program(
    word: &OwnedFd,
    failed: &OwnedFd,
    guard: Parent,
    mask: Mask,
    options: &Options,
) -> i32 {
    if sys::wait_for_the_word(word).is_err() {
        return FAILED;
    }
    mask.restore();
    if arm(guard).is_err() {
        return FAILED;
    }
    let error = sys::become_program(&options.command);
    let line = format!("yeshup: cannot run {:?}: {error}\n", options.path());
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    let code = match error.kind() {
        io::ErrorKind::NotFound => ABSENT,
        _ => NOT_EXECUTABLE,
    };
    let _ = rustix::io::write(failed, b"f");
    code
}

/// A pidfd of the parent; none where it is out of sight, outside of the PID namespace.
fn caller() -> io::Result<Option<OwnedFd>> {
    while let Some(parent) = getppid() {
        match pidfd_open(parent, PidfdFlags::empty()) {
            Ok(caller) if getppid() == Some(parent) => return Ok(Some(caller)),
            // It has ended, and we have another.
            Ok(_) | Err(Errno::SRCH | Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

/// So that none of our own gets one of the first three numbers, where those were closed. For the program they stay closed.
fn keep_standard_numbers() -> io::Result<()> {
    for number in 0..=2 {
        if !sys::is_open(number) {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            // The lowest free number is this one: those below are open by now.
            std::mem::forget(rustix::fs::open("/dev/null", flags, Mode::empty())?);
        }
    }
    Ok(())
}

/// Lets go of what is the program's: whoever reads what it writes waits for the last who could.
fn hold_nothing(given: &[i32], keep_stderr: bool) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..(if keep_stderr { 2 } else { 3 }) {
        sys::put(&null, number)?;
    }
    sys::close_inherited(given);
    Ok(())
}

fn end(
    options: &Options,
    outcome: &Outcome,
    failure: &OwnedFd,
    clues: Option<Clues>,
    started: Moment,
) -> End {
    if outcome.program.is_none() {
        return End::failed("the guard could not start the program");
    }
    let status = outcome.status();
    let code = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => code,
        Some((_, Some(signal))) => 128 + signal.number(),
        // It could not be killed, or the guard was, and took it along.
        _ => 128 + Signal::KILL.as_raw(),
    };
    let mut end = End {
        code,
        out: String::new(),
        err: String::new(),
    };
    // All who could write to it are gone.
    let never_ran = rustix::io::read(failure, &mut [0; 1]) == Ok(1);
    if let Some(clues) = clues
        && !never_ran
    {
        let line = report::line(&options.name(), outcome, clues, started);
        end.err = format!("yeshup: {line}\n");
    }
    end
}
