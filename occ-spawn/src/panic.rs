//! Panics, told to whoever started the process.
//!
//! A panic that the process survives is nobody's exit: a worker may catch one for each job, all day. So the hook
//! only makes the report ready, and it is sent when it is known to be the end:
//!
//! | the panic | who sends the report |
//! |---|---|
//! | leaves the function | [`catch`], by the process's ordinary end |
//! | cannot unwind: `panic = "abort"`, a destructor during another panic, `extern "C"` | [`tell_abort`] |
//! | is caught, or ends another thread | nobody; it is evidence (`earlier.rs`) |
//!
//! `tell_abort` runs in the handler of SIGABRT, because after the hook nothing of ours runs any more, and the hook is not
//! told whether its panic can unwind.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::OnceLock;
use std::thread::ThreadId;

use occ_sck::{Deadline, Packet};

use crate::backtrace::Told;
use crate::frames::Frames;
use crate::outcome::{End, PanicReport, kind};
use crate::{earlier, process, sys};

/// Most bytes of a message: it fits one datagram with all else, which a signal handler can send without memory.
const MESSAGE: usize = 16 * 1024;

/// What core says where a destructor has panicked during a panic: no more than that it cannot go on.
const IN_CLEANUP: &str = "panic in a destructor during cleanup";

/// The thread that runs the process's function.
static FUNCTION_THREAD: OnceLock<ThreadId> = OnceLock::new();

thread_local! {
    /// The last panic of this thread.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
    /// There has been one. To look at the other for the first time takes memory, which a signal handler has not.
    static HAS_LAST: Cell<bool> = const { Cell::new(false) };
}

struct Last {
    report: PanicReport,
    packet: Packet,
}

/// Installs the hook, once in a zygote, for all the processes that it makes.
pub(crate) fn install_hook() {
    let _ = FUNCTION_THREAD.set(std::thread::current().id());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        remember(info);
        // The function's own panic is the reason of the exit, and is told as such. Another thread's may
        // be survived, and then its words would be seen nowhere: those go where std sends them.
        if !on_function_thread() {
            before(info);
        }
    }));
}

fn on_function_thread() -> bool {
    sys::own().is_some() && FUNCTION_THREAD.get() == Some(&std::thread::current().id())
}

fn remember(info: &PanicHookInfo<'_>) {
    // Nobody hears of the panics of a fork, and another thread of the process may have held a lock as it was made: that of the
    // environment, for one.
    if sys::own().is_none() {
        return;
    }
    let _ = LAST.try_with(|last| {
        let Ok(mut last) = last.try_borrow_mut() else {
            return;
        };
        let mut report = PanicReport::of(info);
        // What it cannot go on from is the one before.
        if report.message == IN_CLEANUP && last.is_some() {
            return;
        }
        HAS_LAST.set(true);
        report.number = earlier::note(&report);
        *last = Packet::of(kind::PANIC, &report)
            .ok()
            .map(|packet| Last { report, packet });
    });
}

/// Runs the function of a process on this thread, the one that was the zygote's.
pub(crate) fn catch(function: impl FnOnce() -> End) -> End {
    // Whatever the function left in an odd state ends with the process.
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(end) => end,
        Err(payload) => end_of(payload.as_ref()),
    }
}

/// What is told of the panic that has left the function. Not where it ran: what has room there has it for as long as the process runs.
#[cold]
#[inline(never)]
fn end_of(payload: &(dyn Any + Send)) -> End {
    let message = cut(message_of(payload), MESSAGE);
    // The hook knows more than the payload, unless the program has put its own in its place, or this is the panic of
    // another thread, thrown on.
    let told = LAST.try_with(|last| last.try_borrow_mut().ok()?.take());
    let report = told.ok().flatten().map(|last| last.report);
    let report = report.filter(|report| report.message == message);
    if let Some(report) = &report {
        earlier::is_the_end(report.number);
    }
    End::panic(&report.unwrap_or(PanicReport {
        number: 0,
        message,
        location: None,
        thread: None,
        backtrace: None,
    }))
}

/// Sends the report of the panic that aborts this process, if one does; true if it has.
///
/// It runs in a signal handler, on the thread that aborts: it takes no lock and no memory.
pub(crate) fn tell_abort() -> bool {
    if !std::thread::panicking() || !HAS_LAST.get() {
        return false;
    }
    let Some(control) = process::own_control() else {
        return false;
    };
    let told = LAST.try_with(|last| {
        if let Ok(last) = last.try_borrow()
            && let Some(last) = &*last
        {
            let sent = last.packet.send_part(0, control, &[], Deadline::Now);
            return sent.is_ok();
        }
        false
    });
    told.unwrap_or(false)
}

impl PanicReport {
    fn of(info: &PanicHookInfo<'_>) -> PanicReport {
        PanicReport {
            number: 0,
            message: cut(message_of(info.payload()), MESSAGE),
            location: info
                .location()
                .map(|location| cut(location.to_string(), MESSAGE / 4)),
            thread: (!on_function_thread()).then(|| {
                let name = std::thread::current().name().unwrap_or("?").to_owned();
                cut(name, MESSAGE / 16)
            }),
            backtrace: Frames::of_panic().map(Told::Frames),
        }
    }
}

pub(crate) fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is no text".to_owned()
    }
}
