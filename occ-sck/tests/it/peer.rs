//! The test binary as the process at the other end, so that it can be killed.

use std::process::{Child, Command, ExitStatus};

use occ_sck::{Bytes, Channel, Deadline, Limits, PART, Packet, Socket, kind};
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, role, test_path};

/// What the other process does with its end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Sends the keys of some types.
    TypeKeys,
    /// Sends its pid, and does so again for each message that comes.
    Pid,
    /// Receives a socket in a message and sends its pid through it.
    PidThroughPassed,
    /// Sends the first two parts of [`long`], says so, and the rest when a message comes.
    Half,
    /// Sends [`numbered`] messages without end.
    Stream,
    /// Sends three numbers, says so, and never reads.
    NeverReads,
}

const PARTS: [Part; 6] = [
    Part::TypeKeys,
    Part::Pid,
    Part::PidThroughPassed,
    Part::Half,
    Part::Stream,
    Part::NeverReads,
];

pub(crate) struct Peer {
    pub(crate) child: Child,
    pub(crate) channel: Channel,
    pub(crate) ready: Ready,
}

/// Starts the other process, which holds the only other end.
pub(crate) fn start(part: Part) -> Peer {
    let (ours, theirs) = Socket::pair().unwrap();
    start_with(part, ours, theirs)
}

pub(crate) fn start_with(part: Part, ours: Socket, theirs: Socket) -> Peer {
    let mut command: Command = role::command("peer::role_peer");
    command.env("PART", format!("{part:?}"));
    let theirs = Pass::new(theirs.into());
    theirs.to("SOCKET", &mut command);
    let (ready, say) = Ready::new();
    say.pass("READY", &mut command);
    let child = command.spawn().unwrap();
    Peer {
        child,
        channel: Channel::new(ours, Limits::default()),
        ready,
    }
}

impl Peer {
    /// Waits until the process has ended and tells how.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        dead::how(&mut self.child, LIMIT)
    }

    pub(crate) fn killed(&mut self) {
        self.child.kill().unwrap();
        self.ends();
    }
}

/// Four parts.
pub(crate) fn long() -> Bytes {
    Bytes((0..3 * PART + 100).map(|at| (at % 253) as u8).collect())
}

/// A message of sixteen parts, each byte of which tells its number.
pub(crate) fn numbered(number: u32) -> (u32, Bytes) {
    (number, Bytes(vec![number as u8; 16 * PART - 100]))
}

#[test]
fn role_peer() {
    if !role::is(test_path!()) {
        return;
    }
    let socket = Socket::from(inherited("SOCKET"));
    let say = Say::inherited("READY");
    let part = std::env::var("PART").unwrap();
    let part = PARTS
        .into_iter()
        .find(|each| format!("{each:?}") == part)
        .unwrap();
    play(part, socket, &say);
}

fn play(part: Part, socket: Socket, say: &Say) {
    if let Part::Half = part {
        let packet = Packet::of(kind::USER, &long()).unwrap();
        let send = |part| packet.send_part(part, &socket, &[], Deadline::Never);
        send(0).and_then(|()| send(1)).unwrap();
        say.ready();
        let mut buffer = [0; 1000];
        socket
            .receive(&mut buffer, &mut Vec::new(), Deadline::Never)
            .unwrap();
        return send(2).and_then(|()| send(3)).unwrap();
    }

    let mut channel = Channel::new(socket, Limits::default());
    match part {
        Part::TypeKeys => channel.send(&crate::type_keys::all()).unwrap(),
        Part::Pid => loop {
            channel.send(&std::process::id()).unwrap();
            if channel.receive_any().unwrap().is_none() {
                break;
            }
        },
        Part::PidThroughPassed => {
            let envelope = channel.receive_any().unwrap().unwrap();
            let passed = Socket::from(envelope.fds.into_iter().next().unwrap());
            let mut passed = Channel::new(passed, Limits::default());
            passed.send(&std::process::id()).unwrap();
        }
        Part::Stream => {
            for number in 0.. {
                if channel.send(&numbered(number)).is_err() {
                    break;
                }
            }
        }
        Part::NeverReads => {
            for number in 0..3_u32 {
                channel.send(&number).unwrap();
            }
            say.ready();
            // Until it is killed: readable is what it never looks at.
            loop {
                std::thread::park();
            }
        }
        Part::Half => unreachable!("played above"),
    }
}
