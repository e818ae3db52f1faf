//! Every way to be connected, and what holds for all of them alike.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use occ_sck::{
    Address, Bytes, Channel, ChannelError, Envelope, Fd, FrameError, Limits, Listener, MAX_FDS,
    PART, ReceiveError, SendError, TypeKey,
};
use occ_test_support::fds::OpenFds;
use occ_test_support::{LIMIT, isolated, skipped, within};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// A kind of address, with its carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    UnixPath,
    UnixAbstract,
    SeqpacketPath,
    SeqpacketAbstract,
    Tcp4,
    Tcp6,
}

pub(crate) const KINDS: [Kind; 6] = [
    Kind::UnixPath,
    Kind::UnixAbstract,
    Kind::SeqpacketPath,
    Kind::SeqpacketAbstract,
    Kind::Tcp4,
    Kind::Tcp6,
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Kind {
    pub(crate) fn is_tcp(self) -> bool {
        matches!(self, Kind::Tcp4 | Kind::Tcp6)
    }

    pub(crate) fn is_stream(self) -> bool {
        !matches!(self, Kind::SeqpacketPath | Kind::SeqpacketAbstract)
    }
}

/// A folder that is gone when it is dropped, and must be empty by then.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let name = format!("occ-sck-{}", unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir(&self.0);
        if !std::thread::panicking() {
            removed.expect("nothing is left in the folder");
        }
    }
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Somewhere to listen.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    _folder: Option<Folder>,
}

impl Place {
    /// For TCP, with a port to be chosen; `None`, and said loudly, where there is no such thing.
    pub(crate) fn new(kind: Kind) -> Option<Place> {
        let mut folder = None;
        let address = match kind {
            Kind::UnixPath | Kind::SeqpacketPath => {
                let made = Folder::new();
                let address = Address::path(made.path().join("x")).unwrap();
                folder = Some(made);
                address
            }
            Kind::UnixAbstract | Kind::SeqpacketAbstract => {
                Address::abstract_name(format!("occ-sck-{}", unique())).unwrap()
            }
            Kind::Tcp4 => "tcp:127.0.0.1:0".parse().unwrap(),
            Kind::Tcp6 => {
                if let Err(error) = std::net::TcpListener::bind("[::1]:0") {
                    skipped(&format!("there is no IPv6 here: {error}"));
                    return None;
                }
                "tcp:[::1]:0".parse().unwrap()
            }
        };
        let address = match kind.is_stream() {
            true => address,
            false => address.seqpacket().unwrap(),
        };
        Some(Place {
            address,
            _folder: folder,
        })
    }
}

/// The two ends of a connection: that which connected, and that which was accepted.
pub(crate) fn connected(kind: Kind) -> Option<(Channel, Channel)> {
    let place = Place::new(kind)?;
    let listener = Listener::bind(&place.address).unwrap();
    let client = Channel::connect(listener.address()).unwrap();
    let server = listener.accept().unwrap().unwrap();
    Some((client, server))
}

/// Runs `body` with the two ends of a connection of each kind, and with those of a pair.
pub(crate) fn over_each(body: impl Fn(&str, Channel, Channel)) {
    let (a, b) = Channel::pair().unwrap();
    body("pair", a, b);
    for kind in KINDS {
        if let Some((client, server)) = connected(kind) {
            body(&format!("{kind:?}"), client, server);
        }
    }
}

/// As [`over_each`], once with each side in the place of `a`.
pub(crate) fn over_each_way(body: impl Fn(&str, Channel, Channel)) {
    over_each(&body);
    over_each(|kind, client, server| body(&format!("{kind}, the other way"), server, client));
}

/// Waits until the kernel knows that the peer has gone. On a network that takes a moment.
pub(crate) fn wait_until_gone(channel: &Channel) {
    let mut fds = [PollFd::new(channel, PollFlags::RDHUP)];
    poll(&mut fds, None).unwrap();
    assert!(
        fds[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP)
    );
}

pub(crate) fn is_closed<T: fmt::Debug>(result: &Result<T, ChannelError>) -> bool {
    matches!(result, Err(ChannelError::Send(SendError::Closed)))
}

/// SK-4, SK-5, SK-17: in order, whole, both ways.
#[test]
fn values_of_any_size_arrive_whole_and_in_order_both_ways() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, mut a, mut b| {
                let sizes = [0, 1, 1000, PART - 3, PART, PART + 1, 3 * PART, 5 << 20, 7];
                let values = || {
                    sizes
                        .iter()
                        .map(|size| Bytes((0..*size).map(|at| at as u8).collect()))
                };
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        for expected in values() {
                            let got: Bytes = b.receive().unwrap().unwrap();
                            assert!(got == expected, "{kind}: {} bytes", expected.len());
                            b.send(&expected).unwrap();
                        }
                        assert_eq!(b.receive::<Bytes>().unwrap(), None, "{kind}");
                    });
                    for value in values() {
                        a.send(&value).unwrap();
                        assert!(a.receive::<Bytes>().unwrap().unwrap() == value, "{kind}");
                    }
                    a.close();
                });
            });
        });
    });
}

#[test]
fn all_that_was_sent_before_a_close_arrives_and_then_the_end() {
    isolated!(|| {
        within(LIMIT, || {
            for end in [Channel::close, Channel::detach] {
                over_each_way(|kind, mut a, mut b| {
                    for number in 0..100_u32 {
                        a.send(&number).unwrap();
                    }
                    end(a);
                    for number in 0..100_u32 {
                        assert_eq!(b.receive().unwrap(), Some(number), "{kind}");
                    }
                    for _ in 0..3 {
                        assert_eq!(b.receive::<u32>().unwrap(), None, "{kind}");
                        let end = b.receive_timeout::<u32>(Duration::ZERO);
                        assert_eq!(end.unwrap(), None, "{kind}");
                    }
                });
            }
        });
    });
}

/// TCP takes back what it has not delivered by then (RFC 2525, 2.17): what arrives is whole and in order, and then there is
/// the end.
#[test]
fn what_was_sent_before_a_close_arrives_though_the_sender_left_something_unread() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                b.send(&"never read".to_string()).unwrap();
                for number in 0..100_u32 {
                    a.send(&number).unwrap();
                }
                drop(a);
                let mut arrived = 0;
                while let Some(number) = b.receive::<u32>().unwrap() {
                    assert_eq!(number, arrived, "{kind}");
                    arrived += 1;
                }
                assert!(
                    arrived == 100 || kind.starts_with("Tcp"),
                    "{kind}: {arrived}"
                );
                assert_eq!(b.receive::<u32>().unwrap(), None, "{kind}");
            });
        });
    });
}

/// SK-9, SK-10.
#[test]
fn sending_to_one_that_has_gone_is_closed_each_time() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, b| {
                drop(b);
                wait_until_gone(&a);
                for _ in 0..3 {
                    let sent = a.send(&1_u8);
                    assert!(is_closed(&sent), "{kind}: {sent:?}");
                    let sent = a.send_timeout(&1_u8, LIMIT);
                    assert!(is_closed(&sent), "{kind}: {sent:?}");
                }
                assert_eq!(a.receive::<u8>().unwrap(), None, "{kind}");
            });
        });
    });
}

/// A second holder of the same end, as a fork or whoever it was sent to would be.
fn second(channel: &Channel) -> Channel {
    Channel::from_fd(
        rustix::io::fcntl_dupfd_cloexec(channel, 0).unwrap(),
        Limits::default(),
    )
    .unwrap()
}

#[test]
fn detach_leaves_the_connection_to_another_holder_and_close_does_not() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, a, mut b| {
                let mut other = second(&a);
                a.detach();
                let nothing = b.receive_timeout::<u8>(Duration::ZERO);
                assert!(matches!(nothing, Err(ChannelError::TimedOut)), "{kind}");
                other.send(&1_u8).unwrap();
                b.send(&"back".to_string()).unwrap();
                assert_eq!(b.receive().unwrap(), Some(1_u8), "{kind}");

                let third = second(&other);
                third.close();
                wait_until_gone(&b);
                // What came before is still there, and the end for both.
                assert_eq!(other.receive().unwrap(), Some("back".to_string()), "{kind}");
                assert_eq!(other.receive::<u8>().unwrap(), None, "{kind}");
                assert_eq!(b.receive::<u8>().unwrap(), None, "{kind}");
                assert!(is_closed(&b.send(&1_u8)), "{kind}");
            });
        });
    });
}

#[test]
fn a_receiver_of_nothing_is_told_so_in_time_and_never_early() {
    const SHORT: Duration = Duration::from_millis(100);
    within(LIMIT, || {
        over_each(|kind, mut a, b| {
            let begun = Instant::now();
            let nothing = a.receive_timeout::<u8>(SHORT);
            let took = begun.elapsed();
            assert!(matches!(nothing, Err(ChannelError::TimedOut)), "{kind}");
            assert!(SHORT <= took && took < 10 * SHORT, "{kind}: {took:?}");
            drop(b);
        });
    });
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_both_and_the_next_is_fine() {
    within(LIMIT, || {
        over_each(|kind, mut a, mut b| {
            a.send(&1_u8).unwrap();
            a.send(&2_u8).unwrap();
            let error = b.receive::<String>().unwrap_err().to_string();
            assert!(
                error.contains("String") && error.contains("u8"),
                "{kind}: {error}"
            );
            assert_eq!(b.receive().unwrap(), Some(2_u8), "{kind}");
        });
    });
}

/// Two programs agree on names alone; two types of one name are one to them. A pair is of one program, which tells them apart.
#[test]
fn a_type_is_told_by_its_name_between_programs() {
    let key = TypeKey::by_name::<String>().to_bytes();
    assert_eq!(key[..8], [0; 8]);
    assert_eq!(key[8..], TypeKey::of::<String>().to_bytes()[8..]);
    assert_ne!(TypeKey::by_name::<String>(), TypeKey::by_name::<Vec<u8>>());
    within(LIMIT, || {
        over_each(|kind, mut a, mut b| {
            a.send(&"text".to_string()).unwrap();
            let envelope: Envelope = b.receive_any().unwrap().unwrap();
            let expected = match kind {
                "pair" => TypeKey::of::<String>(),
                _ => TypeKey::by_name::<String>(),
            };
            assert_eq!(envelope.key, expected, "{kind}");
            assert!(
                envelope.is::<String>() && !envelope.is::<Vec<u8>>(),
                "{kind}"
            );
            assert_eq!(envelope.decode::<String>().unwrap(), "text", "{kind}");
        });
    });
}

/// The number is part of the wire format: another program may have been built long ago.
#[test]
fn the_key_of_a_name_is_the_same_for_ever() {
    let key = |bytes: [u8; 16]| u64::from_le_bytes(bytes[8..].try_into().unwrap());
    assert_eq!(
        key(TypeKey::by_name::<u8>().to_bytes()),
        0x57b2_4bb2_2ea2_7cec
    );
    assert_eq!(
        key(TypeKey::by_name::<Vec<i32>>().to_bytes()),
        0xe7d2_9804_c1f7_298f
    );
}

#[test]
fn a_message_over_the_limit_ends_the_connection_for_both() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, b| {
                let mut b = b.with_limits(Limits { message: 1003 });
                a.send(&Bytes(vec![1; 1000])).unwrap();
                assert_eq!(b.receive::<Bytes>().unwrap().unwrap().len(), 1000, "{kind}");
                a.send(&Bytes(vec![1; 1002])).unwrap();
                let error = b.receive::<Bytes>().unwrap_err();
                let ChannelError::Receive(ReceiveError::Frame(error)) = error else {
                    panic!("{kind}: {error:?}");
                };
                let (total, limit) = (1004, 1003);
                assert_eq!(error, FrameError::OverLimit { total, limit }, "{kind}");
                assert_eq!(b.receive::<Bytes>().unwrap(), None, "{kind}");
                assert_eq!(a.receive::<Bytes>().unwrap(), None, "{kind}");
                assert!(is_closed(&a.send(&1_u8)), "{kind}");
            });
        });
    });
}

/// Pipes whose write ends go on a journey.
fn pipes(number: usize) -> (Vec<OwnedFd>, Vec<OwnedFd>) {
    let pipe = |_| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (0..number).map(pipe).unzip()
}

#[test]
fn descriptors_arrive_with_their_own_value_over_each_unix_socket() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                if kind.starts_with("Tcp") {
                    return;
                }
                // Values without, before and between; of several frames; and all of them on their way at once.
                let numbers = [0, 1, 0, 0, MAX_FDS, 2, 0, 1];
                let (reads, writes) = pipes(numbers.iter().sum());
                let mut sent = 0;
                for number in numbers {
                    let fds: Vec<_> = writes[sent..sent + number]
                        .iter()
                        .map(AsFd::as_fd)
                        .collect();
                    a.send_with(&Bytes(vec![number as u8; 10 * number]), &fds)
                        .unwrap();
                    sent += number;
                }
                drop(writes);
                let mut at = 0;
                for number in numbers {
                    let envelope = b.receive_any().unwrap().unwrap();
                    assert_eq!(envelope.fds.len(), number, "{kind}");
                    assert_eq!(envelope.decode::<Bytes>().unwrap().len(), 10 * number);
                    for fd in &envelope.fds {
                        assert!(
                            rustix::io::fcntl_getfd(fd)
                                .unwrap()
                                .contains(rustix::io::FdFlags::CLOEXEC)
                        );
                        rustix::io::write(fd, &[at as u8]).unwrap();
                        let mut byte = [0];
                        rustix::io::read(&reads[at], &mut byte).unwrap();
                        assert_eq!(byte, [at as u8], "{kind}");
                        at += 1;
                    }
                }
                for read in &reads {
                    assert_eq!(
                        rustix::io::read(read, &mut [0]),
                        Ok(0),
                        "{kind}: still open"
                    );
                }
            });
        });
    });
}

#[test]
fn descriptors_over_tcp_are_an_error_and_send_nothing() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in [Kind::Tcp4, Kind::Tcp6] {
                let Some((mut a, mut b)) = connected(kind) else {
                    continue;
                };
                let (_read, write) = pipes(1);
                let sent = a.send_with(&1_u8, &[write[0].as_fd()]);
                assert!(
                    matches!(sent, Err(ChannelError::Send(SendError::NoFds { given: 1 }))),
                    "{sent:?}"
                );
                a.send(&2_u8).unwrap();
                assert_eq!(b.receive().unwrap(), Some(2_u8));
            }
        });
    });
}

/// Those that stand in the value count, and nothing of it is left open here.
#[test]
fn descriptors_that_are_values_travel_over_each_unix_socket_and_not_over_tcp() {
    isolated!(|| {
        within(LIMIT, || {
            over_each_way(|kind, mut a, mut b| {
                let (reads, writes) = pipes(2);
                let value: Vec<Fd> = writes.into_iter().map(Fd).collect();
                let before = OpenFds::now();
                for limit in [None, Some(LIMIT)] {
                    let sent = match limit {
                        None => a.send(&value),
                        Some(limit) => a.send_timeout(&value, limit),
                    };
                    if kind.starts_with("Tcp") {
                        let none = ChannelError::Send(SendError::NoFds { given: 2 });
                        assert_eq!(sent.unwrap_err().to_string(), none.to_string());
                        continue;
                    }
                    sent.unwrap();
                    let got: Vec<Fd> = b.receive().unwrap().unwrap();
                    for (fd, read) in got.iter().zip(&reads) {
                        rustix::io::write(fd, b"x").unwrap();
                        assert_eq!(rustix::io::read(read, &mut [0]), Ok(1), "{kind}");
                    }
                }
                let changes = before.changes(&OpenFds::now());
                assert!(changes.is_empty(), "{kind}: {changes:?}");
                drop(value);
                for read in &reads {
                    assert_eq!(
                        rustix::io::read(read, &mut [0]),
                        Ok(0),
                        "{kind}: still open"
                    );
                }
            });
        });
    });
}

#[test]
fn who_is_at_the_other_end_of_a_unix_socket_is_told() {
    isolated!(|| {
        over_each(|kind, a, b| {
            for end in [&a, &b] {
                let credentials = end.peer_credentials().unwrap();
                if kind.starts_with("Tcp") {
                    assert_eq!(credentials, None, "{kind}");
                    continue;
                }
                let credentials = credentials.unwrap();
                assert_eq!(credentials.os_pid, Some(std::process::id()), "{kind}");
                assert_eq!(
                    credentials.user,
                    rustix::process::getuid().as_raw(),
                    "{kind}"
                );
                assert_eq!(
                    credentials.group,
                    rustix::process::getgid().as_raw(),
                    "{kind}"
                );
            }
        });
    });
}

#[test]
fn the_address_of_the_other_end_is_told_if_it_has_one() {
    isolated!(|| {
        let (a, _b) = Channel::pair().unwrap();
        assert_eq!(a.peer_address().unwrap(), None);
        for kind in KINDS {
            let Some(place) = Place::new(kind) else {
                continue;
            };
            let listener = Listener::bind(&place.address).unwrap();
            let client = Channel::connect(listener.address()).unwrap();
            let server = listener.accept().unwrap().unwrap();
            assert_eq!(
                client.peer_address().unwrap().as_ref(),
                Some(listener.address())
            );
            let of_client = server.peer_address().unwrap();
            assert_eq!(of_client.is_some(), kind.is_tcp(), "{kind}: {of_client:?}");
            if let Some(address) = of_client {
                let own = rustix::net::getsockname(&client).unwrap();
                assert_eq!(address.as_tcp(), std::net::SocketAddr::try_from(own).ok());
            }
            drop(server);
            wait_until_gone(&client);
            client.peer_address().unwrap();
        }
    });
}

#[test]
fn a_connection_is_passed_on_unless_more_was_received_than_given() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, mut a, b| {
                a.send(&1_u8).unwrap();
                a.send(&2_u8).unwrap();
                let fd = b.into_fd().expect("nothing was received");
                let mut b = Channel::from_fd(fd, Limits::default()).unwrap();
                assert_eq!(b.receive().unwrap(), Some(1_u8), "{kind}");
                let stream = !(kind.starts_with("pair") || kind.starts_with("Seqpacket"));
                let mut b = match b.into_fd() {
                    Ok(fd) => {
                        assert!(!stream, "{kind}: the second is lost");
                        Channel::from_fd(fd, Limits::default()).unwrap()
                    }
                    Err(b) => {
                        assert!(stream, "{kind}");
                        *b
                    }
                };
                assert_eq!(b.receive().unwrap(), Some(2_u8), "{kind}");
                assert_eq!(b.into_socket().is_ok(), !stream, "{kind}");
            });
        });
    });
}

#[test]
fn what_is_no_connection_of_ours_makes_no_channel_and_says_what_would() {
    isolated!(|| {
        let before = OpenFds::now();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let unix = Listener::bind(&Place::new(Kind::SeqpacketAbstract).unwrap().address).unwrap();
        let (datagrams, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let (pipe, _) = std::io::pipe().unwrap();
        let sockets: [OwnedFd; 4] = [
            udp.into(),
            datagrams.into(),
            tcp.into(),
            unix.into_fd().unwrap(),
        ];
        for (fd, seen) in sockets.into_iter().zip([
            "one of datagrams",
            "one of datagrams",
            "one that listens",
            "one that listens",
        ]) {
            let error = Channel::from_fd(fd, Limits::default()).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            let words = error.to_string();
            assert!(words.ends_with(seen), "{words}");
        }
        let error = Channel::from_fd(pipe.into(), Limits::default()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOTSOCK.raw_os_error()));
        assert_eq!(before.changes(&OpenFds::now()), Vec::<String>::new());
    });
}
