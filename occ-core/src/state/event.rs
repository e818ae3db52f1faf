//! What goes into the state machine, and what comes out.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use occ_sck::{Blob, Envelope};
use occ_spawn::OsPid;
use occ_spawn::zygote::Args;

use crate::protocol::{End, Ended, Moment, News, NotSpawned, Reply, Request, Wanted};
use crate::state::Serial;

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A process, or the host, asks for something.
    Asked {
        /// Who.
        by: Serial,
        /// For what.
        request: Request,
        /// The memory file that came along.
        blob: Option<Blob>,
        /// The other descriptors that did.
        given: Vec<OwnedFd>,
    },
    /// A spare is ready to be the process of this number, which was reserved for it.
    SpareReady {
        /// Which.
        process: Serial,
    },
    /// A spare is no more, or could not be made.
    SpareGone {
        /// Which.
        process: Serial,
    },
    /// A new process has said its first word, or the zygote has said that it made it.
    Began {
        /// Which.
        process: Serial,
        /// What the kernel calls it.
        os_pid: OsPid,
        /// When.
        at: Moment,
    },
    /// The zygote has said that it made a process, which ended before its first word and has been reaped
    /// as a stranger.
    BeganAndEnded {
        /// Which.
        process: Serial,
        /// What the kernel called it.
        os_pid: OsPid,
        /// How it ended.
        end: End,
    },
    /// The zygote died over a process, of which nothing is to be heard on the control socket that was for it; it is
    /// being made once more, and has another.
    Relaunched {
        /// Which.
        process: Serial,
    },
    /// A process could not be made.
    NotMade {
        /// Which.
        process: Serial,
        /// Why not.
        why: NotSpawned,
    },
    /// A process has reported how it ends.
    Said {
        /// Which.
        process: Serial,
        /// What it said.
        report: Envelope,
    },
    /// A process has reported how it ends, and the report could not be taken: the coordinator had no file
    /// descriptor for it.
    SaidUnheard {
        /// Which.
        process: Serial,
    },
    /// The control socket of a process has closed.
    HungUp {
        /// Which.
        process: Serial,
    },
    /// The kernel says how a process has ended. It is reaped.
    Ended {
        /// Which.
        process: Serial,
        /// How.
        end: End,
    },
    /// What [`Effect::Examine`] found.
    Examined {
        /// Which.
        process: Serial,
        /// It is on its way out: its end will be known in a moment.
        exiting: bool,
    },
    /// A signal could not be sent.
    NotSent {
        /// To whom.
        process: Serial,
        /// Which.
        signal: i32,
    },
    /// A process that is to execute a program has said its first word, and not executed it yet.
    Known {
        /// Which.
        process: Serial,
        /// What the kernel calls it.
        os_pid: OsPid,
    },
    /// A process is one that may not be killed, and the system stops: nobody waits for it.
    OutOfReach {
        /// Which.
        process: Serial,
    },
    /// What [`Effect::Wait`] asked for: the time is up.
    GraceOver {
        /// For whom.
        process: Serial,
    },
    /// A connection could not be made, because one of the two does not listen any more.
    NoPair {
        /// The one that does not listen.
        closed: Serial,
        /// The one that may be waiting for it.
        other: Serial,
    },
    /// The host wants the system to end, or has itself ended.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Make a process. Its control socket begins with the news who it is.
    Launch {
        /// Its number.
        process: Serial,
        /// What it is to be.
        wanted: Box<Wanted>,
        /// Its options, and what it is called with.
        args: Args,
        /// The descriptors for its options.
        given: Vec<OwnedFd>,
    },
    /// Ask the zygote whether it made this process, whose control socket has closed without a word.
    AskZygote {
        /// Which.
        process: Serial,
    },
    /// Answer a request.
    Reply {
        /// To whom.
        to: Serial,
        /// What.
        reply: Reply,
    },
    /// Tell something unasked.
    Tell {
        /// Whom.
        to: Serial,
        /// What.
        news: News,
    },
    /// Tell a watcher of an end, with the report that the dead left.
    Down {
        /// Whom.
        to: Serial,
        /// Whose end.
        ended: Ended,
        /// What it said of itself.
        report: Option<Rc<Envelope>>,
    },
    /// Make a pair, and give each of them one end. If neither gets one, because one of them does not
    /// listen any more, that is an [`Event::NoPair`].
    Connect {
        /// The one who asked.
        a: Serial,
        /// The other.
        b: Serial,
    },
    /// This one asks for a connection that was asked for before. If that has been made, it is told that it
    /// was given its end of it.
    Remind {
        /// Whom.
        to: Serial,
        /// What it calls its wish.
        id: u64,
        /// Whom the connection is with.
        peer: Serial,
    },
    /// Ask the kernel how this process ended, now and at each SIGCHLD, until it answers.
    AwaitEnd {
        /// Which.
        process: Serial,
        /// What the kernel calls it.
        os_pid: OsPid,
    },
    /// Find out whether this process is on its way out.
    Examine {
        /// Which.
        process: Serial,
        /// What the kernel calls it.
        os_pid: OsPid,
    },
    /// Send a signal. The process is unreaped. If the kernel does not let it through, that is an [`Event::NotSent`].
    Signal {
        /// To whom.
        process: Serial,
        /// What the kernel calls it.
        os_pid: OsPid,
        /// Which.
        signal: i32,
    },
    /// Say so when the grace period of a process is over: [`Event::GraceOver`].
    Wait {
        /// Whose.
        process: Serial,
        /// How long it is.
        grace: Duration,
    },
    /// Close the control socket.
    Close {
        /// Whose.
        process: Serial,
    },
    /// Tell the host of an abnormal end that nobody watched.
    Abnormal {
        /// Whose.
        ended: Ended,
        /// What it said of itself.
        report: Option<Rc<Envelope>>,
    },
    /// Nothing is left to do: end.
    Finish,
}
