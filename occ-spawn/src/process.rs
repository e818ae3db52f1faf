//! A new process, from the fork to its end: what it does before and after the function.
//!
//! - [`place`]: its descriptors; [`mark`]: what all that descends from it carries.
//! - [`ending`]: its report, and `_exit`.

use std::os::fd::OwnedFd;

use occ_proc::OsPid;
use occ_sck::{Deadline, Packet, Socket};
use occ_yeshup::Parent;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Stat;

use crate::begin;
use crate::boot::{self, CONTROL_FD};
use crate::descriptor::{Context, Descriptor, Encoded};
use crate::options::plan::{NotBegun, Plan, Step};
use crate::outcome::{End, ErrorReport, kind};
use crate::spare;
use crate::sys::{self, Own};
use crate::title::Title;
use crate::zygote::Start;

mod ending;
mod mark;
mod place;

pub(crate) use ending::finish;
pub use ending::{exit, fail, fail_with};

use ending::send;
use mark::carry;
use place::{Fds, own_only};

/// The status of a process that could not begin.
pub(crate) const STATUS_NOT_STARTED: i32 = 1;

/// What the zygote makes ready for the next process, so that not each has to do it for its first time: in a new process
/// every page of code or memory that nobody else has there is a page fault.
pub(crate) struct Before {
    /// Its first word.
    hello: Packet,
    entry: Result<Descriptor, String>,
    title: Option<Title>,
}

impl Before {
    pub(crate) fn new() -> Before {
        Before {
            hello: Packet::new(),
            entry: Err(String::new()),
            title: None,
        }
    }

    /// False if there is no memory for it.
    pub(crate) fn make_ready(&mut self, start: &Start) -> bool {
        self.entry = Descriptor::find(start.function).map_err(|error| error.to_string());
        let name = self.entry.as_ref().ok().map(Descriptor::name);
        self.title = name.and_then(Title::of);
        self.hello.fill(kind::HELLO, &start.serial).is_ok()
    }
}

/// Everything that happens in a forked child. Nothing reads a socket before the descriptors of others
/// are closed, and nothing matters before it is sure to die with its parent.
pub(crate) fn run(mut start: Start, before: &Before, parent: Parent, stdin: Option<OwnedFd>) -> ! {
    // A parent that died meanwhile wants no news.
    if !arm(parent, &start) {
        sys::end(STATUS_NOT_STARTED);
    }
    if let Some(mark) = start.mark {
        carry(mark);
    }
    let plan = match start.take_plan() {
        Ok(plan) => plan,
        Err(why) => not_begun(&start.control, &why),
    };
    if let Some(plan) = &plan {
        start.keep_stdin |= plan.stdin_is_inherited();
    }
    let mut fds = match own_only(&start, stdin) {
        Ok(fds) => fds,
        Err(error) => never_began(
            &start,
            before,
            &format!("its file descriptors could not be put in place: {error}"),
        ),
    };
    let control = boot::control();
    let Some((control, own)) = control.and_then(|control| Some((control, own_with(control)?)))
    else {
        never_began(&start, before, "its control socket is not where it was put")
    };
    let hello = |control: &Socket| {
        let said = before.hello.send_part(0, control, &[], Deadline::Never);
        if said.is_err() {
            sys::end(STATUS_NOT_STARTED);
        }
    };
    if let Err(why) = begin::join(std::mem::take(&mut fds.joins)) {
        not_begun(control, &why);
    }
    let mut label = None;
    let fds = match plan {
        None => fds,
        Some(plan) => {
            label = plan.label.as_deref().and_then(Title::exactly);
            plan_first(&plan, fds, (control, parent, start.namespace), hello)
        }
    };
    sys::set_own(own);

    if start.spare {
        let (rehearsal, likely) = (start.function, start.likely);
        let preface = std::mem::take(&mut start.preface);
        // Its descriptors have been put in place, and are nobody's any more.
        std::mem::forget((start, fds));
        spare::wait(control, (rehearsal, likely), preface, || hello(control));
    }
    // Whoever asked waits for this.
    hello(control);

    let title = label.as_ref().or(before.title.as_ref());
    let end = match prepare(start, (before, title), fds) {
        Ok((entry, context)) => crate::panic::catch(|| entry.run(context)),
        Err(why) => End::words(ErrorReport {
            chain: vec![why],
            backtrace: None,
        }),
    };
    finish(end)
}

/// Ties this process's life to its parent's; false if that has ended already.
///
/// From within a PID namespace of its own it does not see its parent (getppid(2) says 0). Then it looks at its control socket,
/// whose other end nobody but the parent holds.
fn arm(parent: Parent, start: &Start) -> bool {
    let armed = occ_yeshup::arm(parent);
    if !start.namespace {
        return armed.is_ok();
    }
    !has_hung_up(&start.control)
}

fn has_hung_up(socket: &Socket) -> bool {
    let mut sockets = [PollFd::new(socket, PollFlags::empty())];
    rustix::event::poll(&mut sockets, Some(&Timespec::default())) != Ok(0)
}

/// Does what the options say, and executes the program if there is one.
///
/// A program takes the place of the control socket, and that is how it is known that it has: the socket closes, without a
/// word of failure. Its process has said its first word before, so it is known which it is.
#[inline(never)]
fn plan_first(
    plan: &Plan,
    mut fds: Fds,
    (control, parent, unseen): (&Socket, Parent, bool),
    hello: impl Fn(&Socket),
) -> Fds {
    // Something may be wanted under the control socket's number.
    let spare = plan.highest().saturating_add(1).max(CONTROL_FD + 1);
    let to_parent = match rustix::io::fcntl_dupfd_cloexec(control, spare) {
        Ok(socket) => Socket::from(socket),
        Err(errno) => {
            let what = format!("({spare} and above)");
            not_begun(
                control,
                &NotBegun::new(Step::Descriptors, what, &errno.into()),
            )
        }
    };
    // So may it be under that of one that is in the arguments, or holds them.
    let file = fds.blob.as_mut().map(|(fd, _)| fd);
    for fd in fds.with_args.iter_mut().chain(file) {
        match rustix::io::fcntl_dupfd_cloexec(&*fd, spare) {
            Ok(up) => *fd = up,
            Err(errno) => {
                let what = format!("({spare} and above, for the arguments)");
                not_begun(
                    control,
                    &NotBegun::new(Step::Descriptors, what, &errno.into()),
                )
            }
        }
    }
    if plan.program.is_some() {
        hello(control);
    }
    let given = std::mem::take(&mut fds.given);
    let followed = begin::follow(plan, given, (parent, unseen));
    if unseen && has_hung_up(&to_parent) {
        sys::end(STATUS_NOT_STARTED);
    }
    let done = followed.and_then(|()| match &plan.program {
        Some(program) => Err(begin::execute(plan, program)),
        None => Ok(()),
    });
    match done {
        Ok(()) => fds,
        Err(why) => not_begun(&to_parent, &why),
    }
}

/// Ends a process that could not do what its options say, and says why.
#[cold]
#[inline(never)]
fn not_begun(control: &Socket, why: &NotBegun) -> ! {
    if let Ok(packet) = Packet::of(kind::NOT_BEGUN, why) {
        let _ = packet.send_whole(control, &[], Deadline::Never);
    }
    sys::end(STATUS_NOT_STARTED)
}

/// Ends a process that has not got as far as its function: it says who it is, and why.
#[cold]
#[inline(never)]
fn never_began(start: &Start, before: &Before, why: &str) -> ! {
    let end = End::words(ErrorReport {
        chain: vec!["the process could not begin".to_owned(), why.to_owned()],
        backtrace: None,
    });
    let _ = before
        .hello
        .send_part(0, &start.control, &[], Deadline::Never);
    let _ = send(&end, &start.control);
    sys::end(end.status)
}

fn prepare(
    start: Start,
    (before, title): (&Before, Option<&Title>),
    fds: Fds,
) -> Result<(Descriptor, Context), String> {
    let Start {
        control: closed,
        socket,
        args,
        preface,
        blob,
        joins,
        given,
        with_args,
        args_at,
        ..
    } = start;
    std::mem::forget((closed, socket, blob, joins, given, with_args));
    let entry = before.entry.clone()?;
    if let Some(title) = title {
        title.give();
    }
    let control = boot::control().ok_or("there is no control socket")?;
    let args = match fds.blob {
        None => Encoded::Here(args),
        Some((fd, len)) => Encoded::in_file(fd, len, args_at)?,
    };
    Ok((
        entry,
        Context {
            control,
            args,
            with_args: fds.with_args,
            preface,
            fds: fds.socket.into_iter().collect(),
        },
    ))
}

/// What this process is, with this control socket.
fn own_with(control: &Socket) -> Option<Own> {
    let Stat { st_dev, st_ino, .. } = rustix::fs::fstat(control).ok()?;
    Some(Own {
        os_pid: OsPid::own().get(),
        socket: (st_dev, st_ino),
    })
}

/// The control socket, if there is one to speak on.
///
/// A fork of a process is not the process and has nothing to say in its name. And a function that closed what it did not
/// open may have a file of its own under that number by now, where a report would be garbage.
pub(crate) fn own_control() -> Option<&'static Socket> {
    let control = boot::control()?;
    (sys::own()? == own_with(control)?).then_some(control)
}
