//! Processes that send the coordinator what no process of ours sends. It survives, everybody else is served, and
//! how they end is told as it was.

use std::collections::HashSet;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use occ_core::protocol::{Care, Reply, Request, Wanted};
use occ_core::{Down, ExitReason, OsPid, Pid, SystemError, Term};
use occ_inbox::Standing;
use occ_sck::{
    Bytes, Deadline, Header, MAX_DATAGRAM, Packet, Received, SendError, Socket, TypeKey, kind,
};
use occ_spawn::entry::kind::{FORK_FAILED, HELLO, PANIC, VALUE, WHICH};
use occ_test_support::{
    LIMIT, isolated,
    ready::{Ready, Say},
    stress, within,
};
use rustix::net::Shutdown;

use crate::raw;
use crate::{
    a_spawn, assert_comes_to_rest, assert_works, code, hear, me, reason, signal, system, value,
};

pub(crate) const REQUEST: u8 = kind::SYSTEM;

/// One that has its hands on its control socket.
struct Peer {
    control: Socket,
    me: Pid,
    /// xorshift64.
    random: u64,
}

impl Peer {
    fn new(seed: u64) -> Peer {
        let me = me(|me| me.self_pid());
        Peer {
            control: raw::control(),
            me,
            random: seed.wrapping_mul(2).wrapping_add(1),
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random() % limit as u64).unwrap()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random().to_le_bytes()[0]).collect()
    }

    /// A name that may be of anybody.
    fn pid(&mut self) -> Pid {
        let near = self.random() % 4;
        match self.random() % 4 {
            0 => Pid {
                serial: 1000 + near,
                ..self.me
            },
            1 => Pid {
                incarnation: self.me.incarnation.wrapping_add(1),
                serial: near,
                ..self.me
            },
            2 => Pid {
                node: 1,
                serial: near,
                ..self.me
            },
            _ => Pid {
                serial: u64::MAX - near,
                ..self.me
            },
        }
    }

    fn send(&self, datagram: &[u8]) {
        self.send_with(datagram, &[]);
    }

    fn send_with(&self, datagram: &[u8], fds: &[BorrowedFd<'_>]) {
        self.control
            .send(&[IoSlice::new(datagram)], fds, Deadline::Never)
            .unwrap();
    }

    fn ask(&self, request: &Request) {
        crate::say(&self.control, request);
    }

    /// A request that is well made, and makes no sense.
    fn nonsense(&mut self) -> Request {
        let (id, number) = (self.random(), self.random() % 3);
        match self.random() % 6 {
            0 => Request::Monitor {
                number,
                target: self.pid(),
            },
            1 => Request::Demonitor { id, number },
            2 => Request::Connect {
                id: 0,
                to: self.pid(),
                standing: self.standing(),
            },
            3 => Request::OsPid {
                id,
                pid: self.pid(),
            },
            4 => Request::Kill {
                id,
                pid: self.pid(),
            },
            _ => {
                let name = "é".repeat(self.below(2000));
                let args = self.below(100);
                Request::Spawn {
                    id,
                    monitor: Some(number),
                    wanted: Box::new(Wanted {
                        function: self.random(),
                        name: name.clone(),
                        args: Bytes(self.bytes(args)),
                        blob: self.random().is_multiple_of(2).then(|| self.random()),
                        plan: self.random() % 200,
                        given: self.random() as u32 % 3,
                        with_args: u32::from(self.random().is_multiple_of(8)),
                        keep_stdin: true,
                        care: self.care(name),
                    }),
                }
            }
        }
    }

    /// Something to be seen to. Not a grace: the system would end when that is over, and each test with it.
    fn care(&mut self, label: String) -> Care {
        Care {
            label: Some(label),
            executes: self.random().is_multiple_of(2),
            stderr_at: self
                .random()
                .is_multiple_of(4)
                .then(|| self.random() as u32),
            ..Care::default()
        }
    }

    fn standing(&mut self) -> Standing {
        [Standing::New, Standing::Broken, Standing::Missed][self.below(3)]
    }
}

/// A frame, as a datagram.
pub(crate) fn frame<T: Term>(kind: u8, value: &T) -> Vec<u8> {
    let mut payload = Vec::new();
    occ_sck::encode_into(value, &mut payload).unwrap();
    framed(kind, TypeKey::of::<T>(), &payload)
}

fn framed(kind: u8, key: TypeKey, payload: &[u8]) -> Vec<u8> {
    let total = payload.len() as u64;
    let header = Header {
        kind,
        flags: 0,
        name_len: 0,
        id: 0,
        part: 0,
        parts: 1,
        total,
        key,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A memory file of this length that takes no memory.
fn hollow(len: u64, sealed: bool) -> OwnedFd {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let fd = memfd_create("hollow", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    if sealed {
        fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW).unwrap();
    }
    fd
}

/// A frame whose payload is in a memory file.
pub(crate) fn in_blob<T: 'static>(kind: u8, total: u64) -> Vec<u8> {
    let key = TypeKey::of::<T>();
    let header = Header {
        kind,
        flags: 1,
        name_len: 0,
        id: 0,
        part: 0,
        parts: 1,
        total,
        key,
    };
    header.to_bytes().to_vec()
}

/// What one does, in words and in deed.
type Act = (&'static str, fn(&mut Peer));

const ACTS: &[Act] = &[
    ("sends garbage", |peer| {
        for _ in 0..2000 {
            let len = 1 + peer.below(300);
            let bytes = peer.bytes(len);
            peer.send(&bytes);
        }
    }),
    ("sends nothing at all, often", |peer| {
        for _ in 0..100 {
            // Newer kernels refuse it.
            let _ = peer
                .control
                .send(&[IoSlice::new(&[])], &[], Deadline::Never);
        }
    }),
    ("cuts a request short, at every length", |peer| {
        let whole = frame(REQUEST, &Request::Processes { id: 1 });
        for len in 1..whole.len() {
            peer.send(&whole[..len]);
        }
    }),
    ("makes a request longer than it says", |peer| {
        let mut whole = frame(REQUEST, &Request::Processes { id: 1 });
        for _ in 0..100 {
            whole.push(0);
            peer.send(&whole);
        }
    }),
    ("sends what is longer than a datagram may be", |peer| {
        for len in [
            MAX_DATAGRAM + 1,
            MAX_DATAGRAM + 2,
            2 * MAX_DATAGRAM,
            190_000,
        ] {
            let mut whole = frame(REQUEST, &Request::Processes { id: 1 });
            whole.resize(len, 0);
            peer.send(&whole);
        }
    }),
    ("claims sizes and parts that cannot be", |peer| {
        for (part, parts, total) in [
            (0, 1, u64::MAX),
            (0, u32::MAX, u64::MAX),
            (5, 1, 0),
            (0, 0, 0),
            (1, 2, 70_000),
            (0, 2, 70_000),
        ] {
            for kind in [REQUEST, VALUE] {
                let key = TypeKey::of::<Request>();
                let header = Header {
                    kind,
                    flags: 0,
                    name_len: 0,
                    id: 0,
                    part,
                    parts,
                    total,
                    key,
                };
                peer.send(&header.to_bytes());
                peer.send(&[&header.to_bytes()[..], &[0; 65_536]].concat());
            }
        }
    }),
    (
        "uses every kind of frame that there is but for reports",
        |peer| {
            for kind in (0..=255).filter(|kind| !(VALUE..=PANIC).contains(kind)) {
                for len in [0, 1, 16, 100] {
                    let payload = peer.bytes(len);
                    peer.send(&framed(kind, TypeKey::of::<Request>(), &payload));
                    peer.send(&framed(kind, TypeKey::of::<()>(), &payload));
                }
            }
        },
    ),
    ("says its first word again, and a failure to fork", |peer| {
        peer.send(&frame(HELLO, &77_u64));
        peer.send(&frame(FORK_FAILED, &12_i32));
        peer.send(&frame(WHICH, &(peer.me.serial, Some(1_u32))));
    }),
    ("makes requests out of random bytes", |peer| {
        for _ in 0..3000 {
            let len = peer.below(60);
            let payload = peer.bytes(len);
            peer.send(&framed(REQUEST, TypeKey::of::<Request>(), &payload));
        }
    }),
    ("makes random requests", |peer| {
        for _ in 0..300 {
            let request = peer.nonsense();
            peer.ask(&request);
        }
    }),
    ("asks for a function that is none", |peer| {
        for function in [0, 1, 8, 4096, u64::MAX] {
            for executes in [false, true] {
                let mut wanted = Wanted {
                    function,
                    keep_stdin: true,
                    ..Wanted::default()
                };
                wanted.care.executes = executes;
                peer.ask(&Request::Spawn {
                    id: 1,
                    monitor: None,
                    wanted: Box::new(wanted),
                });
            }
        }
    }),
    ("uses one number for many monitors", |peer| {
        let own = peer.me;
        for serial in [own.serial, own.serial, 1, 99, own.serial] {
            peer.ask(&Request::Monitor {
                number: 5,
                target: Pid { serial, ..own },
            });
        }
        for _ in 0..3 {
            peer.ask(&Request::Demonitor { id: 1, number: 5 });
        }
    }),
    ("sends descriptors that are no memory files", |peer| {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let request = frame(REQUEST, &a_spawn(1, None, Some(10)));
        for fd in [reader.as_fd(), writer.as_fd(), peer.control.as_fd()] {
            peer.send_with(&request, &[fd]);
            peer.send_with(&frame(REQUEST, &Request::Processes { id: 1 }), &[fd, fd]);
            peer.send_with(&in_blob::<Request>(REQUEST, 10), &[fd]);
            peer.send_with(&in_blob::<()>(VALUE, 10), &[fd]);
        }
        peer.send(&request);
        peer.send(&in_blob::<Request>(REQUEST, 10));
    }),
    ("sends memory files that are not what it says", |peer| {
        for (len, sealed) in [(10, false), (9, true), (11, true), (0, true)] {
            let fd = hollow(len, sealed);
            peer.send_with(&frame(REQUEST, &a_spawn(1, None, Some(10))), &[fd.as_fd()]);
            peer.send_with(&in_blob::<()>(VALUE, 10), &[fd.as_fd()]);
        }
    }),
    ("sends a request of four gigabytes", |peer| {
        let fd = hollow(4 << 30, true);
        for _ in 0..20 {
            peer.send_with(&in_blob::<Request>(REQUEST, 4 << 30), &[fd.as_fd()]);
        }
    }),
    (
        "sends as many descriptors as go into a datagram, with a report, often",
        |peer| {
            let fds = vec![peer.control.as_fd(); 253];
            for _ in 0..200 {
                peer.send_with(&frame(VALUE, &()), &fds);
                peer.send_with(b"x", &fds);
            }
        },
    ),
    (
        "wants connections that make no sense, over and over",
        |peer| {
            let own = peer.me;
            for serial in [1, 1, own.serial, 0, 99] {
                for standing in [Standing::New, Standing::Missed, Standing::Broken] {
                    for _ in 0..20 {
                        peer.ask(&Request::Connect {
                            id: 0,
                            to: Pid { serial, ..own },
                            standing,
                        });
                    }
                }
            }
        },
    ),
];

/// The function of one that does something of [`ACTS`], and then ends as any other.
fn behave(act: usize, seed: u64) -> usize {
    let mut peer = Peer::new(seed);
    ACTS[act].1(&mut peer);
    act
}

/// What one sends cannot be told from what it did not send, so all that is told of it is its end: and that is
/// as it was.
#[test]
fn whatever_a_process_sends_the_others_are_served_and_its_end_is_told() {
    isolated!(|| {
        let mut system = system();
        for seed in 0..stress::times(3) as u64 {
            for (act, (name, _)) in ACTS.iter().enumerate() {
                let process = system.process();
                let (_, monitor) = process.spawn_monitor(behave, (act, seed)).unwrap();
                let reason = reason(process, monitor);
                let ended = matches!(reason, ExitReason::Value(_));
                assert!(ended, "one that {name}, seed {seed}: {reason}");
                assert_eq!(value::<usize>(&reason), act);
                assert_works(process);
            }
        }
        assert_comes_to_rest(&system);
        system.stop();
    });
}

/// The same, all at once, while others talk.
#[test]
fn many_such_processes_at_once_disturb_nobody() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let ends: Vec<_> = (0..ACTS.len())
            .map(|act| process.spawn_monitor(behave, (act, 100)).unwrap())
            .collect();
        for _ in 0..20 {
            assert_works(process);
        }
        for (act, (_, monitor)) in ends.into_iter().enumerate() {
            assert_eq!(
                value::<usize>(&reason(process, monitor)),
                act,
                "{}",
                ACTS[act].0
            );
        }
        system.stop();
    });
}

// ---- one that ends in the middle of an exchange ----

fn own_requests(me: Pid) -> Vec<Request> {
    let host = Pid { serial: 1, ..me };
    let standing = Standing::New;
    vec![
        a_spawn(1, None, None),
        Request::Monitor {
            number: 1,
            target: host,
        },
        Request::Monitor {
            number: 2,
            target: me,
        },
        Request::Demonitor { id: 1, number: 1 },
        Request::Connect {
            id: 0,
            to: host,
            standing,
        },
        Request::Connect {
            id: 0,
            to: host,
            standing: Standing::Missed,
        },
        Request::Connect {
            id: 0,
            to: host,
            standing: Standing::Broken,
        },
        Request::Processes { id: 2 },
        Request::OsPid { id: 3, pid: me },
        Request::Kill { id: 4, pid: me },
    ]
}

/// The function of one that asks for something and is gone before the answer.
fn ask_and_die(which: usize) {
    let peer = Peer::new(0);
    peer.ask(&own_requests(peer.me)[which]);
    raw::die_by(libc::SIGKILL);
}

#[test]
fn one_that_dies_right_after_a_request_is_told_of_and_the_others_are_served() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let requests = own_requests(process.self_pid()).len();
        for _ in 0..stress::times(5) {
            for which in 0..requests {
                let (_, monitor) = process.spawn_monitor(ask_and_die, (which,)).unwrap();
                assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
                assert_works(process);
            }
        }
        system.stop();
    });
}

/// The function of one that has just asked the system to make a process whose first line is never reached.
fn spawn_and_die() {
    let _ = me(|me| me.spawn_monitor(spawn_and_die_by_another, ()));
    raw::die_by(libc::SIGKILL);
}

fn spawn_and_die_by_another() {
    // Whoever watches this one has died, or is about to.
    raw::die_by(libc::SIGKILL);
}

/// The process that one asked for just before it died lives its own life: nobody told it to end, so that is no
/// leak, and it is listed.
#[test]
fn what_one_asked_for_before_it_died_is_a_process_like_any_other() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(50) {
            let (_, monitor) = process.spawn_monitor(spawn_and_die, ()).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        }
        // All of them end, and nobody waits for them.
        within(LIMIT, || while process.processes().unwrap().len() > 1 {});
        system.stop();
    });
}

// ---- one that asks and does not listen ----

/// What can be asked for without end, and is answered.
fn endless(which: usize, me: Pid) -> Request {
    let nobody = Pid {
        serial: u64::MAX,
        ..me
    };
    let standing = Standing::Missed;
    match which {
        0 => Request::Processes { id: 1 },
        1 => Request::Monitor {
            number: 1,
            target: nobody,
        },
        2 => Request::Connect {
            id: 0,
            to: nobody,
            standing,
        },
        3 => Request::Demonitor { id: 1, number: 1 },
        4 => a_spawn(1, None, Some(1)),
        _ => unreachable!(),
    }
}

const ENDLESS: usize = 5;

/// Asks until the coordinator has stopped reading. What it has been asked then is not much.
fn flood(which: usize) -> Peer {
    let peer = Peer::new(0);
    let packet = Packet::of(REQUEST, &endless(which, peer.me)).unwrap();
    let mut asked = 0;
    let patience = Deadline::after(std::time::Duration::from_millis(300));
    loop {
        let deadline = if asked < 1000 {
            Deadline::Never
        } else {
            patience
        };
        match packet.send_part(0, &peer.control, &[], deadline) {
            Ok(()) => asked += 1,
            Err(SendError::Full) => return peer,
            Err(error) => panic!("{error}"),
        }
        assert!(asked < 50_000, "the coordinator takes everything");
    }
}

/// How one goes on that has flooded the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Then {
    /// It stays, and does not listen.
    Stays,
    /// It hangs up, and stays.
    HangsUp,
    /// It listens after all, and is served.
    Listens,
    /// It ends.
    Ends,
}

/// Fetches every answer; how many there were.
fn catch_up(control: &Socket) -> u64 {
    let last = Packet::of(
        REQUEST,
        &Request::Demonitor {
            id: u64::MAX,
            number: 0,
        },
    )
    .unwrap();
    let mut asked = false;
    let mut answers = 0;
    loop {
        asked = asked || last.send_part(0, control, &[], Deadline::Now).is_ok();
        answers += 1;
        if let Ok(Reply::Done { id: u64::MAX }) = hear(control).decode() {
            return answers;
        }
    }
}

fn flood_and_then(which: usize, then: Then, ready: String) -> u64 {
    let peer = flood(which);
    let say = || Say::open(&ready).ready();
    match then {
        Then::Stays => {
            say();
            raw::stay()
        }
        Then::HangsUp => {
            rustix::net::shutdown(&peer.control, Shutdown::Both).unwrap();
            say();
            raw::stay()
        }
        Then::Listens => {
            say();
            catch_up(&peer.control)
        }
        Then::Ends => {
            say();
            raw::exit_now(3)
        }
    }
}

/// OC-4.
#[test]
fn one_that_asks_and_does_not_listen_is_not_read_and_costs_the_others_nothing() {
    isolated!(|| {
        let mut system = system();
        for which in 0..ENDLESS {
            for then in [Then::Stays, Then::HangsUp, Then::Listens, Then::Ends] {
                let process = system.process();
                let (ready, say) = Ready::new();
                let args = (which, then, say.address());
                let (pid, monitor) = process.spawn_monitor(flood_and_then, args).unwrap();
                ready.wait(LIMIT);
                assert_works(process);
                match then {
                    Then::Listens => {
                        assert!(value::<u64>(&reason(process, monitor)) > 1000);
                    }
                    Then::Ends => assert_eq!(code(&reason(process, monitor)), 3),
                    Then::Stays | Then::HangsUp => {
                        assert_comes_to_rest(&system);
                        let process = system.process();
                        process.kill(pid).unwrap();
                        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
                    }
                }
            }
        }
        assert_comes_to_rest(&system);
        system.stop();
    });
}

// ---- one whose peer asks for connections ----

/// The function of one that wants a connection again and again with one that does not look.
fn court(whom: Pid) {
    let peer = Peer::new(0);
    let packet = Packet::of(
        REQUEST,
        &Request::Connect {
            id: 0,
            to: whom,
            standing: Standing::Missed,
        },
    )
    .unwrap();
    for _ in 0..60_000 {
        packet
            .send_part(0, &peer.control, &[], Deadline::Never)
            .unwrap();
        while let Ok(Received::Datagram { .. }) =
            peer.control
                .receive(&mut [0; MAX_DATAGRAM], &mut Vec::new(), Deadline::Now)
        {}
    }
}

fn memory_of(os_pid: OsPid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{os_pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn what_one_does_not_fetch_of_others_wishes_does_not_grow() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let (pid, monitor) = process.spawn_monitor(crate::stay, ()).unwrap();
        let (before, open) = (memory_of(coordinator), open_files(coordinator));
        let (_, courting) = process.spawn_monitor(court, (pid,)).unwrap();
        value::<()>(&reason(process, courting));
        assert!(
            memory_of(coordinator) < before + 2048,
            "{} kB",
            memory_of(coordinator)
        );
        assert!(open_files(coordinator) < open + 10);
        process.kill(pid).unwrap();
        assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        assert_works(process);
        system.stop();
    });
}

pub(crate) fn open_files(os_pid: OsPid) -> usize {
    std::fs::read_dir(format!("/proc/{os_pid}/fd"))
        .unwrap()
        .count()
}

/// What came with a value is kept as long as the value is: until another takes its place, or the process ends. No other
/// report has any.
#[test]
fn descriptors_that_come_with_a_report_are_closed_with_it() {
    const LAST: usize = 3;
    fn hoard(witness: Pid) {
        let peer = Peer::new(0);
        let many = vec![peer.control.as_fd(); 253];
        peer.send_with(&frame(VALUE, &()), &many);
        peer.send_with(&frame(VALUE, &()), &many[..LAST]);
        peer.send_with(&frame(PANIC, &()), &many);
        peer.ask(&Request::Kill {
            id: 0,
            pid: witness,
        });
        raw::stay()
    }
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator();
        let process = system.process();
        let mut hoarders = Vec::new();
        for _ in 0..10 {
            let (witness, killed) = process.spawn_monitor(crate::stay, ()).unwrap();
            hoarders.push(process.spawn_monitor(hoard, (witness,)).unwrap());
            reason(process, killed);
        }
        let open = open_files(coordinator);
        assert!((10 * LAST..40 + 10 * LAST).contains(&open), "{open}");
        for (hoarder, monitor) in hoarders {
            process.kill(hoarder).unwrap();
            assert_eq!(signal(&reason(process, monitor)), libc::SIGKILL);
        }
        assert!(open_files(coordinator) < 30);
        system.stop();
    });
}

// ---- the host ----

/// The host's own socket is as far from the coordinator as any other.
#[test]
fn the_host_can_be_told_of_more_ends_than_it_fetches() {
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let nobody = Pid {
            serial: 1 << 40,
            ..process.self_pid()
        };
        let mut monitors: HashSet<_> = within(LIMIT, || {
            (0..20_000)
                .map(|_| process.monitor(nobody).unwrap())
                .collect()
        });
        while !monitors.is_empty() {
            let down: Down = within(LIMIT, || process.receive().unwrap());
            assert!(matches!(down.reason, ExitReason::NoProcess));
            assert!(monitors.remove(&down.monitor));
        }
        // Each came once.
        assert!(process.processes().is_ok());
        assert!(process.inbox().unwrap().is_empty());
        system.stop();
    });
}

/// A process may say of itself what it likes, and the last word counts; but not more than the kernel confirms.
#[test]
fn a_report_sent_early_is_no_end_and_the_kernel_has_the_last_word() {
    fn forge_and_exit(how: i32) {
        Peer::new(0).send(&frame(VALUE, &"forged".to_owned()));
        match how {
            0 => {}
            1 => raw::exit_now(0),
            2 => raw::exit_now(5),
            _ => raw::die_by(libc::SIGTERM),
        }
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let mut end = |how: i32| {
            let (_, monitor) = process.spawn_monitor(forge_and_exit, (how,)).unwrap();
            reason(process, monitor)
        };
        value::<()>(&end(0));
        assert_eq!(value::<String>(&end(1)), "forged");
        assert_eq!(code(&end(2)), 5);
        assert_eq!(signal(&end(3)), libc::SIGTERM);
        system.stop();
    });
}

#[test]
fn nobody_kills_the_host() {
    fn kill_host(host: Pid) -> bool {
        matches!(me(|me| me.kill(host)), Err(SystemError::IsHost { .. }))
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        let host = process.self_pid();
        let (_, monitor) = process.spawn_monitor(kill_host, (host,)).unwrap();
        assert!(value::<bool>(&reason(process, monitor)));
        assert_works(process);
        system.stop();
    });
}

/// A datagram without a byte looks like the end of one that has died, and what stands behind it is the last word.
#[test]
fn empty_datagrams_do_not_hide_the_last_word() {
    fn forge_and_send_nothing() -> u64 {
        let peer = Peer::new(0);
        peer.send(&frame(VALUE, &"forged".to_owned()));
        for _ in 0..3 {
            let _ = rustix::net::send(&peer.control, b"", rustix::net::SendFlags::empty());
        }
        7
    }
    isolated!(|| {
        let mut system = system();
        let process = system.process();
        for _ in 0..stress::times(300) {
            let (_, monitor) = process.spawn_monitor(forge_and_send_nothing, ()).unwrap();
            assert_eq!(value::<u64>(&reason(process, monitor)), 7);
        }
        system.stop();
    });
}
