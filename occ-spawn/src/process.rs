//! A new process, from the fork to its end: what it does before and after the function.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::time::Duration;

use occ_proc::OsPid;
use occ_sck::{Deadline, Limits, Packet, SendError, Socket, Term};
use occ_yeshup::Parent;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Stat;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::begin;
use crate::boot::{self, CONTROL_FD};
use crate::descriptor::{Context, Descriptor};
use crate::options::plan::{NotBegun, Plan, Step};
use crate::outcome::{End, ErrorReport, STATUS_ERROR, STATUS_VALUE, kind};
use crate::spare;
use crate::sys::{self, Own};
use crate::title::Title;
use crate::zygote::{Start, read_blob};

/// The status of a process that could not begin.
pub(crate) const STATUS_NOT_STARTED: i32 = 1;

/// How long the end of a process waits for a thread that is printing.
const PRINTING: Duration = Duration::from_millis(100);

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
        let rehearsal = start.function;
        // Its descriptors have been put in place, and are nobody's any more.
        std::mem::forget((start, fds));
        spare::wait(control, rehearsal, || hello(control));
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
fn not_begun(control: &Socket, why: &NotBegun) -> ! {
    if let Ok(packet) = Packet::of(kind::NOT_BEGUN, why) {
        let _ = packet.send_whole(control, &[], Deadline::Never);
    }
    sys::end(STATUS_NOT_STARTED)
}

/// Sets the mark that all which descends from this process will carry, and keeps the one that it has inherited. Where a hard
/// limit is in the way, its descendants cannot be told from others.
fn carry(mark: u64) {
    let limit = keep_inherited_mark();
    set_mark(mark, limit);
}

/// Keeps the mark that has been inherited; gives the limit that the new one goes into.
pub(crate) fn keep_inherited_mark() -> Rlimit {
    let limit = getrlimit(Resource::Locks);
    if let Some(inherited) = limit.current {
        let mut kept = getrlimit(Resource::Rss);
        kept.current = Some(inherited);
        let _ = setrlimit(Resource::Rss, kept);
    }
    limit
}

pub(crate) fn set_mark(mark: u64, mut limit: Rlimit) {
    limit.current = Some(mark);
    let _ = setrlimit(Resource::Locks, limit);
}

/// Ends a process that has not got as far as its function: it says who it is, and why.
fn never_began(start: &Start, before: &Before, why: &str) -> ! {
    let end = End::words(ErrorReport {
        chain: vec!["the process could not begin".to_owned(), why.to_owned()],
        backtrace: None,
    });
    let _ = before
        .hello
        .send_part(0, &start.control, &[], Deadline::Never);
    let _ = send(&end.packet, &start.control);
    sys::end(end.status)
}

/// Puts what the process was given where it belongs and closes everything else; close-on-exec means
/// nothing to a fork.
#[expect(unsafe_code, reason = "rearranges descriptors by number")]
fn own_only(start: &Start, stdin: Option<OwnedFd>) -> io::Result<Fds> {
    if start.keep_stdin
        && let Some(stdin) = &stdin
    {
        sys::duplicate_to(stdin.as_fd(), 0, false)?;
    }
    // What was received lies at the lowest numbers that were free, in this order and all above the
    // control socket; so each goes to its place or down, and overwrites only what has been moved.
    sys::duplicate_to(start.control.as_fd(), CONTROL_FD, true)?;
    let mut next = CONTROL_FD + 1;
    let mut place = |fd: Option<&OwnedFd>| -> io::Result<Option<i32>> {
        let Some(fd) = fd else { return Ok(None) };
        sys::duplicate_to(fd.as_fd(), next, true)?;
        next += 1;
        Ok(Some(next - 1))
    };
    let socket = place(start.socket.as_ref())?;
    let blob = place(start.blob.as_ref().map(|(fd, _)| fd))?;
    let mut all = |fds: &[OwnedFd]| -> io::Result<Vec<RawFd>> {
        let placed = fds.iter().map(|fd| place(Some(fd)));
        placed.filter_map(Result::transpose).collect()
    };
    let joins = all(&start.joins)?;
    let given = all(&start.given)?;
    // SAFETY: the owners of what is closed are `start` and `stdin`, which are forgotten below and in
    // `prepare`, and the zygote's own state, which nobody touches again in this process.
    let closed = unsafe { sys::close_from(next) };
    std::mem::forget(stdin);
    closed?;
    // SAFETY: made just now, owned by nobody else.
    let socket = socket.map(|fd| unsafe { sys::own_fd(fd) });
    let len = start.blob.as_ref().map_or(0, |(_, len)| *len);
    // SAFETY: as above.
    let blob = blob.map(|fd| (unsafe { sys::own_fd(fd) }, len));
    // SAFETY: as above.
    let own = |fd: RawFd| unsafe { sys::own_fd(fd) };
    Ok(Fds {
        socket,
        blob,
        joins: joins.into_iter().map(own).collect(),
        given: given.into_iter().map(own).collect(),
    })
}

struct Fds {
    socket: Option<OwnedFd>,
    blob: Option<(OwnedFd, u64)>,
    /// Control groups to be joined.
    joins: Vec<OwnedFd>,
    /// What the options speak of.
    given: Vec<OwnedFd>,
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
        ..
    } = start;
    std::mem::forget((closed, socket, blob, joins, given));
    let entry = before.entry.clone()?;
    if let Some(title) = title {
        title.give();
    }
    let control = boot::control().ok_or("there is no control socket")?;
    let args = match fds.blob {
        None => args,
        Some((fd, len)) => read_blob(fd, len)?,
    };
    Ok((
        entry,
        Context {
            control,
            args,
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
    crate::unread::tell(control);
    let Err(error) = send(&end.packet, control) else {
        return end.status;
    };

    // It is lost, and whoever waits is told that it is, and why.
    let lost = format!(
        "the exit value, {} bytes of `{}`, could not be handed over",
        end.packet.payload().len(),
        end.packet.type_name()
    );
    let end = End::words(ErrorReport {
        chain: vec![lost, error],
        backtrace: None,
    });
    let _ = send(&end.packet, control);
    end.status
}

/// Sends a report whole: what is long goes in a memory file, so the process never waits for its reader.
fn send(packet: &Packet, control: &Socket) -> Result<(), String> {
    let most = Limits::default().message;
    if packet.payload().len() as u64 > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let by = |deadline| packet.send_whole(control, &[], deadline);
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

fn require_process(what: &str) {
    assert!(
        sys::is_fork().is_some(),
        "`{what}` ends a process that was spawned, and this one was not: use std::process::exit"
    );
}
