//! However and whenever one of the two goes, the other is told, has all that came whole, and serves the next.

use std::process::Command;

use occ_sck::{Address, Bytes, Channel, Listener};
use occ_test_support::sockets::Sockets;
use occ_test_support::{LIMIT, dead, isolated, raw, role, stress, test_path, within};

use crate::carriers::{Kind, Place};

/// How a process goes.
const HOWS: [&str; 12] = [
    "closes",
    "drops",
    "drops on a thread that ends",
    "exits with 0",
    "exits with 3",
    "exits past everything",
    "panics",
    "returns",
    "is terminated",
    "is killed",
    "is aborted",
    "faults",
];

/// What it is at when it goes.
const WHENS: [&str; 5] = [
    "idle",
    "amid receiving",
    "amid sending small ones",
    "amid sending a long one",
    "with something unread",
];

const KINDS: [Kind; 3] = [Kind::UnixPath, Kind::SeqpacketAbstract, Kind::Tcp4];

/// A value that tells its number in every byte.
fn numbered(number: u32, len: usize) -> (u32, Bytes) {
    (number, Bytes(vec![number as u8; len]))
}

#[test]
fn role_goes() {
    if !role::is(test_path!()) {
        return;
    }
    let var = |name| std::env::var(name).unwrap();
    let address: Address = var("ADDRESS").parse().unwrap();
    let channel = match var("SIDE").as_str() {
        "client" => Channel::connect(&address).unwrap(),
        _ => {
            let listener = Listener::bind(&address).unwrap();
            // Where it is, it says to the one who waits for it there.
            let mut parent = Channel::connect(&var("PARENT").parse().unwrap()).unwrap();
            parent.send(listener.address()).unwrap();
            let accepted = listener.accept().unwrap().unwrap();
            // Its path stays, if it is killed.
            std::mem::forget(listener);
            accepted
        }
    };
    go(channel, &var("WHEN"), &var("HOW"));
}

fn go(mut channel: Channel, when: &str, how: &str) {
    if when != "idle" {
        channel.send(&numbered(0, 1)).unwrap();
    }
    let len = match when {
        "amid sending small ones" => 10,
        "amid sending a long one" => 8 << 20,
        "amid receiving" => 0,
        _ => return end(channel, how),
    };
    if how == "closes" || how.starts_with("drops") {
        // Nobody else can close what a thread is using: it does so itself, right after a part.
        if len > 0 {
            for number in 1..4 {
                channel.send(&numbered(number, len.min(100_000))).unwrap();
            }
        }
        return end(channel, how);
    }
    let (begins, begun) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if len == 0 {
            begins.send(()).unwrap();
            let _ = channel.receive::<()>();
        }
        for number in 1.. {
            if channel.send(&numbered(number, len)).is_err() {
                break;
            }
            let _ = begins.send(());
        }
    });
    begun.recv().unwrap();
    let (idle, _) = Channel::pair().unwrap();
    end(idle, how);
}

fn end(channel: Channel, how: &str) {
    match how {
        "closes" => channel.close(),
        "drops" => drop(channel),
        "drops on a thread that ends" => std::thread::spawn(|| drop(channel)).join().unwrap(),
        "exits with 0" => exit(0),
        "exits with 3" => exit(3),
        "exits past everything" => raw::exit_now(0),
        "panics" => panic!("as it was told to"),
        "returns" => {}
        "is terminated" => raw::raise(libc::SIGTERM),
        "is killed" => raw::raise(libc::SIGKILL),
        "is aborted" => std::process::abort(),
        "faults" => raw::write_to_null(),
        "stays" => raw::stay(),
        other => unreachable!("{other}"),
    }
}

#[expect(clippy::exit, reason = "one of the ways to go")]
fn exit(code: i32) {
    std::process::exit(code)
}

/// Receives until the end; whatever comes is whole and in order.
fn receive_until_the_end(channel: &mut Channel, at: &str) -> u32 {
    let mut number = 0;
    while let Some(value) = channel.receive::<(u32, Bytes)>().unwrap() {
        let len = value.1.len();
        assert!(value == numbered(number, len), "{at}: {number} is torn");
        number += 1;
    }
    number
}

fn the_other_is_told(victim_is_client: bool) {
    for kind in KINDS {
        for when in WHENS {
            for how in HOWS {
                let at = format!("{kind}, {when}, {how}");
                let place = Place::new(kind).unwrap();
                let parent = Place::new(Kind::UnixAbstract).unwrap();
                let mut command: Command = role::command("disconnects::role_goes");
                command.env("WHEN", when).env("HOW", how);
                // What it says when it panics is nobody's here.
                command
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null());

                let (mut child, mut channel, listener) = if victim_is_client {
                    let listener = Listener::bind(&place.address).unwrap();
                    command.env("SIDE", "client");
                    command.env("ADDRESS", listener.address().to_string());
                    let child = command.spawn().unwrap();
                    let channel = listener.accept().unwrap().unwrap();
                    (child, channel, Some(listener))
                } else {
                    let waiting = Listener::bind(&parent.address).unwrap();
                    command.env("SIDE", "server");
                    command.env("ADDRESS", place.address.to_string());
                    command.env("PARENT", parent.address.to_string());
                    let child = command.spawn().unwrap();
                    let mut from_child = waiting.accept().unwrap().unwrap();
                    let address: Address = from_child.receive().unwrap().unwrap();
                    drop((from_child, waiting));
                    (child, Channel::connect(&address).unwrap(), None)
                };
                if when == "with something unread" {
                    // It may have gone already.
                    let _ = channel.send(&"unread".to_string());
                }
                let arrived = receive_until_the_end(&mut channel, &at);
                let expected = u32::from(when != "idle");
                let reset = kind.is_tcp() && when == "with something unread";
                assert!(arrived >= expected || reset, "{at}: {arrived}");
                assert!(channel.send(&1_u8).is_err(), "{at}");
                dead::how(&mut child, LIMIT);
                drop(channel);

                // The next is served: by the one that listens, or where the other has listened.
                let listener = listener.unwrap_or_else(|| Listener::bind(&place.address).unwrap());
                let mut next = Channel::connect(listener.address()).unwrap();
                let mut server = listener.accept().unwrap().unwrap();
                next.send(&1_u8).unwrap();
                assert_eq!(server.receive().unwrap(), Some(1_u8), "{at}");
                drop((next, server, listener));
                assert_eq!(Sockets::own(), Sockets::default(), "{at}");
            }
        }
    }
}

#[test]
fn however_and_whenever_a_client_goes_the_server_is_told_and_serves_the_next() {
    isolated!(|| within(8 * LIMIT, || the_other_is_told(true)));
}

#[test]
fn however_and_whenever_a_server_goes_the_client_is_told_and_another_serves_it() {
    isolated!(|| within(8 * LIMIT, || the_other_is_told(false)));
}

/// A flood of clients, each of which sends without end and is killed; between them one that is not.
#[test]
fn a_server_survives_clients_that_spam_and_are_killed() {
    isolated!(|| {
        within(3 * LIMIT * stress::times(1) as u32, || {
            for kind in KINDS {
                let place = Place::new(kind).unwrap();
                let listener = Listener::bind(&place.address).unwrap();
                for round in 0..stress::times(8) as u32 {
                    let mut command: Command = role::command("disconnects::role_goes");
                    command
                        .env("WHEN", "amid sending small ones")
                        .env("HOW", "stays");
                    command.env("SIDE", "client");
                    command.env("ADDRESS", listener.address().to_string());
                    command.stdout(std::process::Stdio::null());
                    let mut child = command.spawn().unwrap();
                    let mut channel = listener.accept().unwrap().unwrap();
                    let mut number = 0;
                    while let Some(value) = channel.receive::<(u32, Bytes)>().unwrap() {
                        assert_eq!(value, numbered(number, value.1.len()), "{kind}");
                        if number == 50 * round {
                            child.kill().unwrap();
                        }
                        number += 1;
                    }
                    dead::how(&mut child, LIMIT);
                    let mut next = Channel::connect(listener.address()).unwrap();
                    let mut server = listener.accept().unwrap().unwrap();
                    next.send(&1_u8).unwrap();
                    assert_eq!(server.receive().unwrap(), Some(1_u8), "{kind}");
                }
                let listening = 1;
                let expected = Sockets {
                    listening,
                    ..Sockets::default()
                };
                assert_eq!(Sockets::own(), expected);
            }
        });
    });
}

/// Many at once, some of them up to no good, and each that is not gets its own answers in order.
#[test]
fn a_server_of_many_clients_serves_each_though_some_misbehave() {
    const CLIENTS: u32 = 12;
    const QUESTIONS: u32 = 50;
    isolated!(|| {
        within(LIMIT, || {
            for kind in KINDS {
                let place = Place::new(kind).unwrap();
                let listener = Listener::bind(&place.address).unwrap();
                std::thread::scope(|scope| {
                    let server = scope.spawn(|| {
                        while let Some(mut channel) = listener.accept().unwrap() {
                            scope.spawn(move || {
                                while let Ok(Some((who, question))) =
                                    channel.receive::<(u32, u32)>()
                                {
                                    if channel.send(&(who, question + 1)).is_err() {
                                        break;
                                    }
                                }
                            });
                        }
                    });
                    let clients: Vec<_> = (0..CLIENTS)
                        .map(|who| {
                            let address = listener.address();
                            scope.spawn(move || client(who, QUESTIONS, address))
                        })
                        .collect();
                    for client in clients {
                        client.join().unwrap();
                    }
                    listener.close();
                    server.join().unwrap();
                });
                assert_eq!(Sockets::own(), Sockets::default());
            }
        });
    });
}

fn client(who: u32, questions: u32, address: &Address) {
    for round in 0..4 {
        let mut channel = Channel::connect(address).unwrap();
        match (who + round) % 4 {
            // It asks, and goes without an answer.
            0 => channel.send(&(who, round)).unwrap(),
            // It is no client at all.
            1 => {
                let sent =
                    rustix::net::send(&channel, &[0xff; 64], rustix::net::SendFlags::NOSIGNAL);
                assert_eq!(sent, Ok(64));
                assert_eq!(channel.receive::<u8>().unwrap(), None);
            }
            // It asks for all at once.
            2 => {
                for question in 0..questions {
                    channel.send(&(who, question)).unwrap();
                }
                for question in 0..questions {
                    assert_eq!(channel.receive().unwrap(), Some((who, question + 1)));
                }
            }
            _ => {
                for question in 0..questions {
                    channel.send(&(who, question)).unwrap();
                    assert_eq!(channel.receive().unwrap(), Some((who, question + 1)));
                }
            }
        }
    }
}
