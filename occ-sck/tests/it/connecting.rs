//! Connecting: how long, to whom, and what is told if nothing comes of it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use occ_sck::{Address, Channel, ConnectError, Listener};
use occ_test_support::sockets::Sockets;
use occ_test_support::{LIMIT, isolated, skipped, within};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::carriers::{KINDS, Kind, Place};
use crate::signals::interrupted;

const SHORT: Duration = Duration::from_millis(200);

/// A listener that has as many connections waiting as it may.
struct Full {
    address: Address,
    listener: OwnedFd,
    waiting: Vec<Channel>,
}

fn full(kind: SocketType) -> Full {
    let name = format!("occ-sck-full-{}-{}", std::process::id(), kind.as_raw());
    let mut address = Address::abstract_name(&name).unwrap();
    if kind == SocketType::SEQPACKET {
        address = address.seqpacket().unwrap();
    }
    let flags = SocketFlags::CLOEXEC;
    let listener = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
    let place = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
    rustix::net::bind(&listener, &place).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        match Channel::connect_timeout(&address, Duration::ZERO) {
            Ok(channel) => waiting.push(channel),
            Err(ConnectError::TimedOut { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!waiting.is_empty());
    Full {
        address,
        listener,
        waiting,
    }
}

fn times_out(address: &Address) {
    let begun = Instant::now();
    let error = Channel::connect_timeout(address, SHORT).unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("there was no connection with {address} in time")
    );
    assert!(SHORT <= took && took < 10 * SHORT, "{took:?}");
}

#[test]
fn a_listener_with_a_full_queue_is_waited_for_and_no_longer_than_the_limit() {
    isolated!(|| {
        within(LIMIT, || {
            for kind in [SocketType::STREAM, SocketType::SEQPACKET] {
                let full = full(kind);
                times_out(&full.address);
                // Both with a limit and without, once there is room.
                std::thread::scope(|scope| {
                    let bounded = scope.spawn(|| Channel::connect_timeout(&full.address, LIMIT));
                    let unbounded = scope.spawn(|| Channel::connect(&full.address));
                    let mut accepted = Vec::new();
                    for _ in 0..full.waiting.len() + 2 {
                        accepted.push(rustix::net::accept(&full.listener).unwrap());
                    }
                    for channel in [bounded, unbounded] {
                        let mut channel = channel.join().unwrap().unwrap();
                        // The limit was that of connecting alone: a send without one waits.
                        let mode = rustix::fs::fcntl_getfl(&channel).unwrap();
                        assert!(!mode.contains(rustix::fs::OFlags::NONBLOCK));
                        channel.send(&1_u8).unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn signals_neither_end_nor_stretch_the_wait_for_a_full_listener() {
    isolated!(|| {
        within(LIMIT, || {
            let full = full(SocketType::STREAM);
            let address = full.address.clone();
            interrupted(0, move || times_out(&address), || {});

            let address = full.address.clone();
            let connected = interrupted(
                1000,
                move || Channel::connect(&address).is_ok(),
                || {
                    for _ in 0..=full.waiting.len() {
                        rustix::net::accept(&full.listener).unwrap();
                    }
                },
            );
            assert!(connected);
        });
    });
}

/// It listens, and its machine drops what it has no room for: as one far away that does not answer.
#[test]
fn a_tcp_listener_that_does_not_answer_is_given_up_in_time() {
    isolated!(|| {
        within(LIMIT, || {
            let flags = SocketFlags::CLOEXEC;
            let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
            let fd = rustix::net::socket_with(family, kind, flags, None).unwrap();
            let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
            rustix::net::bind(&fd, &any).unwrap();
            rustix::net::listen(&fd, 0).unwrap();
            let at = std::net::TcpListener::from(fd.try_clone().unwrap());
            let address = Address::from(at.local_addr().unwrap());
            let mut waiting = Vec::new();
            while let Ok(channel) = Channel::connect_timeout(&address, SHORT) {
                waiting.push(channel);
                assert!(waiting.len() < 10, "its queue has no end");
            }
            times_out(&address);
            let now = Channel::connect_timeout(&address, Duration::ZERO).unwrap_err();
            assert!(matches!(now, ConnectError::TimedOut { .. }), "{now:?}");
        });
    });
}

#[test]
fn a_connection_has_the_mode_and_the_limits_of_any_socket() {
    isolated!(|| {
        for kind in KINDS {
            let Some(place) = Place::new(kind) else {
                continue;
            };
            let listener = Listener::bind(&place.address).unwrap();
            for limit in [None, Some(LIMIT)] {
                let channel = match limit {
                    None => Channel::connect(listener.address()),
                    Some(limit) => Channel::connect_timeout(listener.address(), limit),
                };
                let channel = channel.unwrap();
                let accepted = listener.accept().unwrap().unwrap();
                for end in [&channel, &accepted] {
                    let mode = rustix::fs::fcntl_getfl(end).unwrap();
                    assert!(!mode.contains(rustix::fs::OFlags::NONBLOCK), "{kind}");
                    let limit = rustix::net::sockopt::Timeout::Send;
                    let limit = rustix::net::sockopt::socket_timeout(end, limit);
                    assert_eq!(limit, Ok(None), "{kind}");
                    if kind.is_tcp() {
                        assert_eq!(rustix::net::sockopt::tcp_nodelay(end), Ok(true));
                    }
                }
            }
        }
    });
}

/// Of one path there is one socket; of an abstract name there may be one of each carrier.
#[test]
fn a_listener_with_another_carrier_is_told_as_that() {
    isolated!(|| {
        for kind in [Kind::UnixPath, Kind::SeqpacketPath] {
            let place = Place::new(kind).unwrap();
            let listener = Listener::bind(&place.address).unwrap();
            let path = place.address.as_path().unwrap();
            let other = match kind {
                Kind::UnixPath => Address::path(path).unwrap().seqpacket().unwrap(),
                _ => Address::path(path).unwrap(),
            };
            let error = Channel::connect(&other).unwrap_err();
            assert!(
                matches!(error, ConnectError::OtherCarrier { .. }),
                "{error:?}"
            );
            assert_eq!(
                error.to_string(),
                format!("a socket of another type is at {other}")
            );
            // And it is in use for both.
            assert!(Listener::bind(&other).is_err());
            drop(Channel::connect(listener.address()).unwrap());
        }
        let place = Place::new(Kind::UnixAbstract).unwrap();
        let packets = place.address.clone().seqpacket().unwrap();
        let _stream = Listener::bind(&place.address).unwrap();
        let error = Channel::connect(&packets).unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        let _packets = Listener::bind(&packets).unwrap();
        drop(Channel::connect(&packets).unwrap());
    });
}

/// Where nobody listens, and the kernel gives the one who connects the port that it connects to, TCP makes a connection of one
/// socket with itself.
#[test]
fn nobody_is_connected_with_oneself() {
    isolated!(|| {
        within(2 * LIMIT, || {
            // Of the ports that are given to those who connect.
            let place = loop {
                let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let place = port.local_addr().unwrap();
                if place.port() % 2 == 1 {
                    break std::net::SocketAddr::from(([127, 0, 0, 1], place.port() - 1));
                }
            };
            // One in 14,000 of them, about, whatever came before.
            const TRIES: usize = 60_000;
            let plain = (0..2 * TRIES).find_map(|_| {
                let stream = std::net::TcpStream::connect(place).ok()?;
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                Some(stream.local_addr().unwrap())
            });
            let Some(local) = plain else {
                skipped("the kernel connects nobody with oneself here");
                return;
            };
            if local != place {
                skipped("somebody has begun to listen there");
                return;
            }
            let address = Address::from(place);
            for _ in 0..TRIES {
                let error = Channel::connect(&address).unwrap_err();
                assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
            }
            assert_eq!(Sockets::own(), Sockets::default());
        });
    });
}
