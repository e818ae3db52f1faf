//! What is heard on the control socket of a process that has not begun: its first word, once, and of itself alone.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Barrier;

use occ_core::{Builder, MonitorRef, Pid, Process, SpawnError, System};
use occ_sck::{Blob, Deadline, Received, Socket};
use occ_spawn::entry::kind::{FORK_FAILED, HELLO, NOT_BEGUN};
use occ_spawn::{NotBegun, Step};
use occ_test_support::alive::alive;
use occ_test_support::dead::gone;
use occ_test_support::{LIMIT, isolated, skipped, tree, within};

use crate::faults::held_socket::{Slow, descriptor_of, one_that_waits};
use crate::hostile::{frame, in_blob};
use crate::{assert_works, down, echo, os_pid, ping, raw, reason, signal, system, value};

/// Where a speaker has its line to the test.
const LINE: i32 = 5;

/// Somebody who says what the test wants said, on the socket that the test has got hold of.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Who {
    Nobody,
    /// The test: no child of the coordinator's.
    Host,
    /// A process of the system.
    Process,
    /// A fork of that: a child of its own.
    Fork,
    /// One whose parent has ended: a child of the coordinator's by now, and nobody in particular.
    Orphan,
}

/// A word on its way: the bytes, and the memory file that they are about.
struct Word {
    bytes: Vec<u8>,
    blob: Option<Blob>,
}

fn word(bytes: Vec<u8>) -> Word {
    Word { bytes, blob: None }
}

fn a_failure() -> NotBegun {
    let what = "with words".to_owned();
    let (step, errno) = (Step::Orders, libc::EPERM);
    NotBegun { step, what, errno }
}

/// The function of a process that speaks itself, or lets another.
fn speaks(who: Who, coordinator: u32) {
    let line = raw::given(LINE);
    match who {
        Who::Fork => {
            if let Some(fork) = raw::fork() {
                raw::wait_for(fork);
                raw::stay();
            }
            pass_on(&line);
            raw::exit_now(0);
        }
        Who::Orphan => {
            if let Some(fork) = raw::fork() {
                raw::wait_for(fork);
                raw::stay();
            }
            if raw::fork().is_some() {
                raw::exit_now(0);
            }
            while std::os::unix::process::parent_id() != coordinator {
                std::thread::yield_now();
            }
        }
        _ => {}
    }
    loop {
        pass_on(&line);
    }
}

/// Passes on what comes on the line with the socket that it is for; before that it says who it is, and then that it has.
fn pass_on(line: &Socket) {
    let (mut bytes, mut fds) = (vec![0; 4096], Vec::new());
    let received = line.receive(&mut bytes, &mut fds, Deadline::Never);
    let Ok(Received::Datagram { len, .. }) = received else {
        raw::exit_now(0);
    };
    let rest = fds.split_off(1);
    let socket = Socket::from(fds.remove(0));
    send(line, &std::process::id().to_ne_bytes(), []);
    send(&socket, &bytes[..len], rest.iter().map(AsFd::as_fd));
    send(line, b"said", []);
}

fn send<'a>(to: &Socket, bytes: &[u8], fds: impl IntoIterator<Item = BorrowedFd<'a>>) {
    let fds: Vec<_> = fds.into_iter().collect();
    to.send(&[IoSlice::new(bytes)], &fds, Deadline::Never)
        .unwrap();
}

struct Speaker {
    who: Who,
    line: Socket,
    made: Option<(Pid, MonitorRef)>,
}

impl Speaker {
    fn new(system: &mut System, who: Who) -> Speaker {
        let coordinator = system.coordinator().get();
        let (line, theirs) = Socket::pair().unwrap();
        let builder = Builder::new().fd(LINE, OwnedFd::from(theirs));
        let made = (!matches!(who, Who::Nobody | Who::Host)).then(|| {
            let me = system.process();
            me.spawn_monitor_with(&builder, speaks, (who, coordinator))
                .unwrap()
        });
        Speaker { who, line, made }
    }

    /// Lets it be said; who has.
    fn say(&self, word: &Word, on: &Socket) -> u32 {
        let blob = word.blob.iter().map(Blob::as_fd);
        match self.who {
            Who::Nobody => return 0,
            Who::Host => {
                send(on, &word.bytes, blob);
                return std::process::id();
            }
            _ => {}
        }
        send(
            &self.line,
            &word.bytes,
            std::iter::once(on.as_fd()).chain(blob),
        );
        let mut answer = [0; 4];
        let heard = (self.line).receive(&mut answer, &mut Vec::new(), Deadline::after(LIMIT));
        assert!(matches!(heard, Ok(Received::Datagram { len: 4, .. })));
        let os_pid = u32::from_ne_bytes(answer);
        // It may have been the last that it said.
        let has_said = || {
            let heard = (self.line).receive(&mut [0; 4], &mut Vec::new(), Deadline::Now);
            matches!(heard, Ok(Received::Datagram { .. }))
        };
        within(LIMIT, || while !has_said() && alive(os_pid) {});
        os_pid
    }

    fn end(self, me: &mut Process) {
        if let Some((pid, monitor)) = self.made {
            me.kill(pid).unwrap();
            assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
        }
    }
}

/// The control socket of a process that has just been forked and has not run. Its zygote's is 3.
fn control_of(child: u32) -> Option<Socket> {
    let fds = format!("/proc/{child}/fd");
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<i32>().ok();
    let is_socket = |number: &i32| {
        let target = std::fs::read_link(format!("{fds}/{number}")).unwrap();
        target.to_string_lossy().starts_with("socket:")
    };
    let entries = std::fs::read_dir(&fds).unwrap();
    let numbers = entries.filter_map(|entry| number(entry.unwrap()));
    let sockets: Vec<_> = numbers.filter(|n| *n > 3).filter(is_socket).collect();
    let [socket] = sockets[..] else {
        panic!("expected one socket besides the zygote's: {sockets:?}")
    };
    descriptor_of(child, socket).map(Socket::from)
}

/// A spawn over whose child, before that says anything, somebody else says something on its control socket. What became of
/// it, who the child was, and who spoke.
#[expect(clippy::type_complexity, reason = "it is taken apart at once")]
fn spawn_while(
    system: &mut System,
    speaker: &Speaker,
    word: &Word,
) -> Option<(Result<(Pid, MonitorRef), SpawnError>, u32, u32)> {
    // An orphan is a child of the coordinator's, too, and the zygote has its name a little later than it is there.
    let coordinator = system.coordinator().get();
    let zygote = within(LIMIT, || {
        loop {
            let mut children = tree::children(coordinator).into_iter();
            if let Some(zygote) = children.find(|child| comm(*child) == "occ-zygote") {
                return zygote;
            }
        }
    });
    let me = system.process();
    let go = Barrier::new(2);
    std::thread::scope(|scope| {
        let tracer = scope.spawn(|| {
            let tracer = raw::Tracer::of(zygote);
            go.wait();
            let child = tracer?.next_fork();
            let control = control_of(child);
            let spoke = control.as_ref().map(|control| speaker.say(word, control));
            drop(control);
            raw::Tracer::release(child);
            raw::Tracer::release(zygote);
            spoke.map(|spoke| (child, spoke))
        });
        go.wait();
        let made = within(LIMIT, || me.spawn_monitor(echo, ()));
        let (child, spoke) = tracer.join().unwrap()?;
        Some((made, child, spoke))
    })
}

const NO_PTRACE: &str = "ptrace(2) is not allowed, or the descriptors of a child may not be taken";

#[test]
fn a_first_word_is_heard_of_the_process_itself_alone() {
    // A system that took somebody else for the process might not even stop.
    isolated!(|| within(4 * LIMIT, || {
        let mut system = system();
        let words = || {
            [
                word(frame(HELLO, &77_u64)),
                word(frame(NOT_BEGUN, &a_failure())),
                word(frame(FORK_FAILED, &libc::EAGAIN)),
            ]
        };
        for who in [Who::Nobody, Who::Host, Who::Process, Who::Fork] {
            for (number, word) in words().iter().enumerate() {
                let speaker = Speaker::new(&mut system, who);
                let Some((made, child, _)) = spawn_while(&mut system, &speaker, word) else {
                    system.stop();
                    return skipped(NO_PTRACE);
                };
                let me = system.process();
                let (pid, monitor) = made.unwrap_or_else(|e| panic!("{who:?}, {number}: {e}"));
                assert_eq!(os_pid(me, pid), child, "{who:?}, word {number}");
                ping(me, pid);
                me.kill(pid).unwrap();
                assert_eq!(signal(&reason(me, monitor)), libc::SIGKILL);
                speaker.end(me);
                assert_works(me);
            }
        }
        system.stop();
    }));
}

/// For all that the coordinator knows an orphan may be the new process.
#[test]
fn one_that_says_that_it_could_not_begin_and_does_not_end_is_ended() {
    isolated!(|| {
        let mut system = system();
        let speaker = Speaker::new(&mut system, Who::Orphan);
        let failure = word(frame(NOT_BEGUN, &a_failure()));
        let Some((made, _, spoke)) = spawn_while(&mut system, &speaker, &failure) else {
            system.stop();
            return skipped(NO_PTRACE);
        };
        let error = made.unwrap_err().to_string();
        assert_eq!(error, "the process could not read its orders with words");
        gone(spoke, LIMIT);
        let me = system.process();
        speaker.end(me);
        assert_works(me);
        assert_eq!(me.processes().unwrap().len(), 1);
        system.stop();
    });
}

/// The counterpart: what the coordinator would have to read from a memory file, which may be of any length, it does not hear.
#[test]
fn that_it_could_not_begin_is_not_read_from_a_memory_file() {
    isolated!(|| {
        let mut system = system();
        let speaker = Speaker::new(&mut system, Who::Orphan);
        let mut bytes = Vec::new();
        occ_sck::encode_into(&a_failure(), &mut bytes).unwrap();
        let failure = Word {
            bytes: in_blob::<NotBegun>(NOT_BEGUN, bytes.len() as u64),
            blob: Some(Blob::new(&bytes).unwrap()),
        };
        let Some((made, child, spoke)) = spawn_while(&mut system, &speaker, &failure) else {
            system.stop();
            return skipped(NO_PTRACE);
        };
        let me = system.process();
        let (pid, _) = made.unwrap();
        assert_eq!(os_pid(me, pid), child);
        ping(me, pid);
        assert!(alive(spoke));
        me.kill(pid).unwrap();
        speaker.end(me);
        assert_works(me);
        system.stop();
    });
}

#[test]
fn who_has_said_its_first_word_is_nobody_else_whoever_says_one_after_it() {
    isolated!(|| {
        let mut system = system();
        let coordinator = system.coordinator().get();
        let speaker = Speaker::new(&mut system, Who::Orphan);
        let slow = Slow::new();
        let me = system.process();
        let orphan = within(LIMIT, || orphan_of(me, coordinator));
        let (monitor, waits) = one_that_waits(me, coordinator, &slow);
        let control = descriptor_of(waits, 3).map(Socket::from);
        std::fs::remove_file(&slow.path).unwrap();
        let Some(control) = control else {
            system.stop();
            return skipped(NO_PTRACE);
        };
        for word in [
            word(frame(HELLO, &77_u64)),
            word(frame(NOT_BEGUN, &a_failure())),
        ] {
            assert_eq!(speaker.say(&word, &control), orphan);
        }
        drop(control);
        // Each answer comes after one of them, at the least, has been read.
        for _ in 0..3 {
            me.processes().unwrap();
        }
        // It is not a program yet, and is killed all the same: it, and not the one that spoke.
        let list = me.processes().unwrap();
        let being_made = list.iter().find(|process| process.os_pid.is_none());
        let pid = being_made.unwrap().pid;
        me.kill(pid).unwrap();
        gone(waits, LIMIT);
        let told = down(me, monitor).reason;
        assert_eq!(value::<(Pid, i32)>(&told), (pid, libc::SIGKILL));
        assert!(alive(orphan));
        speaker.end(me);
        gone(orphan, LIMIT);
        system.stop();
    });
}

/// The child of the coordinator's that is neither its zygote nor a process, once it is there.
fn orphan_of(me: &mut Process, coordinator: u32) -> u32 {
    loop {
        let list = me.processes().unwrap();
        let mut others = tree::children(coordinator);
        others.retain(|child| {
            !list
                .iter()
                .any(|one| one.os_pid.is_some_and(|o| o.get() == *child))
        });
        others.retain(|child| comm(*child) != "occ-zygote");
        if let [orphan] = others[..] {
            return orphan;
        }
    }
}

fn comm(os_pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{os_pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}
