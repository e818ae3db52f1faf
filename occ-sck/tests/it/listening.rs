//! Listeners: where one listens, who is refused, and how it ends.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use occ_sck::{AcceptError, Address, Channel, ConnectError, ListenError, Listener};
use occ_test_support::fds::{OpenFds, without_room};
use occ_test_support::sockets::Sockets;
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, isolated, raw, stress, within};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::carriers::{Folder, KINDS, Kind, Place, wait_until_gone};

fn over_each(body: impl Fn(Kind, &Address)) {
    for kind in KINDS {
        if let Some(place) = Place::new(kind) {
            body(kind, &place.address);
        }
    }
}

fn is_refused(address: &Address) -> bool {
    matches!(
        Channel::connect(address),
        Err(ConnectError::Refused { address: at, .. }) if at == *address
    )
}

fn is_in_use(address: &Address) -> bool {
    matches!(
        Listener::bind(address),
        Err(ListenError::AddrInUse { address: at }) if at == *address
    )
}

/// SK-1, and all that this process has besides is as it was.
#[test]
fn a_listener_and_its_connections_are_there_and_gone_when_they_are_closed() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                let before = OpenFds::now();
                let listener = Listener::bind(address).unwrap();
                assert_eq!(
                    Sockets::own(),
                    Sockets {
                        listening: 1,
                        connected: 0
                    },
                    "{kind:?}"
                );
                let mut client = Channel::connect(listener.address()).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                assert_eq!(
                    Sockets::own(),
                    Sockets {
                        listening: 1,
                        connected: 2
                    },
                    "{kind:?}"
                );

                client.send(&"echo".to_string()).unwrap();
                let echo: String = server.receive().unwrap().unwrap();
                server.send(&echo).unwrap();
                assert_eq!(client.receive().unwrap(), Some("echo".to_string()));

                client.close();
                assert_eq!(server.receive::<String>().unwrap(), None);
                drop(server);
                assert_eq!(
                    Sockets::own(),
                    Sockets {
                        listening: 1,
                        connected: 0
                    },
                    "{kind:?}"
                );
                listener.close();
                assert_eq!(Sockets::own(), Sockets::default(), "{kind:?}");
                drop(listener);
                let changes = before.changes(&OpenFds::now());
                assert!(changes.is_empty(), "{kind:?}: {changes:?}");
            });
        });
    });
}

#[test]
fn all_that_a_listener_opens_is_closed_on_exec() {
    isolated!(|| {
        over_each(|kind, address| {
            let before = OpenFds::now();
            let listener = Listener::bind(address).unwrap();
            let _client = Channel::connect(listener.address()).unwrap();
            let _server = listener.accept().unwrap().unwrap();
            // The program sees what it has inherited, and of that nothing is ours.
            let listed = std::process::Command::new("ls")
                .args(["-l", "/proc/self/fd"])
                .output()
                .unwrap();
            let listed = String::from_utf8(listed.stdout).unwrap();
            assert!(before.count() < OpenFds::now().count());
            assert!(
                !listed.contains("socket:") && !listed.contains("eventfd"),
                "{kind:?}: {listed}"
            );
        });
    });
}

/// SK-2. Each who waits is told, as a value.
#[test]
fn who_waits_in_accept_is_told_when_the_listener_is_closed() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                for _ in 0..stress::times(50) {
                    let listener = Listener::bind(address).unwrap();
                    let (waits, waiting) = mpsc::channel();
                    std::thread::scope(|scope| {
                        for limit in [None, Some(LIMIT), Some(LIMIT)] {
                            let (listener, waits) = (&listener, waits.clone());
                            scope.spawn(move || {
                                waits.send(()).unwrap();
                                let accepted = match limit {
                                    None => listener.accept(),
                                    Some(limit) => listener.accept_timeout(limit),
                                };
                                assert!(accepted.unwrap().is_none(), "{kind:?}");
                            });
                        }
                        for _ in 0..3 {
                            waiting.recv().unwrap();
                        }
                        listener.close();
                    });
                    // And whoever asks later, and closing again is nothing.
                    assert!(listener.accept().unwrap().is_none());
                    assert!(listener.accept_timeout(Duration::ZERO).unwrap().is_none());
                    listener.close();
                }
            });
        });
    });
}

/// A listener that serves while it is closed: what was accepted is served, and then there is the end, and never an error.
#[test]
fn a_listener_closed_amid_connections_ends_without_an_error() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                for round in 0..stress::times(20) {
                    let listener = Listener::bind(address).unwrap();
                    std::thread::scope(|scope| {
                        let servers: Vec<_> = (0..2)
                            .map(|_| {
                                scope.spawn(|| {
                                    let mut served = 0;
                                    while let Some(mut channel) = listener.accept().unwrap() {
                                        served += channel.receive::<u32>().unwrap().unwrap_or(0);
                                    }
                                    served
                                })
                            })
                            .collect();
                        let mut connected = 0;
                        loop {
                            match Channel::connect(listener.address()) {
                                Ok(mut channel) => {
                                    connected += u32::from(channel.send(&1_u32).is_ok());
                                }
                                Err(ConnectError::Refused { .. }) => break,
                                Err(error) => panic!("{kind:?}: {error}"),
                            }
                            if connected == 3 + round as u32 % 5 {
                                scope.spawn(|| listener.close());
                            }
                        }
                        let served: u32 = servers.into_iter().map(|s| s.join().unwrap()).sum();
                        assert!(served <= connected, "{kind:?}: {served} of {connected}");
                    });
                }
            });
        });
    });
}

/// SK-22: from the moment that `close` has returned, and every time.
#[test]
fn to_connect_where_nobody_listens_any_more_is_refused() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                for _ in 0..stress::times(100) {
                    let listener = Listener::bind(address).unwrap();
                    let address = listener.address().clone();
                    drop(Channel::connect(&address).unwrap());
                    listener.close();
                    assert!(is_refused(&address), "{kind:?}");
                    drop(listener);
                    assert!(is_refused(&address), "{kind:?}");
                }
            });
        });
    });
}

#[test]
fn to_connect_where_nobody_ever_listened_is_refused() {
    isolated!(|| {
        let folder = Folder::new();
        let path = folder.path().join("x");
        let file = folder.path().join("no folder");
        std::fs::write(&file, "").unwrap();
        let addresses = [
            Address::path(&path).unwrap(),
            Address::path(&path).unwrap().seqpacket().unwrap(),
            Address::path(file.join("x")).unwrap(),
            Address::path(&file).unwrap(),
            Address::abstract_name("occ-sck nobody").unwrap(),
        ];
        for address in addresses {
            let error = Channel::connect(&address).unwrap_err();
            assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
            assert_eq!(error.to_string(), format!("nobody listens at {address}"));
            let limited = Channel::connect_timeout(&address, LIMIT).unwrap_err();
            assert!(
                matches!(limited, ConnectError::Refused { .. }),
                "{limited:?}"
            );
        }
        std::fs::remove_file(file).unwrap();
    });
}

/// The old one notices nothing, the other listens elsewhere, and where it wanted to once that is free.
#[test]
fn an_address_in_use_is_an_error_and_its_owner_is_not_disturbed() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, place| {
                let listener = Listener::bind(place).unwrap();
                let address = listener.address();
                let mut client = Channel::connect(address).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                for _ in 0..3 {
                    assert!(is_in_use(address), "{kind:?}");
                }
                // Nobody has connected, not even to look.
                let nobody = listener.accept_timeout(Duration::ZERO);
                assert!(matches!(nobody, Err(AcceptError::TimedOut)), "{kind:?}");
                client.send(&1_u8).unwrap();
                assert_eq!(server.receive().unwrap(), Some(1_u8));

                let elsewhere = Place::new(kind).unwrap();
                let other = Listener::bind(&elsewhere.address).unwrap();
                drop(Channel::connect(other.address()).unwrap());
                other.close();

                listener.close();
                let other = Listener::bind(address).unwrap();
                drop(Channel::connect(other.address()).unwrap());
                assert!(other.accept().unwrap().is_some());
                // The connection of the first goes on.
                server.send(&2_u8).unwrap();
                assert_eq!(client.receive().unwrap(), Some(2_u8));
            });
        });
    });
}

/// Also where connections are left, which would keep a TCP port for a minute.
#[test]
fn an_address_is_had_again_at_once_and_as_often_as_one_likes() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, place| {
                let mut address = place.clone();
                for round in 0..stress::times(50) {
                    let listener = Listener::bind(&address).unwrap();
                    address = listener.address().clone();
                    let mut client = Channel::connect(&address).unwrap();
                    let mut server = listener.accept().unwrap().unwrap();
                    server.send(&round).unwrap();
                    assert_eq!(client.receive().unwrap(), Some(round), "{kind:?}");
                    // The side that closes first is the one whose port is not free (TIME_WAIT).
                    server.close();
                    assert_eq!(client.receive::<usize>().unwrap(), None);
                    listener.close();
                }
            });
        });
    });
}

/// The port that a client was given, by chance, is one to listen at all the same: while it is connected, and after that.
#[test]
fn what_is_left_of_a_client_is_in_no_listeners_way() {
    /// False where the port is in use: somebody else may have been given it in between, now and then.
    fn is_free(client: &Address) -> bool {
        match Listener::bind(client) {
            Ok(_) => true,
            Err(ListenError::AddrInUse { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
    isolated!(|| {
        let again = || {
            let listener = Listener::bind(&"tcp:127.0.0.1:0".parse().unwrap()).unwrap();
            let client = Channel::connect(listener.address()).unwrap();
            let mut server = listener.accept().unwrap().unwrap();
            let of_client = rustix::net::getsockname(&client).unwrap();
            let of_client = Address::from(std::net::SocketAddr::try_from(of_client).unwrap());
            let while_it_is_connected = is_free(&of_client);
            // The side that closes first is the one whose port is not free (TIME_WAIT).
            client.close();
            assert_eq!(server.receive::<u8>().unwrap(), None);
            drop(server);
            while_it_is_connected && is_free(&of_client)
        };
        within(LIMIT, || assert!((0..5).any(|_| again())));
    });
}

#[test]
fn to_stop_listening_disconnects_nobody_and_one_can_listen_again() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, place| {
                let listener = Listener::bind(place).unwrap();
                let address = listener.address().clone();
                let mut client = Channel::connect(&address).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                listener.close();
                assert!(is_refused(&address), "{kind:?}");
                client.send(&1_u8).unwrap();
                assert_eq!(server.receive().unwrap(), Some(1_u8), "{kind:?}");
                server.send(&2_u8).unwrap();
                assert_eq!(client.receive().unwrap(), Some(2_u8), "{kind:?}");

                let listener = Listener::bind(&address).unwrap();
                let mut again = Channel::connect(&address).unwrap();
                again.send(&3_u8).unwrap();
                let mut second = listener.accept().unwrap().unwrap();
                assert_eq!(second.receive().unwrap(), Some(3_u8), "{kind:?}");
                client.send(&4_u8).unwrap();
                assert_eq!(server.receive().unwrap(), Some(4_u8), "{kind:?}");
            });
        });
    });
}

/// Who connected and was never accepted is told when the listener closes.
#[test]
fn a_connection_that_nobody_accepted_ends_with_the_listener() {
    isolated!(|| {
        within(LIMIT, || {
            for close in [Listener::close, |_: &Listener| ()] {
                over_each(|kind, place| {
                    let listener = Listener::bind(place).unwrap();
                    let mut client = Channel::connect(listener.address()).unwrap();
                    client.send(&1_u8).unwrap();
                    close(&listener);
                    drop(listener);
                    wait_until_gone(&client);
                    assert_eq!(client.receive::<u8>().unwrap(), None, "{kind:?}");
                    assert!(client.send(&2_u8).is_err(), "{kind:?}");
                });
            }
        });
    });
}

#[test]
fn nobody_connecting_is_told_in_time_and_never_early() {
    const SHORT: Duration = Duration::from_millis(100);
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, place| {
                let listener = Listener::bind(place).unwrap();
                let begun = Instant::now();
                let nobody = listener.accept_timeout(SHORT);
                let took = begun.elapsed();
                assert!(matches!(nobody, Err(AcceptError::TimedOut)), "{kind:?}");
                assert!(SHORT <= took && took < 10 * SHORT, "{kind:?}: {took:?}");
                let nobody = listener.accept_timeout(Duration::ZERO);
                assert!(matches!(nobody, Err(AcceptError::TimedOut)), "{kind:?}");
                // One that waits is taken without waiting.
                let _client = Channel::connect(listener.address()).unwrap();
                let accepted = listener.accept_timeout(match kind.is_stream() {
                    // TCP may take a moment to have it there.
                    true => LIMIT,
                    false => Duration::ZERO,
                });
                assert!(accepted.unwrap().is_some(), "{kind:?}");
            });
        });
    });
}

#[test]
fn without_room_for_a_descriptor_the_connection_waits() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, place| {
                let listener = Listener::bind(place).unwrap();
                let mut client = Channel::connect(listener.address()).unwrap();
                client.send(&1_u8).unwrap();
                let error = without_room(|| listener.accept().unwrap_err());
                assert!(
                    matches!(&error, AcceptError::Io { op: "accept4", .. }),
                    "{kind:?}: {error:?}"
                );
                let mut server = listener.accept().unwrap().unwrap();
                assert_eq!(server.receive().unwrap(), Some(1_u8), "{kind:?}");
            });
        });
    });
}

#[test]
fn a_path_is_that_of_a_socket_while_one_listens_and_is_removed_after() {
    isolated!(|| {
        for kind in [Kind::UnixPath, Kind::SeqpacketPath] {
            for close in [Listener::close, |_: &Listener| ()] {
                let place = Place::new(kind).unwrap();
                let path = place.address.as_path().unwrap();
                let listener = Listener::bind(&place.address).unwrap();
                let file = std::fs::symlink_metadata(path).unwrap();
                assert!(file.file_type().is_socket());
                close(&listener);
                drop(listener);
                assert!(!path.exists());
            }
        }
    });
}

#[test]
fn a_path_that_is_not_ours_any_more_is_left() {
    isolated!(|| {
        let place = Place::new(Kind::UnixPath).unwrap();
        let path = place.address.as_path().unwrap();

        let listener = Listener::bind(&place.address).unwrap();
        std::fs::remove_file(path).unwrap();
        listener.close();
        assert!(!path.exists());

        let listener = Listener::bind(&place.address).unwrap();
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, "somebody else's").unwrap();
        listener.close();
        drop(listener);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "somebody else's");
        std::fs::remove_file(path).unwrap();

        // And another listener that has come in its place.
        let first = Listener::bind(&place.address).unwrap();
        std::fs::remove_file(path).unwrap();
        let second = Listener::bind(&place.address).unwrap();
        drop(first);
        drop(Channel::connect(&place.address).unwrap());
        second.close();
        assert!(!path.exists());
    });
}

/// Also one that is relative, and the working directory is another by then.
#[test]
fn a_relative_path_is_removed_where_it_was_bound() {
    isolated!(|| {
        let folder = Folder::new();
        std::env::set_current_dir(folder.path()).unwrap();
        let address = Address::path("x").unwrap();
        let listener = Listener::bind(&address).unwrap();
        drop(Channel::connect(&address).unwrap());
        std::env::set_current_dir("/").unwrap();
        assert!(folder.path().join("x").exists());
        listener.close();
        assert!(!folder.path().join("x").exists());
    });
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap();
    fds[0].revents().contains(PollFlags::IN)
}

/// For an event loop: readable for as long as there is somebody to accept, and nothing once the listener is closed.
#[test]
fn the_descriptor_of_a_listener_is_readable_when_there_is_one_to_accept() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                let before = OpenFds::now();
                let listener = Listener::bind(address).unwrap();
                assert_eq!(listener.with_fd(is_readable), Some(false), "{kind:?}");
                let clients = [0; 2].map(|_| Channel::connect(listener.address()).unwrap());
                for _ in clients.iter() {
                    assert_eq!(listener.with_fd(is_readable), Some(true), "{kind:?}");
                    let accepted = listener.accept_timeout(Duration::ZERO).unwrap();
                    drop(accepted.expect("nobody has closed it"));
                }
                assert_eq!(listener.with_fd(is_readable), Some(false), "{kind:?}");

                // Another descriptor of it does not keep it open.
                let kept = listener.with_fd(|fd| fd.try_clone_to_owned().unwrap());
                listener.close();
                assert_eq!(listener.with_fd(|_| unreachable!()), None::<()>);
                assert!(is_refused(listener.address()), "{kind:?}");
                drop((kept, clients, listener));
                assert_eq!(
                    before.changes(&OpenFds::now()),
                    Vec::<String>::new(),
                    "{kind:?}"
                );
            });
        });
    });
}

#[test]
fn who_closes_a_listener_waits_for_whoever_looks_at_its_descriptor() {
    isolated!(|| {
        within(LIMIT, || {
            over_each(|kind, address| {
                let listener = Listener::bind(address).unwrap();
                let (say, said) = mpsc::channel();
                std::thread::scope(|scope| {
                    let listens = listener.with_fd(|fd| {
                        scope.spawn(|| {
                            say.send(rustix::thread::gettid()).unwrap();
                            listener.close();
                        });
                        let closes = said.recv().unwrap().as_raw_nonzero().get();
                        // Until it waits, or has ended without.
                        let state = || Stat::of(closes.unsigned_abs()).map(|stat| stat.state);
                        while state().is_some_and(|state| state != 'S') {}
                        rustix::net::sockopt::socket_acceptconn(fd)
                    });
                    assert_eq!(listens, Some(Ok(true)), "{kind:?}");
                });
                assert_eq!(listener.with_fd(|_| ()), None);
            });
        });
    });
}

/// Whatever has its number by then is left alone.
#[test]
fn the_descriptor_of_a_listener_is_closed_once() {
    isolated!(|| {
        over_each(|kind, address| {
            let listener = Listener::bind(address).unwrap();
            let number = listener.with_fd(|fd| fd.as_raw_fd()).unwrap();
            listener.close();
            let other = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), number).unwrap();
            assert_eq!(other.as_raw_fd(), number, "{kind:?}");
            listener.close();
            drop(listener);
            rustix::io::fcntl_getfd(&other).unwrap();
        });
    });
}

#[test]
fn detach_leaves_the_listener_and_its_path_to_another_holder() {
    isolated!(|| {
        within(LIMIT, || {
            let place = Place::new(Kind::UnixPath).unwrap();
            let path = place.address.as_path().unwrap();
            let listener = Listener::bind(&place.address).unwrap();
            let fd = listener.into_fd().unwrap();
            let mut client = Channel::connect(&place.address).unwrap();
            client.send(&1_u8).unwrap();
            let accepted = rustix::net::accept(&fd).unwrap();
            let mut server = Channel::from_fd(accepted, occ_sck::Limits::default()).unwrap();
            assert_eq!(server.receive().unwrap(), Some(1_u8));
            drop(fd);
            assert!(path.exists());

            // It is nobody's now.
            let listener = Listener::bind(&place.address).unwrap();
            listener.detach();
            assert!(path.exists());
            std::fs::remove_file(path).unwrap();
        });
    });
}

/// A fork has a copy of the listener: when it drops that, the path stays, and when it closes it, all are told.
#[test]
fn a_fork_that_drops_its_copy_leaves_the_path_and_one_that_closes_it_ends_it_for_all() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in [Kind::UnixPath, Kind::SeqpacketPath, Kind::Tcp4] {
                let place = Place::new(kind).unwrap();
                let listener = Listener::bind(&place.address).unwrap();
                let address = listener.address().clone();
                let mut mine = Some(listener);
                let Some(child) = raw::fork() else {
                    drop(mine.take());
                    raw::exit_now(0);
                };
                assert_eq!(raw::wait_for(child), 0);
                let listener = mine.unwrap();
                drop(Channel::connect(&address).unwrap());
                assert!(listener.accept().unwrap().is_some());

                let Some(child) = raw::fork() else {
                    listener.close();
                    raw::exit_now(0);
                };
                assert!(listener.accept().unwrap().is_none(), "{kind:?}");
                assert_eq!(raw::wait_for(child), 0);
                assert!(is_refused(&address), "{kind:?}");
            }
        });
    });
}

#[test]
fn what_cannot_be_bound_is_an_error_that_says_where() {
    isolated!(|| {
        let cases = [
            (
                "unix:/no such folder/x",
                "bind failed for unix:/no such folder/x",
            ),
            ("tcp:192.0.2.1:80", "bind failed for tcp:192.0.2.1:80"),
        ];
        for (address, expected) in cases {
            let error = Listener::bind(&address.parse().unwrap()).unwrap_err();
            assert!(matches!(error, ListenError::Io { .. }), "{error:?}");
            assert_eq!(error.to_string(), expected);
        }
    });
}
