//! File descriptors in arguments and in exit values: they arrive, nothing else is open, and each is closed once.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use occ_sck::{Bytes, Channel, Fd, FdError, Limits, Socket};
use occ_spawn::{ExitReason, Options, SpawnError, Spawner, Value, exit, fail};
use occ_test_support::fds::OpenFds;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated, within};
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{end_of, raw, run, send, signal, value};

/// The numbers of what is open here but for the standard streams, in order.
fn open_here() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = entries.map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap().parse().unwrap()
    });
    let mut numbers: Vec<i32> = numbers.filter(|number| *number > 2).collect();
    numbers.sort_unstable();
    // The directory itself, which is closed by now.
    numbers.retain(|number| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok());
    numbers
}

/// The end of a pipe that nobody holds open any more.
#[track_caller]
fn closed(mut reader: PipeReader) {
    let mut rest = Vec::new();
    within(LIMIT, || reader.read_to_end(&mut rest).unwrap());
}

type Given = (Fd<File>, String, Vec<Fd<UnixStream>>, Option<Fd<TcpStream>>);

fn speak(given: Given, padding: Bytes) -> (Vec<i32>, Vec<i32>) {
    let (pipe, text, streams, tcp) = given;
    (&*pipe).write_all(text.as_bytes()).unwrap();
    let mut numbers = vec![pipe.as_raw_fd()];
    for (at, stream) in streams.iter().enumerate() {
        (&**stream).write_all(&[at as u8]).unwrap();
        numbers.push(stream.as_raw_fd());
    }
    if let Some(tcp) = &tcp {
        (&**tcp).write_all(b"tcp").unwrap();
        numbers.push(tcp.as_raw_fd());
    }
    numbers.sort_unstable();
    drop(padding);
    (numbers, open_here())
}

/// In the request itself, and where the arguments are in a memory file.
#[test]
fn descriptors_in_arguments_arrive_and_nothing_else_is_open() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        for padding in [0, 100_000] {
            let before = OpenFds::now();
            let (mut reader, writer) = std::io::pipe().unwrap();
            let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
            let (mut ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let given = (
                Fd(File::from(OwnedFd::from(writer))),
                "words".to_owned(),
                theirs.into_iter().map(Fd).collect(),
                Some(Fd(tcp)),
            );
            let padding = Bytes(vec![0; padding]);
            let exit = end_of(&mut spawner.spawn(speak, (given, padding)).unwrap());
            let (numbers, open): (Vec<i32>, Vec<i32>) = value(&exit);
            // Its control socket, and those.
            assert_eq!(open.len(), 1 + numbers.len(), "{open:?}");
            assert!(numbers.iter().all(|number| open.contains(number)));

            // All are closed in the zygote, too, or there would be no end.
            let mut said = String::new();
            within(LIMIT, || reader.read_to_string(&mut said).unwrap());
            assert_eq!(said, "words");
            for (at, ours) in ours.iter_mut().enumerate() {
                let mut said = Vec::new();
                within(LIMIT, || ours.read_to_end(&mut said).unwrap());
                assert_eq!(said, [at as u8]);
            }
            let mut said = Vec::new();
            within(LIMIT, || {
                listener.accept().unwrap().0.read_to_end(&mut said).unwrap()
            });
            assert_eq!(said, b"tcp");
            drop((reader, ours, listener, exit));
            let changes = before.changes(&OpenFds::now());
            assert!(changes.is_empty(), "{changes:?}");
        }
    });
}

/// As many as the arguments have, and just where those lie when the process begins: behind its control socket at 3 and the
/// eight of the options.
const WANTED: std::ops::Range<i32> = 12..20;

/// What the options ask for does not overwrite what is in the arguments, whatever the numbers.
#[test]
fn descriptors_in_arguments_and_those_of_the_options_are_not_in_each_others_way() {
    fn listen(ends: Vec<Fd<PipeWriter>>) -> anyhow::Result<()> {
        for (at, end) in ends.iter().enumerate() {
            (&**end).write_all(&[at as u8])?;
        }
        for number in WANTED {
            File::from(raw::duplicate(number)).write_all(&[number as u8])?;
        }
        Ok(())
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let pipes = |count| -> (Vec<PipeReader>, Vec<PipeWriter>) {
            (0..count).map(|_| std::io::pipe().unwrap()).unzip()
        };
        let (readers, ends) = pipes(8);
        let (others, given) = pipes(8);
        let numbered = given.into_iter().zip(WANTED);
        let options = numbered.fold(Options::new(), |options, (end, number)| {
            options.fd(number, end)
        });
        let ends: Vec<_> = ends.into_iter().map(Fd).collect();
        let exit = end_of(&mut spawner.spawn_with(&options, listen, (ends,)).unwrap());
        value::<()>(&exit);
        drop(options);
        for (base, readers) in [(0, readers), (WANTED.start as u8, others)] {
            for (at, mut reader) in readers.into_iter().enumerate() {
                let mut said = Vec::new();
                within(LIMIT, || reader.read_to_end(&mut said).unwrap());
                assert_eq!(said, [base + at as u8]);
            }
        }
    });
}

#[test]
fn a_function_with_a_socket_has_descriptors_in_its_arguments_too() {
    fn forward(socket: Socket, end: Fd<PipeWriter>) -> anyhow::Result<()> {
        let mut channel = Channel::new(socket, Limits::default());
        let text: String = channel.receive()?.unwrap_or_default();
        Ok((&*end).write_all(text.as_bytes())?)
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (mut child, socket) = spawner.spawn_with_socket(forward, (Fd(writer),)).unwrap();
        let mut channel = Channel::new(socket, Limits::default());
        channel.send(&"through both".to_owned()).unwrap();
        value::<()>(&end_of(&mut child));
        let mut said = String::new();
        within(LIMIT, || reader.read_to_string(&mut said).unwrap());
        assert_eq!(said, "through both");
    });
}

/// Reads the descriptor, and will not have the rest.
#[derive(Serialize)]
struct Refused(Fd<PipeWriter>);

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Refused, D::Error> {
        let end = Fd::<PipeWriter>::deserialize(deserializer)?;
        drop(end);
        Err(serde::de::Error::custom("will not have it"))
    }
}

fn never(_: Refused, _: Fd) {}

#[test]
fn arguments_that_cannot_be_decoded_are_an_error_and_all_is_closed() {
    isolated!(|| {
        let (one, ours) = std::io::pipe().unwrap();
        let (other, theirs) = std::io::pipe().unwrap();
        let args = (Refused(Fd(ours)), Fd(OwnedFd::from(theirs)));
        let exit = run(never, args);
        let ExitReason::Error(failure) = &exit.reason else {
            panic!("it {}", exit.reason)
        };
        let said = failure.to_string();
        assert!(said.contains("will not have it"), "{said}");
        closed(one);
        closed(other);
    });
}

#[test]
fn more_than_go_with_one_spawn_are_an_error_and_no_process_is_made() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        let ends = |count| -> Vec<Fd> {
            (0..count)
                .map(|_| Fd(writer.as_fd().try_clone_to_owned().unwrap()))
                .collect()
        };
        let count_up = |ends: Vec<Fd>| ends.len();
        let exit = end_of(&mut spawner.spawn(count_up, (ends(245),)).unwrap());
        assert_eq!(value::<usize>(&exit), 245);

        let error = spawner.spawn(count_up, (ends(246),)).unwrap_err();
        let too_many = |given| SpawnError::TooManyFds { given, limit: 245 };
        assert_eq!(format!("{error:?}"), format!("{:?}", too_many(246)));
        let options = Options::new().fd(9, writer.try_clone().unwrap());
        let error = spawner
            .spawn_with(&options, count_up, (ends(245),))
            .unwrap_err();
        assert_eq!(format!("{error:?}"), format!("{:?}", too_many(246)));
        // And more than any message can have.
        let SpawnError::Encode(error) = spawner.spawn(count_up, (ends(254),)).unwrap_err() else {
            panic!("it is not encoded")
        };
        assert!(error.type_name.contains("Vec<occ_sck::fd::Fd>"));
        let limit = error.source.downcast_ref::<FdError>().unwrap();
        assert!(matches!(limit, FdError::TooMany { given: 254, .. }));
        drop((options, writer));
        closed(reader);
    });
}

fn open_pipe(write: bool) -> (Fd<PipeReader>, Option<Fd<PipeWriter>>) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"left behind").unwrap();
    (Fd(reader), write.then_some(Fd(writer)))
}

fn end_with(how: u8, padding: usize) -> Result<(u32, Vec<Fd<PipeReader>>, Bytes), anyhow::Error> {
    let pipe = (
        std::process::id(),
        vec![open_pipe(false).0, open_pipe(false).0],
        Bytes(vec![7; padding]),
    );
    match how {
        0 => Ok(pipe),
        1 => exit(pipe),
        _ => fail(pipe),
    }
}

fn value_in(reason: &ExitReason) -> Value {
    match reason {
        ExitReason::Value(value) => value.clone(),
        ExitReason::Error(failure) => failure.value().unwrap().clone(),
        other => panic!("it {other}"),
    }
}

/// Short, in a memory file, and so long that it is encoded twice; returned, with `exit`, with `fail`.
#[test]
fn an_exit_value_has_descriptors_as_often_as_it_is_asked_for() {
    type Told = (u32, Vec<Fd<PipeReader>>, Bytes);
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        for (padding, how) in [0, 100_000, 5 << 20]
            .into_iter()
            .flat_map(|p| [(p, 0), (p, 1), (p, 2)])
        {
            let before = OpenFds::now();
            let mut child = spawner.spawn(end_with, (how, padding)).unwrap();
            let exit = end_of(&mut child);
            let value = value_in(&exit.reason);
            // Each time others, of the same pipes.
            let (_, first, _): Told = value.get().unwrap();
            let (_, second, bytes): Told = value.get().unwrap();
            assert_eq!(bytes.len(), padding);
            let mut said = [0; 4];
            (&*first[0]).read_exact(&mut said).unwrap();
            assert_eq!(&said, b"left");
            drop(first);
            let mut rest = String::new();
            (&*second[0]).read_to_string(&mut rest).unwrap();
            assert_eq!(rest, " behind");
            // Not of this type, and it is none the less there.
            value.get::<String>().unwrap_err();
            drop((second, value, exit, child));
            let changes = before.changes(&OpenFds::now());
            assert!(changes.is_empty(), "{changes:?}");
        }
    });
}

/// The process that ends waits for nobody, and what it has said is closed where nobody asks.
#[test]
fn an_exit_value_that_nobody_fetches_is_closed() {
    fn hold(mine: Fd<PipeWriter>) -> Fd<PipeWriter> {
        mine
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        // Waited for and dropped; never waited for; the spawner is gone before it is looked at.
        for how in 0..3 {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut child = spawner.spawn(hold, (Fd(writer),)).unwrap();
            if how == 0 {
                end_of(&mut child);
            }
            drop(child);
            closed(reader);
        }
        let (reader, writer) = std::io::pipe().unwrap();
        let child = spawner.spawn(hold, (Fd(writer),)).unwrap();
        drop((spawner, child));
        closed(reader);
    });
}

#[test]
fn too_many_descriptors_in_an_exit_value_are_an_error_that_names_type_and_number() {
    fn many(count: usize, padding: usize) -> (Vec<Fd<PipeReader>>, Bytes) {
        let (reader, _writer) = std::io::pipe().unwrap();
        let readers = (0..count).map(|_| Fd(reader.try_clone().unwrap()));
        (readers.collect(), Bytes(vec![1; padding]))
    }
    type Told = (Vec<Fd<PipeReader>>, Bytes);
    let spawner = Spawner::new().unwrap();
    for (count, padding, fits) in [
        (253, 0, true),
        (254, 0, false),
        (252, 100_000, true),
        (253, 100_000, false),
        (252, 2 << 20, true),
        (253, 2 << 20, false),
    ] {
        let exit = end_of(&mut spawner.spawn(many, (count, padding)).unwrap());
        if fits {
            assert_eq!(value::<Told>(&exit).0.len(), count);
            continue;
        }
        let ExitReason::Error(failure) = &exit.reason else {
            panic!("{count}, {padding}: it {}", exit.reason)
        };
        let said = failure.to_string();
        assert!(said.contains("Fd<"), "{said}");
        assert!(
            said.contains(&count.to_string()) || said.contains("254 file"),
            "{said}"
        );
    }
}

/// Killed before it takes its arguments, while it has them, and once it has said its value.
#[test]
fn whoever_is_killed_with_descriptors_leaves_none_open() {
    fn hold(say: String, mine: Fd<PipeWriter>, how: u8) -> Fd<PipeWriter> {
        if how == 2 {
            return mine;
        }
        Say::open(&say).ready();
        raw::stay()
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        for how in 0..3 {
            let (ready, say) = Ready::new();
            let (reader, writer) = std::io::pipe().unwrap();
            let args = (say.address(), Fd(writer), how);
            let mut child = spawner.spawn(hold, args).unwrap();
            if how == 1 {
                ready.wait(LIMIT);
            }
            send(child.os_pid(), Signal::KILL);
            let exit = end_of(&mut child);
            if how == 1 {
                assert_eq!(signal(&exit), libc::SIGKILL);
            }
            drop((exit, child));
            closed(reader);
        }
    });
}
