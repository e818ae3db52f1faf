//! The end of a process, from its own side: its report, what it has left to write, and `_exit`.

use std::io::{self, Write};
use std::sync::mpsc::channel;
use std::time::Duration;

use occ_sck::{Deadline, Limits, SendError, Socket, Term};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::own_control;
use crate::outcome::{End, ErrorReport, STATUS_ERROR, STATUS_VALUE};
use crate::sys;

/// How long the end of a process waits for a thread that is printing.
const PRINTING: Duration = Duration::from_millis(100);

/// True in a fork that a process of ours made itself.
fn is_fork() -> bool {
    sys::is_fork().unwrap_or(false)
}

/// Hands the report over, and ends the process.
pub(crate) fn finish(end: End) -> ! {
    if is_fork() {
        // What stdout's buffer holds may be the process's own, which will print it itself.
        sys::end(end.status);
    }
    once();
    let status = report(end);
    flush();
    sys::end(status)
}

/// Where several threads end the process at once, the first does, and the others wait for it.
fn once() {
    if !sys::is_first_to_end() {
        loop {
            std::thread::park();
        }
    }
}

/// Says how the process ends, and gives the status that agrees with what was said.
fn report(end: End) -> i32 {
    let Some(control) = own_control() else {
        // A value that nobody will hear of is not the end that was meant.
        return if end.status == STATUS_VALUE {
            STATUS_ERROR
        } else {
            end.status
        };
    };
    crate::earlier::tell(control);
    let Err(error) = send(&end, control) else {
        return end.status;
    };

    // It is lost, and whoever waits is told that it is, and why.
    let lost = format!(
        "the exit value, {} bytes of `{}`, could not be handed over",
        end.packet.len(),
        end.packet.type_name()
    );
    let end = End::words(ErrorReport {
        chain: vec![lost, error],
        backtrace: None,
    });
    let _ = send(&end, control);
    end.status
}

/// Sends a report whole: what is long goes in a memory file, so the process never waits for its reader.
pub(super) fn send(end: &End, control: &Socket) -> Result<(), String> {
    let packet = &end.packet;
    let most = Limits::default().message;
    if packet.len() > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let by = |deadline| match &end.blob {
        Some(blob) => packet.send_blob(blob, control, &[], deadline),
        None => packet.send_whole(control, &[], deadline),
    };
    let sent = match by(Deadline::Now) {
        Err(SendError::Full) => by(Deadline::Never),
        Err(SendError::Blob(_)) => {
            // Perhaps there was no descriptor left. The process is ending: its input is not needed.
            sys::close(0);
            by(Deadline::Never)
        }
        Err(SendError::TooManyInFlight { .. }) => {
            // Nor is its limit, which is all that is in the way.
            let mut limit = getrlimit(Resource::Nofile);
            limit.current = limit.maximum;
            let _ = setrlimit(Resource::Nofile, limit);
            by(Deadline::Never)
        }
        other => other,
    };
    sent.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

/// Writes out what std's buffer holds, where `_exit` would leave it.
fn flush() {
    // An error here has nobody left to hear of it.
    let write = || drop(io::stdout().flush());
    if sys::was_single_threaded() {
        return write();
    }
    // Another thread may hold stdout's lock for ever, and the process must end. So one more asks for the
    // lock, for a while; once it has it, writing may take as long as the reader of stdout does.
    let (tell, told) = channel();
    let asking = std::thread::Builder::new().spawn(move || {
        let mut stdout = io::stdout().lock();
        let _ = tell.send(());
        let _ = stdout.flush();
    });
    match asking {
        Ok(writer) => {
            if told.recv_timeout(PRINTING).is_ok() {
                let _ = writer.join();
            }
        }
        Err(_) => write(),
    }
}

/// Ends the calling process with a value: no destructors run, and nothing catches it.
///
/// In a fork that the process made itself it is `_exit`, and nobody is told.
///
/// # Panics
///
/// If this process was not started as one, because then nobody would be told.
pub fn exit<T: Term>(value: T) -> ! {
    require_process("exit");
    finish(End::value(&value))
}

/// Ends the calling process with an error that is a value: no destructors run, and nothing catches it.
///
/// In a fork that the process made itself it is `_exit`, and nobody is told.
///
/// # Panics
///
/// If this process was not started as one, because then nobody would be told.
pub fn fail<T: Term>(value: T) -> ! {
    require_process("fail");
    finish(End::failure(&value))
}

/// Ends the calling process with an error, as if its function had returned it: no destructors run, and nothing catches it.
///
/// In a fork that the process made itself it is `_exit`, and nobody is told.
///
/// # Panics
///
/// If this process was not started as one, because then nobody would be told.
pub fn fail_with(error: impl Into<anyhow::Error>) -> ! {
    require_process("fail_with");
    finish(End::error(&error.into()))
}

fn require_process(what: &str) {
    assert!(
        sys::is_fork().is_some(),
        "`{what}` ends a process that was spawned, and this one was not: use std::process::exit"
    );
}
