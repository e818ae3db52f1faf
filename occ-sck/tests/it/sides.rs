//! A client and a server, each a process of its own that does what it is told, step by step.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Child, Command};

use occ_sck::{Address, Bytes, Channel, Limits, Listener, Packet, Socket, kind};
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::sockets::Sockets;
use occ_test_support::{LIMIT, dead, isolated, role, test_path, within};
use serde::{Deserialize, Serialize};

use crate::carriers::{KINDS, Kind, Place, wait_until_gone};
use crate::cutting::framed;

/// What a side is told to do.
#[derive(Debug, Serialize, Deserialize)]
enum Do {
    Listen(Address),
    Unlisten,
    Accept,
    Connect(Address),
    Send(String),
    /// Datagrams, past all framing but their own.
    Raw(Vec<Vec<u8>>),
    /// Bytes as they are.
    Bytes(Vec<u8>),
    Receive,
    /// Waits until the kernel knows that the peer has gone.
    WaitUntilGone,
    Disconnect,
    End,
}

/// What came of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Told {
    Done,
    Listening(Address),
    Received(String),
    /// The peer has gone. The connection is closed on this side, too.
    Disconnected,
    Failed(String),
}

struct Side {
    child: Child,
    control: Channel,
}

impl Side {
    fn start() -> Side {
        let (ours, theirs) = Socket::pair().unwrap();
        let mut command: Command = role::command("sides::role_side");
        let theirs = Pass::new(theirs.into());
        theirs.to("CONTROL", &mut command);
        Side {
            child: command.spawn().unwrap(),
            control: Channel::new(ours, Limits::default()),
        }
    }

    fn ask(&mut self, what: Do) -> Told {
        self.control.send(&what).unwrap();
        self.control.receive().unwrap().expect("the side lives")
    }

    #[track_caller]
    fn does(&mut self, what: Do) {
        assert_eq!(self.ask(what), Told::Done);
    }

    #[track_caller]
    fn receives(&mut self, text: &str) {
        assert_eq!(self.ask(Do::Receive), Told::Received(text.into()));
    }

    #[track_caller]
    fn is_disconnected(&mut self) {
        assert_eq!(self.ask(Do::Receive), Told::Disconnected);
    }

    #[track_caller]
    fn fails(&mut self, what: Do, words: &str) {
        match self.ask(what) {
            Told::Failed(error) if error.contains(words) => {}
            other => panic!("expected a failure that says {words:?}, got {other:?}"),
        }
    }

    #[track_caller]
    fn has(&self, listening: usize, connected: usize) {
        let found = Sockets::of(self.child.id());
        assert_eq!(
            found,
            Sockets {
                listening,
                connected
            }
        );
    }

    fn listens(&mut self, address: &Address) -> Address {
        match self.ask(Do::Listen(address.clone())) {
            Told::Listening(address) => address,
            other => panic!("{other:?}"),
        }
    }

    fn ends(mut self) {
        self.does(Do::End);
        assert!(dead::how(&mut self.child, LIMIT).success());
    }

    fn killed(mut self) {
        self.child.kill().unwrap();
        dead::how(&mut self.child, LIMIT);
    }
}

#[test]
fn role_side() {
    if !role::is(test_path!()) {
        return;
    }
    let control = Socket::from(inherited("CONTROL"));
    let mut control = Channel::new(control, Limits::default());
    let mut side = Playing::default();
    while let Some(what) = control.receive::<Do>().unwrap() {
        let end = matches!(what, Do::End);
        let told = side.play(what);
        control.send(&told.unwrap_or_else(Told::Failed)).unwrap();
        if end {
            break;
        }
    }
}

#[derive(Default)]
struct Playing {
    listener: Option<Listener>,
    channel: Option<Channel>,
}

impl Playing {
    fn play(&mut self, what: Do) -> Result<Told, String> {
        let words = |error: &dyn std::error::Error| crate::words(error);
        let listener = || self.listener.as_ref().ok_or("not listening");
        match what {
            Do::Listen(address) => {
                let made = Listener::bind(&address).map_err(|error| words(&error))?;
                let address = made.address().clone();
                self.listener = Some(made);
                return Ok(Told::Listening(address));
            }
            Do::Unlisten => {
                listener()?.close();
                self.listener = None;
            }
            Do::Accept => {
                let accepted = listener()?.accept().map_err(|error| words(&error))?;
                self.channel = accepted;
            }
            Do::Connect(address) => {
                let made = Channel::connect(&address).map_err(|error| words(&error))?;
                self.channel = Some(made);
            }
            Do::Disconnect => {
                self.channel.take().ok_or("not connected")?.close();
            }
            Do::End => {}
            on_a_connection => {
                let channel = self.channel.as_mut().ok_or("not connected")?;
                let told = play_on(channel, on_a_connection);
                // As whoever is told so would do.
                if told != Ok(Told::Done) && !matches!(told, Ok(Told::Received(_))) {
                    self.channel = None;
                }
                return told;
            }
        }
        Ok(Told::Done)
    }
}

fn play_on(channel: &mut Channel, what: Do) -> Result<Told, String> {
    match what {
        Do::Send(text) => channel.send(&text).map_err(|error| crate::words(&error))?,
        Do::Raw(datagrams) => {
            for datagram in datagrams {
                let flags = rustix::net::SendFlags::NOSIGNAL;
                let sent = rustix::net::send(&channel, &datagram, flags);
                let sent = sent.map_err(|error| std::io::Error::from(error).to_string())?;
                assert_eq!(sent, datagram.len());
            }
        }
        Do::Bytes(bytes) => {
            let copy = channel.as_fd().try_clone_to_owned().unwrap();
            let mut stream = std::os::unix::net::UnixStream::from(copy);
            stream
                .write_all(&bytes)
                .map_err(|error| error.to_string())?;
        }
        Do::Receive => {
            let received = channel.receive().map_err(|error| crate::words(&error))?;
            return Ok(received.map_or(Told::Disconnected, Told::Received));
        }
        Do::WaitUntilGone => wait_until_gone(channel),
        other => unreachable!("{other:?}"),
    }
    Ok(Told::Done)
}

/// A connected pair of processes, and where the server listens.
struct Both {
    client: Side,
    server: Side,
    address: Address,
}

impl Both {
    fn connect(&mut self) {
        self.client.does(Do::Connect(self.address.clone()));
        self.server.does(Do::Accept);
        self.client.has(0, 1);
        self.server.has(1, 1);
    }

    /// The two sides, from the one with this name to the other.
    fn from(&mut self, client: bool) -> (&mut Side, &mut Side) {
        match client {
            true => (&mut self.client, &mut self.server),
            false => (&mut self.server, &mut self.client),
        }
    }

    fn end(self) {
        self.client.ends();
        self.server.ends();
    }
}

/// Runs `body` for each kind of address, with a client and a server that listens and is connected with it.
fn over_each(body: impl Fn(Kind, Both)) {
    for kind in KINDS {
        let Some(place) = Place::new(kind) else {
            continue;
        };
        let (client, mut server) = (Side::start(), Side::start());
        client.has(0, 0);
        server.has(0, 0);
        let address = server.listens(&place.address);
        server.has(1, 0);
        let mut both = Both {
            client,
            server,
            address,
        };
        both.connect();
        body(kind, both);
        if let Some(path) = place.address.as_path() {
            // What a killed server leaves.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A value of two datagrams, and the first half of what a carrier makes of it.
fn half(kind: Kind) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let packet = Packet::of(kind::USER, &Bytes(vec![1; occ_sck::PART + 100])).unwrap();
    let datagrams = crate::datagrams(&packet);
    if !kind.is_stream() {
        let (first, rest) = datagrams.split_at(1);
        return (first.to_vec(), rest.to_vec());
    }
    let bytes: Vec<u8> = datagrams.iter().flat_map(|each| framed(each, 0)).collect();
    let (first, rest) = bytes.split_at(bytes.len() / 3);
    (vec![first.to_vec()], vec![rest.to_vec()])
}

/// SK-3: a raw client of a server that is a process.
#[test]
fn a_server_serves_a_client_that_is_not_ours() {
    isolated!(|| {
        within(LIMIT, || {
            let mut server = Side::start();
            let address = server.listens(&"tcp:127.0.0.1:0".parse().unwrap());
            let client = std::net::TcpStream::connect(address.as_tcp().unwrap()).unwrap();
            server.does(Do::Accept);
            server.has(1, 1);
            drop(client);
            server.is_disconnected();
            server.has(1, 0);

            let place = Place::new(Kind::UnixPath).unwrap();
            server.does(Do::Unlisten);
            server.has(0, 0);
            server.listens(&place.address);
            let client =
                std::os::unix::net::UnixStream::connect(place.address.as_path().unwrap()).unwrap();
            server.does(Do::Accept);
            server.has(1, 1);
            drop(client);
            server.is_disconnected();
            server.has(1, 0);
            server.does(Do::Unlisten);
            server.has(0, 0);
            server.ends();
        });
    });
}

/// SK-4, SK-5.
#[test]
fn messages_go_each_way_in_order_and_a_disconnect_is_told_to_both() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|_, mut both| {
                for number in 0..2 {
                    both.client
                        .does(Do::Send(format!("to the server {number}")));
                    both.server
                        .does(Do::Send(format!("to the client {number}")));
                }
                for number in 0..2 {
                    both.server.receives(&format!("to the server {number}"));
                    both.client.receives(&format!("to the client {number}"));
                }
                both.client.does(Do::Disconnect);
                both.client.has(0, 0);
                both.server.is_disconnected();
                both.server.has(1, 0);
                both.end();
            });
        });
    });
}

/// SK-6.
#[test]
fn who_was_disconnected_connects_again() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|_, mut both| {
                for round in 0..3 {
                    both.client.does(Do::Send(format!("question {round}")));
                    both.server.receives(&format!("question {round}"));
                    both.server.does(Do::Send(format!("answer {round}")));
                    both.client.receives(&format!("answer {round}"));
                    let (from, to) = both.from(round % 2 == 0);
                    from.does(Do::Disconnect);
                    to.is_disconnected();
                    both.client.has(0, 0);
                    both.server.has(1, 0);
                    both.connect();
                }
                both.end();
            });
        });
    });
}

/// SK-7, SK-8: one of the processes ends.
#[test]
fn when_one_ends_the_other_is_disconnected_and_its_socket_is_gone() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|_, both| {
                let Both {
                    mut client, server, ..
                } = both;
                server.ends();
                client.is_disconnected();
                client.has(0, 0);
                client.fails(Do::Send("to whom".into()), "not connected");
                client.ends();
            });
            over_each(|_, both| {
                let Both {
                    client, mut server, ..
                } = both;
                client.ends();
                server.is_disconnected();
                server.has(1, 0);
                server.fails(Do::Send("to whom".into()), "not connected");
                server.ends();
            });
        });
    });
}

/// SK-9, SK-10: who sends without having received the end.
#[test]
fn who_sends_after_the_other_has_ended_is_told() {
    isolated!(|| {
        within(4 * LIMIT, || {
            for survivor_is_client in [true, false] {
                over_each(|_, both| {
                    let Both { client, server, .. } = both;
                    let (victim, mut survivor) = match survivor_is_client {
                        true => (server, client),
                        false => (client, server),
                    };
                    victim.ends();
                    survivor.does(Do::WaitUntilGone);
                    survivor.fails(Do::Send("anybody".into()), "the peer has closed");
                    survivor.fails(Do::Send("anybody".into()), "not connected");
                    survivor.has(usize::from(!survivor_is_client), 0);
                    survivor.ends();
                });
            }
        });
    });
}

/// SK-11 to SK-14, with the same two processes all the while: each side learns of it, has no socket left, and the next connection is
/// fine.
#[test]
fn a_malformed_frame_is_told_to_both_and_they_connect_again() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|kind, mut both| {
                let frame = |bytes: &[u8]| match kind.is_stream() {
                    true => framed(bytes, 0),
                    false => bytes.to_vec(),
                };
                let name = std::any::type_name::<String>();
                let key = occ_sck::TypeKey::by_name::<String>();
                let no_value = Packet::raw(kind::USER, key, name, b"\x09not nine");
                let cases = [
                    (frame(&[0xff; 100]), "malformed frame"),
                    (frame(&[0; 40]), "malformed frame"),
                    (vec![0xff; 50], "malformed frame"),
                    (
                        frame(&crate::datagrams(&no_value)[0]),
                        "cannot decode a `alloc::string::String`",
                    ),
                ];
                for from_client in [true, false] {
                    for (bytes, words) in &cases {
                        let (from, to) = both.from(from_client);
                        from.does(Do::Raw(vec![bytes.clone()]));
                        to.fails(Do::Receive, words);
                        from.is_disconnected();
                        both.client.has(0, 0);
                        both.server.has(1, 0);
                        both.connect();
                    }
                }
                both.end();
            });
        });
    });
}

/// SK-15, SK-16, and one that is not killed.
#[test]
fn when_one_is_killed_the_other_is_disconnected_and_serves_the_next() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|_, both| {
                let Both {
                    mut client, server, ..
                } = both;
                client.does(Do::Send("read by nobody".into()));
                server.killed();
                client.is_disconnected();
                client.has(0, 0);
                client.ends();
            });
            over_each(|_, both| {
                let Both {
                    client,
                    mut server,
                    address,
                } = both;
                client.killed();
                server.is_disconnected();
                server.has(1, 0);
                let mut next = Side::start();
                next.does(Do::Connect(address));
                server.does(Do::Accept);
                next.does(Do::Send("hello".into()));
                server.receives("hello");
                server.has(1, 1);
                next.ends();
                server.ends();
            });
        });
    });
}

/// SK-17, SK-18, SK-20: half of a message, and its sender killed or not.
#[test]
fn half_a_message_of_one_that_is_killed_is_none_and_of_one_that_lives_becomes_whole() {
    isolated!(|| {
        within(4 * LIMIT, || {
            for from_client in [true, false] {
                over_each(|kind, both| {
                    let Both { client, server, .. } = both;
                    let (mut victim, mut survivor) = match from_client {
                        true => (client, server),
                        false => (server, client),
                    };
                    victim.does(Do::Send("a whole one".into()));
                    victim.does(Do::Raw(half(kind).0));
                    victim.killed();
                    survivor.receives("a whole one");
                    survivor.is_disconnected();
                    survivor.has(usize::from(from_client), 0);
                    survivor.ends();
                });
                over_each(|kind, mut both| {
                    let (from, to) = both.from(from_client);
                    let (first, rest) = half(kind);
                    from.does(Do::Raw(first));
                    from.does(Do::Raw(rest));
                    // It is of another type than the side asks for, and whole.
                    to.fails(Do::Receive, "expected a `alloc::string::String`");
                    both.end();
                });
            }
        });
    });
}

/// SK-19, SK-21: half of a message, and its receiver killed.
#[test]
fn the_second_half_to_one_that_was_killed_is_an_error_and_then_there_is_no_connection() {
    isolated!(|| {
        within(4 * LIMIT, || {
            for from_client in [true, false] {
                over_each(|kind, both| {
                    let Both { client, server, .. } = both;
                    let (mut survivor, victim) = match from_client {
                        true => (client, server),
                        false => (server, client),
                    };
                    let (first, rest) = half(kind);
                    survivor.does(Do::Raw(first));
                    victim.killed();
                    survivor.does(Do::WaitUntilGone);
                    match kind {
                        // TCP says so of the next, or of this one if it was reset.
                        kind if kind.is_tcp() => drop(survivor.ask(Do::Bytes(rest.concat()))),
                        // A broken pipe, or a reset, because it left something unread.
                        _ => survivor.fails(Do::Raw(rest), "os error"),
                    }
                    let told = survivor.ask(Do::Receive);
                    let gone = Told::Failed("not connected".into());
                    assert!(
                        told == Told::Disconnected || told == gone,
                        "{kind}: {told:?}"
                    );
                    survivor.fails(Do::Send("anybody".into()), "not connected");
                    survivor.has(usize::from(!from_client), 0);
                    survivor.ends();
                });
            }
        });
    });
}

/// SK-22, and the author's misuse: each is told as what it is, also after it was otherwise.
#[test]
fn what_a_side_cannot_do_now_is_told_and_costs_nothing() {
    isolated!(|| {
        within(4 * LIMIT, || {
            over_each(|kind, mut both| {
                let address = both.address.clone();
                let mut third = Side::start();
                third.fails(Do::Unlisten, "not listening");
                third.fails(Do::Accept, "not listening");
                third.fails(Do::Disconnect, "not connected");
                third.fails(Do::Send("x".into()), "not connected");
                third.fails(Do::Receive, "not connected");
                third.fails(Do::Listen(address.clone()), "is in use");
                both.server.fails(Do::Listen(address.clone()), "is in use");

                both.server.does(Do::Unlisten);
                both.server.fails(Do::Unlisten, "not listening");
                third.fails(Do::Connect(address.clone()), "nobody listens at");
                // The connection that was there goes on.
                both.client.does(Do::Send("still here".into()));
                both.server.receives("still here");

                // Where one has stopped listening another does.
                assert_eq!(third.listens(&address), address);
                both.client.does(Do::Disconnect);
                both.client.fails(Do::Disconnect, "not connected");
                both.server.is_disconnected();
                both.client.does(Do::Connect(address.clone()));
                third.does(Do::Accept);
                third.does(Do::Send(format!("over {kind}")));
                both.client.receives(&format!("over {kind}"));
                third.ends();
                both.client.is_disconnected();
                both.end();
            });
        });
    });
}
