//! Behaviour of occ-core, one module a subject.
#![cfg(test)]

mod at_rest;
mod connecting;
mod containment;
mod deaths;
mod ending;
mod exes;
mod fallbacks;
mod faults;
mod fds_in_values;
mod first_word;
mod forks;
mod hostile;
mod in_flight;
mod killed;
mod levels;
mod limits;
mod monitors;
mod raw;
mod regression;
mod spares;
mod spawning;
mod starting;
mod stopped;
mod unread;
mod with_yeshup;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use occ_core::protocol::{Request, Wanted};
use occ_core::{Down, ExitReason, MonitorRef, Pid, Process, System, SystemBuilder, Term, current};
use occ_sck::{Assembler, Deadline, Envelope, Limits, MAX_DATAGRAM, Received, Socket};
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, Signal, tree, within};
use rustix::pipe::{PipeFlags, pipe_with};

/// A system that keeps abnormal exits to itself.
fn system() -> System {
    SystemBuilder::new()
        .on_abnormal_exit(|_| ())
        .start()
        .unwrap()
}

/// Does something as the process that calls.
fn me<R>(act: impl FnOnce(&mut Process) -> R) -> R {
    current::with(act).unwrap()
}

/// The function of a process that answers.
fn echo() -> anyhow::Result<()> {
    loop {
        let (from, number): (Pid, u64) = me(Process::receive)?;
        me(|me| me.send(from, &number))?;
    }
}

/// The function of a process that stays.
fn stay() {
    raw::stay()
}

/// The function of a process that ends when nobody holds the other end of this pipe any more.
fn wait(gate: String) {
    let mut gate = File::open(gate).unwrap();
    assert_eq!(gate.read(&mut [0]).unwrap(), 0);
}

/// Asks a process that answers, and gets an answer that is newer than the question.
fn ping(me: &mut Process, to: Pid) {
    me.send(to, &(me.self_pid(), 7_u64)).unwrap();
    assert_eq!(within(LIMIT, || me.receive::<u64>().unwrap()), 7);
}

fn down(me: &mut Process, monitor: MonitorRef) -> Down {
    let inbox = me.inbox().unwrap();
    within(LIMIT, || {
        inbox
            .receive_where(|down: &Down| down.monitor == monitor)
            .unwrap()
    })
}

/// Waits for the end of one process, and gives its reason.
fn reason(me: &mut Process, monitor: MonitorRef) -> ExitReason {
    down(me, monitor).reason
}

#[track_caller]
fn value<T: Term>(reason: &ExitReason) -> T {
    let ExitReason::Value(value) = reason else {
        panic!("it {reason}")
    };
    value.get().unwrap()
}

#[track_caller]
fn signal(reason: &ExitReason) -> i32 {
    let ExitReason::Signal(signal) = reason else {
        panic!("it {reason}")
    };
    signal.number()
}

#[track_caller]
fn code(reason: &ExitReason) -> i32 {
    let ExitReason::Code(code) = reason else {
        panic!("it {reason}")
    };
    *code
}

/// Everything still goes on: a process can be made, talks, is listed, can be killed, and is told of.
#[track_caller]
fn assert_works(me: &mut Process) {
    within(LIMIT, || {
        let (pid, monitor) = me.spawn_monitor(echo, ()).unwrap();
        ping(me, pid);
        assert!(
            me.processes()
                .unwrap()
                .iter()
                .any(|process| process.pid == pid)
        );
        me.kill(pid).unwrap();
        assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
        assert!(
            !me.processes()
                .unwrap()
                .iter()
                .any(|process| process.pid == pid)
        );
    });
}

/// Nobody asks the coordinator for anything, so it has to come to rest.
fn assert_comes_to_rest(system: &System) {
    let coordinator = system.coordinator().get();
    within(LIMIT, || {
        // Once might be a pause on its way.
        let mut at_rest = 0;
        while at_rest < 100 {
            at_rest = if is_asleep(coordinator) {
                at_rest + 1
            } else {
                0
            };
        }
    });
}

/// Whether a thread waits for something.
fn is_asleep(thread: u32) -> bool {
    std::thread::yield_now();
    Stat::of(thread).unwrap().state == 'S'
}

/// The zygote of a system that has made no process yet.
fn zygote(system: &System) -> u32 {
    let children = tree::children(system.coordinator().get());
    let [zygote] = children[..] else {
        panic!("expected the zygote alone: {children:?}")
    };
    zygote
}

fn os_pid(me: &mut Process, pid: Pid) -> u32 {
    me.os_pid(pid).unwrap().get()
}

/// A pipe that processes can wait at: see [`wait`].
struct Gate {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// A gate that is open: whoever comes to it does not wait.
#[expect(dead_code, reason = "is kept for those who come late")]
struct Open(OwnedFd);

impl Gate {
    fn new() -> Gate {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        Gate { reader, writer }
    }

    fn address(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.reader.as_raw_fd()
        )
    }

    #[must_use]
    fn open(self) -> Open {
        drop(self.writer);
        Open(self.reader)
    }
}

/// Kills whoever has this OS pid, if there is such a process.
fn try_kill(os_pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(os_pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// How many short datagrams the kernel holds for a socket that nobody reads.
fn room() -> u64 {
    let (a, _b) = Socket::pair().unwrap();
    let short = std::io::IoSlice::new(&[0; 100]);
    (0..)
        .find(|_| a.send(&[short], &[], Deadline::Now).is_err())
        .unwrap()
}

/// What a process says to the coordinator, when it does not go through its [`Process`].
fn say(control: &Socket, request: &Request) {
    let packet = occ_sck::Packet::of(hostile::REQUEST, request).unwrap();
    packet.send_part(0, control, &[], Deadline::Never).unwrap();
}

/// What the coordinator says next.
fn hear(control: &Socket) -> Envelope {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut fds = Vec::new();
    let received = control.receive(&mut buffer, &mut fds, Deadline::Never);
    let Ok(Received::Datagram { len, .. }) = received else {
        panic!("{received:?}")
    };
    let envelope = Assembler::new(Limits::default()).push(&buffer[..len], fds);
    envelope.unwrap().unwrap()
}

/// A request for a process that has no function to run: it says its first word, and ends with an error.
fn a_spawn(id: u64, monitor: Option<u64>, blob: Option<u64>) -> Request {
    Request::Spawn {
        id,
        monitor,
        wanted: Box::new(Wanted {
            name: "f".to_owned(),
            blob,
            ..Wanted::default()
        }),
    }
}
