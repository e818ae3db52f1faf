//! The coordinator's process: a thin loop that does for the [`State`] what it asks for, and tells it what
//! happens.
//!
//! One thread, no user code. It waits in epoll(7) for its children's control sockets, the zygote, the host, and
//! SIGCHLD on a descriptor. It never waits for a peer: every send may fail, and what cannot be sent now is
//! owed (see [`Line`]). The only thing that it ever waits for is the end of a zygote that it has just killed.
//!
//! - [`lines`]: what processes say, and what they are owed.
//! - [`forks`]: processes on their way from the zygote.
//! - [`care`]: what is seen to for a process besides; [`graces`]: who has been asked to end.
//! - [`spares`]: processes that are made before they are asked for.
//! - [`ends`]: how ends are noticed.
//! - [`clues`]: what the kernel knows of how they came.
//! - [`orphans`]: what processes leave behind.
//! - [`unwatched`]: ends that nobody watched, told to the host.
//! - [`places`]: where the messages of each are counted.
//! - [`crowded`]: who waits for room for descriptors.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use occ_sck::{Deadline, MAX_DATAGRAM, Packet, Socket};
use occ_spawn::OsPid;
use occ_spawn::entry::End;
use occ_spawn::kernel::{self, Whom};
use occ_spawn::zygote::{self, Zygote};
use occ_yeshup::Parent;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Resource, Signal};
use serde::{Deserialize, Serialize};

use crate::containment::Containment;
use crate::control_group::{Group, Places};
use crate::line::Line;
use crate::protocol::{Me, kind};
use crate::state::{Effect, Event, Serial, State};
use crate::sys;

mod care;
mod clues;
mod crowded;
mod ends;
mod forks;
mod graces;
mod lines;
mod orphans;
mod places;
mod spares;
mod unwatched;

use care::Cared;
use clues::Clues;
use crowded::Crowd;
use ends::Stray;
use forks::{Order, Unborn};
use graces::Graces;
use orphans::Orphans;
use places::Tallied;
use spares::Spares;
use unwatched::Unwatched;

const SIGNALS: u64 = u64::MAX;
const ZYGOTE: u64 = u64::MAX - 1;
const HOST: u64 = u64::MAX - 2;
const LIFELINE: u64 = u64::MAX - 3;
/// With the number of a process: its pidfd, and the pipe that is its standard error.
const PROGRAM: u64 = 1 << 62;
const STDERR: u64 = 1 << 61;

/// The most that is waited for at a time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How often all children are looked at, at the most.
const SWEEP: Duration = Duration::from_millis(50);

/// File descriptors kept for the coordinator itself, its own, and reports and pairs on their way: as many as
/// this, but no more than a quarter where there are few.
const RESERVE: u64 = 128;

/// What the coordinator is told when it starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) host: OsPid,
    /// Whose child the coordinator is: the guard's.
    pub(crate) parent: OsPid,
    pub(crate) host_listed: bool,
    pub(crate) incarnation: u32,
    /// How many processes are made before they are asked for.
    pub(crate) spares: usize,
}

/// What the coordinator does, from its first line to its end. `line` leads to the host, and `lifeline` to the thread there that keeps
/// the system.
pub(crate) fn main(settings: &Settings, line: OwnedFd, lifeline: &'static Socket) -> End {
    match Central::new(settings, line, lifeline) {
        Ok(central) => central.run(),
        Err(why) => {
            if let Ok(packet) = Packet::of(kind::NOT_READY, &why) {
                let _ = packet.send_whole(lifeline, &[], Deadline::Never);
            }
            End::chain(vec![why])
        }
    }
}

struct Central {
    state: State,
    epoll: OwnedFd,
    /// The host's second socket: news for nobody in particular, and its end is the host's.
    lifeline: &'static Socket,
    signals: OwnedFd,
    host: Option<OwnedFd>,
    lines: HashMap<Serial, Line>,
    /// Those of processes that have left the table. That they are closed takes them out of epoll as well: nobody has a duplicate.
    closed: Vec<Socket>,
    /// Connections that are owed and not made yet, by their two processes, the smaller number first.
    pairs: HashSet<(Serial, Serial)>,
    zygote: Option<Zygote>,
    /// It has no room, and epoll looks for some.
    zygote_lags: bool,
    /// Why the last zygote could not begin, until one has.
    refusal: Option<String>,
    /// The soft limit on open files that processes get, because ours is raised.
    nofile: Option<u64>,
    /// What the zygote had no room for.
    backlog: VecDeque<Order>,
    /// Processes that are being made: nobody knows yet what the kernel calls them.
    unborn: BTreeMap<Serial, Unborn>,
    /// Those of them that the zygote has been asked about.
    unclear: BTreeSet<Serial>,
    /// Children that have been reaped and may yet turn out to be one of the unborn.
    strays: HashMap<OsPid, Stray>,
    by_os_pid: HashMap<OsPid, Serial>,
    /// Processes that have hung up, and that the kernel has not called dead yet.
    awaited: HashMap<Serial, OsPid>,
    /// Those of them that the kernel has not been asked about yet.
    fresh: Vec<(Serial, OsPid)>,
    sweep_at: Option<Instant>,
    events: VecDeque<Event>,
    buffer: Vec<u8>,
    unwatched: Unwatched,
    crowd: Crowd,
    clues: Clues,
    orphans: Orphans,
    cared: HashMap<Serial, Cared>,
    graces: Graces,
    spares: Spares,
    tallied: Tallied,
    /// How many processes there may be, and spares with them.
    room: usize,
    /// Where control groups can be made, once somebody has asked for one.
    places: Option<Places>,
    /// Those whose process has ended, and who somebody is still in.
    emptying: Vec<Group>,
    /// Most descriptors that are held for processes that are being made.
    most_held: usize,
    /// Descriptors that may be open, but for those that are kept for what must be possible.
    most_fds: usize,
    finished: bool,
}

impl Central {
    fn new(
        settings: &Settings,
        line: OwnedFd,
        lifeline: &'static Socket,
    ) -> Result<Central, String> {
        let failed =
            |op: &'static str| move |error: &dyn std::fmt::Display| format!("{op}: {error}");
        let parent = Parent::from_os_pid(settings.parent.get()).ok_or("the guard has no pid")?;
        occ_yeshup::arm(parent).map_err(|e| failed("prctl(PR_SET_PDEATHSIG)")(&e))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|e| failed("prctl(PR_SET_CHILD_SUBREAPER)")(&e))?;
        // For ps(1), top(1) and the kernel's log; without a name it works as well.
        let _ = rustix::thread::set_name(c"occ-central");
        let signals = sys::child_signals().map_err(|e| failed("signalfd")(&e))?;
        // Without one there is the guard, who kills us when the host has ended.
        let host = settings.host.to_rustix().ok_or("the host has no pid")?;
        let host = rustix::process::pidfd_open(host, PidfdFlags::empty()).ok();

        let (nofile, limit) = raise_nofile();
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed("epoll_create")(&e))?;
        let state = State::new(
            settings.incarnation,
            settings.host,
            settings.host_listed,
            limit,
        )
        .sent_from(OsPid::own());
        let mut central = Central {
            state,
            epoll,
            lifeline,
            signals,
            host,
            lines: HashMap::new(),
            closed: Vec::new(),
            pairs: HashSet::new(),
            zygote: None,
            zygote_lags: false,
            refusal: None,
            nofile,
            backlog: VecDeque::new(),
            unborn: BTreeMap::new(),
            unclear: BTreeSet::new(),
            strays: HashMap::new(),
            by_os_pid: HashMap::new(),
            awaited: HashMap::new(),
            fresh: Vec::new(),
            sweep_at: None,
            events: VecDeque::new(),
            buffer: vec![0; MAX_DATAGRAM],
            unwatched: Unwatched::default(),
            crowd: Crowd::default(),
            clues: Clues::new(),
            orphans: Orphans::new(settings.incarnation),
            cared: HashMap::new(),
            graces: Graces::default(),
            spares: Spares::new(settings.spares),
            tallied: Tallied::new(limit),
            room: limit,
            places: None,
            emptying: Vec::new(),
            most_fds: limit,
            most_held: (limit / 8).max(64).min(limit),
            finished: false,
        };
        let host = central.host.as_ref().map(|host| (host.as_fd(), HOST));
        let others = [
            (central.signals.as_fd(), SIGNALS),
            (central.lifeline.as_fd(), LIFELINE),
        ];
        for (fd, name) in others.into_iter().chain(host) {
            let data = epoll::EventData::new_u64(name);
            epoll::add(&central.epoll, fd, data, EventFlags::IN)
                .map_err(|e| failed("epoll_ctl")(&e))?;
        }

        let serial = central.state.host();
        let line = Socket::from(line);
        line.ask_credentials()
            .map_err(|e| failed("setsockopt(SO_PASSCRED)")(&e))?;
        central
            .open(serial, line)
            .map_err(|e| failed("epoll_ctl")(&e))?;
        central.tell_who(serial);
        central.start_zygote().map_err(|e| chain_of(&e))?;
        let ready = Packet::of(kind::READY, &OsPid::own()).map_err(|e| failed("encode")(&e))?;
        ready
            .send_part(0, central.lifeline, &[], Deadline::Never)
            .map_err(|e| failed("sendmsg")(&e))?;
        Ok(central)
    }

    fn run(mut self) -> End {
        while !self.finished {
            self.wait();
        }
        self.tell_unwatched();
        if let Some(zygote) = self.zygote.take() {
            zygote.end();
        }
        self.spares.end();
        self.end_all_orphans();
        End::value(&())
    }

    /// Waits for whatever comes first, and does what follows from it.
    fn wait(&mut self) {
        let mut space = [MaybeUninit::<epoll::Event>::uninit(); 256];
        let times = [
            self.sweep_at,
            self.crowd.again_at,
            self.orphans.look_at,
            self.graces.first(),
            self.spares.make_at,
        ];
        let soonest = times.into_iter().flatten().min();
        // Not all kernels wait for as long as one likes.
        let latest = || Instant::now() + LONGEST_WAIT;
        let deadline = soonest.map_or(Deadline::Never, |at| Deadline::At(at.min(latest())));
        let ready: Vec<(u64, EventFlags)> =
            match epoll::wait(&self.epoll, &mut space, deadline.timespec().as_ref()) {
                Ok((ready, _)) => ready
                    .iter()
                    .map(|event| (event.data.u64(), event.flags))
                    .collect(),
                Err(_) => Vec::new(),
            };
        let mut children_ended = false;
        for (name, flags) in ready {
            match name {
                SIGNALS => children_ended = true,
                ZYGOTE => self.hear_zygote(flags),
                LIFELINE if flags == EventFlags::OUT => self.tell_unwatched(),
                HOST | LIFELINE => self.lose_host(),
                name if name & PROGRAM != 0 => self.program_ended(name & !PROGRAM),
                name if name & STDERR != 0 => self.read_stderr(name & !STDERR),
                number if self.spares.is_one(number) => self.hear_spare(number),
                serial => self.serve(serial, flags),
            }
            self.work();
        }
        self.hurry();
        // After the sockets: a process that hung up in the same breath has been asked about already.
        if children_ended {
            self.children_ended();
        }
        if self.sweep_at.is_some_and(|at| at <= Instant::now()) {
            self.sweep_at = None;
            self.sweep();
        }
        for process in self.graces.over(Instant::now()) {
            self.events.push_back(Event::GraceOver { process });
            self.work();
        }
        self.try_the_crowd_again();
        self.look_for_orphans();
        self.make_spares();
        self.closed.clear();
    }

    /// Lets the state take every event, and asks the kernel about those who have hung up.
    fn work(&mut self) {
        self.settle();
        while let Some((process, os_pid)) = self.fresh.pop() {
            self.ask_about(process, os_pid);
        }
    }

    /// Lets the state take every event, and does what it wants done. Nothing that is done takes an event
    /// itself: it leaves one, and the order of all things is the order of the queue.
    fn settle(&mut self) {
        let mut effects = Vec::new();
        while let Some(event) = self.events.pop_front() {
            self.state.handle(event, &mut effects);
            for effect in effects.drain(..) {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch {
                process,
                wanted,
                args,
                mut given,
            } => {
                let with_args = given.split_off(given.len().min(wanted.given as usize));
                let request = zygote::Request {
                    serial: process,
                    function: wanted.function,
                    args,
                    with_args,
                    preface: self.preface(process, !wanted.care.executes),
                    keep_stdin: wanted.keep_stdin,
                    mark: Some(self.orphans.mark(process)),
                    plan: wanted.plan,
                    given,
                    executes: wanted.care.executes,
                    namespace: wanted.care.containment == Containment::PidNamespace,
                    joins: Vec::new(),
                    spare: false,
                    likely: 0,
                };
                match self.take_care(request, &wanted.care) {
                    Ok(request) => {
                        if let Some(request) = self.use_spare(request) {
                            self.make_room();
                            self.launch(request);
                        }
                    }
                    Err(why) => {
                        self.forget(process);
                        self.events.push_back(Event::NotMade { process, why });
                    }
                }
            }
            Effect::AskZygote { process } => self.closed_early(process),
            Effect::Reply { to, reply } => self.reply(to, &reply),
            Effect::Tell { to, news } => self.tell(to, &news),
            Effect::Down { to, ended, report } => self.tell_end(to, ended, report),
            Effect::Connect { a, b } => self.connect(a, b),
            Effect::Remind { to, id, peer } => self.remind(to, id, peer),
            Effect::AwaitEnd { process, os_pid } => {
                if !self.watch_program(process, os_pid) {
                    self.awaited.insert(process, os_pid);
                }
                self.fresh.push((process, os_pid));
            }
            Effect::Examine { process, os_pid } => {
                let exiting = ends::is_exiting(os_pid);
                self.events.push_back(Event::Examined { process, exiting });
            }
            Effect::Signal {
                process,
                os_pid,
                signal,
            } => {
                // The kernel takes a signal for one that has ended, too, and that is not what ended it.
                let lives = matches!(kernel::ended(Whom::OsPid(os_pid), false), Ok(None));
                let pid = os_pid.to_rustix().filter(|_| lives);
                let signal = Signal::from_named_raw(signal);
                let sent = pid
                    .zip(signal)
                    .map(|(pid, signal)| rustix::process::kill_process(pid, signal));
                if sent != Some(Ok(())) {
                    let signal = signal.map_or(0, Signal::as_raw);
                    self.events.push_back(Event::NotSent { process, signal });
                }
                // It has become somebody whom this user may not kill, and a stop does not wait for it.
                if sent == Some(Err(Errno::PERM)) && self.state.is_stopping() {
                    self.awaited.remove(&process);
                    self.by_os_pid.remove(&os_pid);
                    self.forget(process);
                    self.events.push_back(Event::OutOfReach { process });
                }
            }
            Effect::Wait { process, grace } => self.graces.start(process, grace),
            Effect::Close { process } => self.close(process),
            Effect::Abnormal { ended, report } => self.tell_host(ended, report),
            Effect::Finish => self.finished = true,
        }
    }

    /// What a process is told besides its arguments, who it is; and where messages to it are counted, if it can receive any.
    fn preface(&mut self, process: Serial, receives: bool) -> Vec<u8> {
        let me = Me {
            pid: self.state.pid(process),
            tally: receives.then(|| self.tallied.give(process)).flatten(),
        };
        let mut bytes = Vec::new();
        // It has bytes, whatever its numbers.
        let _ = occ_sck::encode_into(&me, &mut bytes);
        bytes
    }

    /// While the system stops, nobody waits for a zygote that may be stopped itself: what it has not made is not made.
    fn hurry(&mut self) {
        if self.state.is_stopping() && !self.unborn.is_empty() && self.zygote.is_some() {
            self.lose_zygote();
            self.send_orders();
            self.work();
        }
    }

    /// The host has ended, or the thread of it that is our parent: so shall we, by the kernel's hand, if
    /// this does not come first.
    fn lose_host(&mut self) {
        // Both stay readable from now on, and there is nothing more to learn from them.
        if let Some(host) = &self.host {
            let _ = epoll::delete(&self.epoll, host);
        }
        let _ = epoll::delete(&self.epoll, self.lifeline);
        self.events.push_back(Event::Stop);
    }
}

/// Raises the soft limit on open files to the hard one: what processes shall have instead, and how many of
/// them there may be.
fn raise_nofile() -> (Option<u64>, usize) {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let mut raised = before;
    raised.current = before.maximum;
    let soft = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => before.current,
    };
    let soft = soft.unwrap_or(u64::from(u32::MAX));
    let limit = soft - RESERVE.min(soft / 4);
    (before.current, usize::try_from(limit).unwrap_or(usize::MAX))
}

pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
