//! The zygote: a small process with one thread and one socket, which forks on request.
//!
//! A fork costs what the forker weighs, and copies locks that its other threads hold; so the one that
//! forks is kept tiny, has no other threads, and holds no descriptor of the processes that it made. They are made with
//! `CLONE_PARENT`: their parent, who is told by the kernel how they end, is the zygote's parent. The zygote itself is
//! expendable; whoever made it makes another.
//!
//! ```text
//! parent                            zygote                               process
//! REQUEST { serial, function, … }
//!   + its end of the control pair ─▶ clone ─────────────────────────────▶ arms, closes what is not its own
//!                                    (or FORK_FAILED on that socket)       HELLO on its control socket
//! ◀──────────────────────────────────────────────────────────────────────  runs the function
//! WHICH { serial } ────────────────▶ the OS pid it forked for it, asked only when the control socket closed
//! ◀─────────────────────────────────  without a HELLO
//! ```

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_proc::OsPid;
use occ_sck::{
    Assembler, Blob, Bytes, Deadline, Envelope, Limits, MAX_DATAGRAM, Packet, Received, SendError,
    Socket,
};
use occ_yeshup::Parent;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::boot::{self, BootError, Booted};
use crate::descriptor::{Context, Descriptor};
use crate::options::plan::{NotBegun, Plan, Step};
use crate::outcome::{End, ErrorReport, kind};
use crate::process::{self, Before};
use crate::sys::{self, ForkState};
use crate::title::Title;

/// Arguments longer than this travel in a memory file.
const INLINE: usize = 48 * 1024;

/// How many of its children a zygote can still name.
const REMEMBERED: usize = 4096;

/// How a process is to be started.
#[derive(Debug)]
pub struct Request {
    /// The number that the caller knows it by, until there is an OS pid.
    pub serial: u64,
    /// Where the function's descriptor is: [`Descriptor::offset`].
    pub function: u64,
    /// Its arguments, encoded.
    pub args: Args,
    /// What whoever asks for the process has to tell it besides: [`Context::preface`].
    pub preface: Vec<u8>,
    /// Keep the standard input of whoever booted the zygote; else it is /dev/null.
    pub keep_stdin: bool,
    /// A mark that the process and all that descends from it carry: its soft `RLIMIT_LOCKS`, which the kernel does not
    /// enforce.
    pub mark: Option<u64>,
    /// So many bytes before the arguments proper are options, as in a [`Parcel`](crate::options::Parcel).
    pub plan: u64,
    /// What belongs to them.
    pub given: Vec<OwnedFd>,
    /// It is the first process of a PID namespace of its own.
    pub namespace: bool,
    /// The `cgroup.procs` files of control groups that it joins before anything else.
    pub joins: Vec<OwnedFd>,
    /// It is made without knowing what for, and waits to be told: see [`Request::start`].
    pub spare: bool,
}

impl Request {
    /// A request for a spare. Before it waits it runs `rehearsal`, the place of a function that does for nothing what others will
    /// do; 0 is none.
    pub fn spare(serial: u64, rehearsal: u64) -> Request {
        Request {
            serial,
            function: rehearsal,
            args: Args::Inline(Vec::new()),
            preface: Vec::new(),
            keep_stdin: false,
            mark: None,
            plan: 0,
            given: Vec::new(),
            namespace: false,
            joins: Vec::new(),
            spare: true,
        }
    }

    /// Whether a spare can do it: one has its descriptors, its groups and its namespace already.
    pub fn suits_a_spare(&self) -> bool {
        let Request {
            plan,
            given,
            namespace,
            joins,
            keep_stdin,
            ..
        } = self;
        *plan == 0 && given.is_empty() && !namespace && joins.is_empty() && !keep_stdin
    }

    /// Tells a spare, by its control socket, to become this process. There is no first word of it again: it has said one when it
    /// was made, and whatever it says from here on it says as this process.
    ///
    /// # Errors
    ///
    /// It was not told: [`SendError::Closed`] when there is no such process any more.
    pub fn start(&self, spare: &Socket) -> Result<(), SendError> {
        let packet = self.for_spare()?;
        let blob = match &self.args {
            Args::Inline(_) => None,
            Args::Blob(blob) => Some(blob),
        };
        let fds: Vec<BorrowedFd<'_>> = blob.map(Blob::as_fd).into_iter().collect();
        packet.send_part(0, spare, &fds, Deadline::Now)
    }

    pub(crate) fn for_spare(&self) -> Result<Packet, SendError> {
        encoded(kind::START, &Wire::of(self).0)
    }
}

fn encoded(kind: u8, wire: &Wire) -> Result<Packet, SendError> {
    Packet::of(kind, wire).map_err(|error| SendError::Io {
        op: "encode",
        source: io::Error::other(error),
    })
}

/// Encoded arguments on their way to a process.
#[derive(Debug)]
pub enum Args {
    /// In the request itself.
    Inline(Vec<u8>),
    /// In a memory file, which nobody on the way reads.
    Blob(Blob),
}

impl Args {
    /// Chooses by length.
    ///
    /// # Errors
    ///
    /// No room for a memory file.
    pub fn new(bytes: Vec<u8>) -> Result<Args, occ_sck::BlobError> {
        if bytes.len() <= INLINE {
            Ok(Args::Inline(bytes))
        } else {
            Blob::new(&bytes).map(Args::Blob)
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    serial: u64,
    function: u64,
    keep_stdin: bool,
    mark: Option<u64>,
    /// A second socket comes along for the function itself.
    has_socket: bool,
    /// The length of the memory file that holds the arguments.
    blob: Option<u64>,
    plan: u64,
    namespace: bool,
    spare: bool,
    joins: u32,
    given: u32,
    args: Bytes,
    preface: Bytes,
}

impl Wire {
    /// And the memory file that belongs to it.
    fn of(request: &Request) -> (Wire, Option<&Blob>) {
        let (args, blob) = match &request.args {
            Args::Inline(bytes) => (bytes.as_slice(), None),
            Args::Blob(blob) => (&[][..], Some(blob)),
        };
        let wire = Wire {
            serial: request.serial,
            function: request.function,
            keep_stdin: request.keep_stdin,
            mark: request.mark,
            has_socket: false,
            blob: blob.map(Blob::len),
            plan: request.plan,
            namespace: request.namespace,
            spare: request.spare,
            joins: request.joins.len() as u32,
            given: request.given.len() as u32,
            args: args.to_vec().into(),
            preface: request.preface.clone().into(),
        };
        (wire, blob)
    }
}

/// What the zygote needs to know of the process that it works for.
#[derive(Serialize, Deserialize)]
struct Settings {
    parent: OsPid,
    /// The soft limit on open files that processes shall have, where the parent has raised its own.
    nofile: Option<u64>,
}

const ENTRY: &Descriptor = &Descriptor::new(|| "zygote", main);

/// A zygote, from its parent's side.
#[derive(Debug)]
pub struct Zygote {
    process: Booted,
}

impl Zygote {
    /// Starts one.
    ///
    /// It and all the processes that it makes are children of the calling *thread*, and are killed when
    /// that ends: call this from one that outlives them.
    ///
    /// `nofile` is the soft limit on open files that the processes get, if not the caller's.
    ///
    /// # Errors
    ///
    /// The image cannot be started again.
    pub fn start(nofile: Option<u64>) -> Result<Zygote, BootError> {
        let settings = Settings {
            parent: OsPid::own(),
            nofile,
        };
        let mut args = Vec::new();
        occ_sck::encode_into(&settings, &mut args).map_err(|error| BootError::Io {
            op: "encode",
            source: io::Error::other(error),
        })?;
        boot::launch(ENTRY, args, &[]).map(|process| Zygote { process })
    }

    /// The zygote's own OS pid.
    pub fn os_pid(&self) -> OsPid {
        self.process.os_pid
    }

    /// The socket to it. Its end means that the zygote is no more.
    pub fn socket(&self) -> &Socket {
        &self.process.socket
    }

    /// Asks for a process with `control` as its control socket, and another `socket` for its function.
    ///
    /// That it was asked says nothing yet. The other end of `control` does: a HELLO from the process, a
    /// FORK_FAILED, or nothing and the end, when the zygote died before it forked.
    ///
    /// # Errors
    ///
    /// The request was not sent: [`SendError::Closed`] when there is no zygote any more.
    pub fn request(
        &self,
        request: &Request,
        control: BorrowedFd<'_>,
        socket: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let (mut wire, blob) = Wire::of(request);
        wire.has_socket = socket.is_some();
        let packet = encoded(kind::REQUEST, &wire)?;
        let mut fds = vec![control];
        fds.extend(socket);
        fds.extend(blob.map(Blob::as_fd));
        fds.extend(request.joins.iter().chain(&request.given).map(AsFd::as_fd));
        packet.send_part(0, &self.process.socket, &fds, deadline)
    }

    /// Asks which process was forked for `serial`; the answer comes on [`Zygote::socket`], and
    /// [`Zygote::answer`] reads it.
    ///
    /// # Errors
    ///
    /// As [`Zygote::request`].
    pub fn ask_which(&self, serial: u64, deadline: Deadline) -> Result<(), SendError> {
        let packet = Packet::of(kind::WHICH, &serial).map_err(|error| SendError::Io {
            op: "encode",
            source: io::Error::other(error),
        })?;
        packet.send_part(0, &self.process.socket, &[], deadline)
    }

    /// Reads an answer: the serial that was asked about, and the process, if one was forked for it.
    pub fn answer(envelope: &Envelope) -> Option<(u64, Option<OsPid>)> {
        (envelope.kind == kind::WHICH).then(|| envelope.decode().ok())?
    }

    /// Why it could not begin, if it said so. Nothing else may read [`Zygote::socket`] meanwhile.
    pub(crate) fn refusal(&self) -> Option<BootError> {
        self.process.refusal()
    }

    /// Kills the zygote and reaps it. The processes that it made live on.
    pub fn end(self) {
        self.process.end();
    }
}

/// What a zygote does, from its first line to its end.
fn main(context: Context) -> End {
    let control = context.control;
    match Forker::new(context) {
        Ok(forker) => forker.serve(),
        Err(why) => {
            boot::refuse(control, &why);
            End::words(ErrorReport {
                chain: vec![why],
                backtrace: None,
            })
        }
    }
}

struct Forker {
    requests: &'static Socket,
    parent: Parent,
    /// The standard input that the image was booted with.
    stdin: Option<OwnedFd>,
    fork: ForkState,
    /// Who was forked for what, the newest last.
    forked: VecDeque<(u64, u32)>,
    buffer: Vec<u8>,
    before: Before,
}

impl Forker {
    fn new(context: Context) -> Result<Forker, String> {
        let settings: Settings = occ_sck::decode(&context.args).map_err(|e| e.to_string())?;
        let parent = Parent::from_os_pid(settings.parent.get())
            .ok_or_else(|| format!("{} is no process", settings.parent))?;
        occ_yeshup::arm(parent).map_err(|e| e.to_string())?;
        // A fork copies a lock that another thread holds, and nobody ever opens the copy.
        if !sys::is_single_threaded() {
            return Err("an initialiser that runs before main has started a thread".to_owned());
        }

        // Everything that a process needs and that a fork passes on is done here, once; and what
        // initialisers have left in stdout's buffer is written now, or every process would.
        let _ = io::stdout().flush();
        let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 10).ok();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty())
            .map_err(|e| format!("/dev/null cannot be opened: {e}"))?;
        sys::duplicate_to(null.as_fd(), 0, false).map_err(|e| e.to_string())?;
        drop(null);
        if let Some(soft) = settings.nofile {
            let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            limit.current = Some(soft);
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
                .map_err(|e| e.to_string())?;
        }
        let fork = ForkState::of_this_thread()
            .map_err(|e| format!("the kernel does not say where the thread id is kept: {e}"))?;
        crate::panic::install_hook();
        sys::set_up_signals();
        sys::unblock_signals();
        if let Some(title) = Title::of("occ-zygote") {
            title.give();
        }
        crate::image::Image::own();
        sys::was_single_threaded();
        sys::map_own_record().map_err(|e| format!("no memory: {e}"))?;
        rehearse();
        Ok(Forker {
            requests: context.control,
            parent,
            stdin,
            fork,
            forked: VecDeque::with_capacity(REMEMBERED),
            buffer: vec![0; MAX_DATAGRAM],
            before: Before::new(),
        })
    }

    fn serve(mut self) -> End {
        loop {
            let mut fds = Vec::new();
            let received = self
                .requests
                .receive(&mut self.buffer, &mut fds, Deadline::Never);
            match received {
                Ok(Received::Datagram { len, .. }) => {
                    let envelope = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                    match envelope {
                        Ok(Some(envelope)) if envelope.kind == kind::REQUEST => self.fork(envelope),
                        Ok(Some(envelope)) if envelope.kind == kind::WHICH => self.which(&envelope),
                        // Descriptors that came with anything else are closed, and their other ends tell.
                        _ => {}
                    }
                }
                Ok(Received::Closed) => return End::value(&()),
                // Descriptors were lost: whoever holds their other ends sees the end of them.
                Ok(Received::Nothing) | Err(occ_sck::ReceiveError::Frame(_)) => {}
                Err(error) => {
                    let chain = vec![error.to_string()];
                    return End::words(ErrorReport {
                        chain,
                        backtrace: None,
                    });
                }
            }
        }
    }

    fn which(&self, envelope: &Envelope) {
        let Ok(serial) = envelope.decode::<u64>() else {
            return;
        };
        let found = self.forked.iter().rev().find(|(of, _)| *of == serial);
        let answer = (serial, found.map(|(_, pid)| OsPid::new(*pid)));
        if let Ok(packet) = Packet::of(kind::WHICH, &answer) {
            let _ = packet.send_part(0, self.requests, &[], Deadline::Never);
        }
    }

    #[expect(unsafe_code, reason = "forks")]
    fn fork(&mut self, envelope: Envelope) {
        let Some(start) = Start::read(envelope) else {
            return;
        };
        if !self.before.make_ready(&start) {
            return;
        }
        // SAFETY: a zygote has one thread, and `fork` was made by it.
        match unsafe { sys::fork_sibling(&self.fork, start.namespace) } {
            Ok(None) => process::run(start, &self.before, self.parent, self.stdin.take()),
            Ok(Some(pid)) => {
                if self.forked.len() == REMEMBERED {
                    self.forked.pop_front();
                }
                self.forked.push_back((start.serial, pid));
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                if let Ok(packet) = Packet::of(kind::FORK_FAILED, &errno) {
                    let _ = packet.send_part(0, &start.control, &[], Deadline::Now);
                }
            }
        }
    }
}

/// Does what every process would do for its first time, and what a fork passes on as done: rustix asks the kernel for the
/// size of a page, and the first thread local that has a destructor lets the dynamic linker look for a symbol.
fn rehearse() {
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {}
    }
    thread_local!(static LAST: Last = const { Last });
    LAST.with(|_| ());
}

/// A request as the zygote hands it to the new process.
pub(crate) struct Start {
    pub(crate) serial: u64,
    pub(crate) function: u64,
    pub(crate) keep_stdin: bool,
    pub(crate) mark: Option<u64>,
    pub(crate) control: Socket,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) args: Vec<u8>,
    pub(crate) preface: Vec<u8>,
    pub(crate) blob: Option<(OwnedFd, u64)>,
    pub(crate) plan: u64,
    pub(crate) namespace: bool,
    pub(crate) joins: Vec<OwnedFd>,
    pub(crate) given: Vec<OwnedFd>,
    pub(crate) spare: bool,
}

impl Start {
    /// `None` for a request that is not one; its sockets are closed, and their other ends tell.
    fn read(envelope: Envelope) -> Option<Start> {
        let wire: Wire = envelope.decode().ok()?;
        let mut fds = envelope.fds.into_iter();
        let control = Socket::from(fds.next()?);
        let socket = if wire.has_socket {
            Some(fds.next()?)
        } else {
            None
        };
        let blob = match wire.blob {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        let joins: Vec<OwnedFd> = fds.by_ref().take(wire.joins as usize).collect();
        let given: Vec<OwnedFd> = fds.collect();
        if joins.len() != wire.joins as usize || given.len() != wire.given as usize {
            return None;
        }
        Some(Start {
            serial: wire.serial,
            function: wire.function,
            keep_stdin: wire.keep_stdin,
            mark: wire.mark,
            control,
            socket,
            args: wire.args.0,
            preface: wire.preface.0,
            blob,
            plan: wire.plan,
            namespace: wire.namespace,
            joins,
            given,
            spare: wire.spare,
        })
    }

    /// The options, which stand before the arguments. It may be called before the descriptors of others are closed: it reads
    /// nothing but a memory file.
    pub(crate) fn take_plan(&mut self) -> Result<Option<Plan>, NotBegun> {
        if self.plan == 0 {
            return Ok(None);
        }
        let wrong = |why: String| NotBegun {
            step: Step::Orders,
            what: format!("({why})"),
            errno: libc::EBADMSG,
        };
        if let Some((fd, len)) = self.blob.take() {
            let blob = Blob::from_fd(fd, len).map_err(|error| wrong(error.to_string()))?;
            self.args = blob.read().map_err(|error| wrong(error.to_string()))?;
        }
        let len = usize::try_from(self.plan).unwrap_or(usize::MAX);
        if len > self.args.len() {
            return Err(wrong(format!(
                "{len} bytes of options, and {} in all",
                self.args.len()
            )));
        }
        let args = self.args.split_off(len);
        let plan = std::mem::replace(&mut self.args, args);
        let plan = occ_sck::decode(&plan).map_err(|error| wrong(error.to_string()))?;
        Ok(Some(plan))
    }
}

/// What a spare is told to become.
pub(crate) struct Work {
    pub(crate) function: u64,
    pub(crate) mark: Option<u64>,
    pub(crate) preface: Vec<u8>,
    args: Vec<u8>,
    blob: Option<(OwnedFd, u64)>,
}

impl Work {
    /// `None` for anything else.
    pub(crate) fn read(envelope: Envelope) -> Option<Work> {
        if envelope.kind != kind::START {
            return None;
        }
        let wire: Wire = envelope.decode().ok()?;
        let blob = match wire.blob {
            Some(len) => Some((envelope.fds.into_iter().next()?, len)),
            None => None,
        };
        Some(Work {
            function: wire.function,
            mark: wire.mark,
            preface: wire.preface.0,
            args: wire.args.0,
            blob,
        })
    }

    pub(crate) fn args(&mut self) -> Result<Vec<u8>, String> {
        match self.blob.take() {
            None => Ok(std::mem::take(&mut self.args)),
            Some((fd, len)) => read_blob(fd, len),
        }
    }
}

/// The arguments that came in a memory file.
pub(crate) fn read_blob(fd: OwnedFd, len: u64) -> Result<Vec<u8>, String> {
    let blob = Blob::from_fd(fd, len).map_err(|error| error.to_string())?;
    blob.read().map_err(|error| error.to_string())
}
