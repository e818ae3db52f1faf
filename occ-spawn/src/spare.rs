//! A process that is made before anybody knows what for: it does all that it can do without knowing, and waits.
//!
//! In a new process each page of code or memory that it touches for the first time is a page fault. So a spare does once, for nothing,
//! what it will have to do when it is told; what it costs then is the rest.

use std::time::Instant;

use occ_sck::{Assembler, Bytes, Deadline, Limits, MAX_DATAGRAM, Packet, Received, Socket};

use crate::descriptor::{Context, Descriptor, Encoded};
use crate::outcome::{End, ErrorReport, kind};
use crate::process::{self, STATUS_NOT_STARTED};
use crate::sys;
use crate::title::Title;
use crate::zygote::{Request, Work};

/// Waits on its control socket for what it is to be, and is that. `rehearsal` is a function that does for nothing what those do that
/// it may have to run, and with a preface what it can do for good; `likely` is one of those, or 0.
pub(crate) fn wait(
    control: &'static Socket,
    (rehearsal, likely): (u64, u64),
    preface: Vec<u8>,
    hello: impl FnOnce(),
) -> ! {
    let mut buffer = occ_sck::room();
    let _ = rehearse(control, rehearsal, &mut buffer);
    if let Ok(likely) = Descriptor::find(likely) {
        likely.bring_in();
        // It is read for the title.
        drop(Title::of(likely.name()));
    }
    if let Ok(entry) = Descriptor::find(rehearsal) {
        let context = Context {
            control,
            args: Encoded::Here(Vec::new()),
            with_args: Vec::new(),
            preface,
            fds: Vec::new(),
        };
        drop(entry.run(context));
    }
    if let Some(title) = Title::exactly("occ-spare") {
        title.give();
    }
    // From here on it may be told.
    hello();
    // Nobody is left who could say, or it is nothing that was meant for a spare.
    let Some(mut work) = hear(control, &mut buffer, Deadline::Never) else {
        sys::end(STATUS_NOT_STARTED);
    };
    let end = match begin(control, &mut work) {
        Ok((entry, context)) => crate::panic::catch(|| entry.run(context)),
        Err(why) => End::words(ErrorReport {
            chain: vec![why],
            backtrace: None,
        }),
    };
    process::finish(end)
}

fn hear(control: &Socket, buffer: &mut [u8], deadline: Deadline) -> Option<Work> {
    let mut fds = Vec::new();
    let Ok(Received::Datagram { len, .. }) =
        control.receive(&mut buffer[..MAX_DATAGRAM], &mut fds, deadline)
    else {
        return None;
    };
    let whole = Assembler::new(Limits::default()).push(&buffer[..len], fds);
    Work::read(whole.ok()??)
}

fn begin(control: &'static Socket, work: &mut Work) -> Result<(Descriptor, Context), String> {
    let entry = Descriptor::find(work.function).map_err(|error| error.to_string())?;
    if let Some(title) = Title::of(entry.name()) {
        title.give();
    }
    let context = Context {
        control,
        args: work.args()?,
        with_args: std::mem::take(&mut work.with_args),
        preface: Vec::new(),
        fds: Vec::new(),
    };
    Ok((entry, context))
}

fn rehearse(control: &'static Socket, function: u64, buffer: &mut [u8]) -> Option<()> {
    hear(control, buffer, Deadline::Now);
    buffer[0] = 1;
    let request = Request {
        function,
        ..Request::spare(0, function)
    };
    let mut work = Work::read(request.for_spare().ok()?.into_envelope())?;
    let (entry, context) = begin(control, &mut work).ok()?;
    let end = crate::panic::catch(|| entry.run(context));
    // Few functions do without, and it is in no file.
    let _ = Instant::now();
    // What it would send at its end.
    let packet = Packet::of(kind::VALUE, &Bytes(Vec::new())).ok()?;
    drop((end, packet));
    process::own_control().map(|_| ())
}
