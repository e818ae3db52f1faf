//! Who connects with an inbox and is none, or not the one that it says.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use occ_inbox::{Address, Deadline, Disconnected, InboxLimits, ReceiveError, SendError, Socket};
use occ_sck::{Channel, Header, Listener, Packet, Received, TypeKey, encode_into, kind};
use occ_test_support::{LIMIT, dead, role, takes, test_path, within};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::listening::anywhere;
use crate::listening_clients::{given, start};
use crate::{assert_empty, put_bytes};

/// A connection on which nothing has been said.
pub(crate) fn connect(address: &Address) -> Socket {
    Channel::connect(address).unwrap().into_socket().unwrap()
}

/// The first word, as it is on the wire.
fn first_word(version: u8, address: &str) -> Packet {
    let mut payload = Vec::new();
    encode_into(&(version, address), &mut payload).unwrap();
    let key = TypeKey::from_bytes(*b"occ-inbox hello\0");
    Packet::raw(kind::USER + 3, key, "occ_inbox::Hello", &payload)
}

/// A connection of an inbox that says to be at `own`.
pub(crate) fn connected(address: &Address, own: &str) -> Socket {
    let socket = connect(address);
    first_word(1, own)
        .send_part(0, &socket, &[], Deadline::Never)
        .unwrap();
    socket
}

fn is_closed(socket: &Socket) -> bool {
    let (mut buffer, mut fds) = ([0; 64], Vec::new());
    let received = socket.receive(&mut buffer, &mut fds, Deadline::after(LIMIT));
    matches!(received, Ok(Received::Closed))
}

pub(crate) fn put_by_name<T: occ_inbox::Term>(socket: &Socket, value: &T) {
    let mut packet = Packet::of(kind::USER, value).unwrap();
    packet.key_by_name();
    packet.send_part(0, socket, &[], Deadline::Never).unwrap();
}

/// Another program, in which the type has the same name and another key.
#[test]
fn what_another_program_sends_is_received_by_its_name() {
    let mut one = anywhere();
    let socket = connected(&one.address(), "seqpacket:@another program");
    for number in 0..3_u32 {
        put_by_name(&socket, &number);
    }
    put_by_name(&socket, &"text".to_string());
    assert_eq!(one.receive_where(|number: &u32| *number == 1).unwrap(), 1);
    let got = occ_inbox::receive! { one;
        text: String => text,
        _never: u64 => "a u64".to_string(),
    };
    assert_eq!(got.unwrap(), "text");
    let message = one.receive_any().unwrap();
    assert!(message.is::<u32>() && !message.is::<i32>());
    assert_eq!(one.receive::<u32>().unwrap(), 2);
    assert_empty(&mut one);
}

#[test]
fn a_wrong_first_word_ends_that_connection_and_nothing_else() {
    within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        one.notify_disconnects(true);
        two.send_to(&one.address(), &0_u32).unwrap();
        assert_eq!(one.receive::<u32>().unwrap(), 0);
        let own = one.address().to_string();
        let words: [&dyn Fn(&Socket); 7] = [
            &|socket| put_bytes(socket, b"GET / HTTP/1.1\r\n\r\n"),
            &|socket| put_by_name(socket, &1_u32),
            &|socket| put_bytes(socket, &[0xff; 4096]),
            &|socket| put_bytes(socket, &[0; 60_000]),
            &|socket| {
                first_word(2, "seqpacket:@x")
                    .send_part(0, socket, &[], Deadline::Never)
                    .unwrap()
            },
            &|socket| {
                first_word(1, "tcp:127.0.0.1:1")
                    .send_part(0, socket, &[], Deadline::Never)
                    .unwrap()
            },
            // It says that it is us.
            &|socket| {
                first_word(1, &own)
                    .send_part(0, socket, &[], Deadline::Never)
                    .unwrap()
            },
        ];
        for (at, word) in words.iter().enumerate() {
            let socket = connect(&one.address());
            word(&socket);
            assert_empty(&mut one);
            assert!(is_closed(&socket), "{at}");
            two.send_to(&one.address(), &1_u32).unwrap();
            assert_eq!(one.receive::<u32>().unwrap(), 1);
        }
        assert_empty(&mut one);
        assert_eq!(one.info().unwrap().peers.len(), 1);
    });
}

#[test]
fn who_says_nothing_is_dropped_after_two_seconds_and_not_before() {
    within(LIMIT, || {
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut one = anywhere();
        let socket = connect(&one.address());
        let before = Instant::now();
        assert_empty(&mut one);
        let address = one.address();
        std::thread::scope(|scope| {
            let dropped = scope.spawn(|| {
                assert!(is_closed(&socket));
                let took = before.elapsed();
                anywhere().send_to(&address, &()).unwrap();
                took
            });
            // It is dropped by one who waits for something else.
            one.receive::<()>().unwrap();
            let took = dropped.join().unwrap();
            assert!(took >= PATIENCE && took < PATIENCE * 10, "{took:?}");
        });
    });
}

/// More than may be silent, more than the kernel lets wait: who has something to say is heard.
#[test]
fn a_flood_of_silent_connections_keeps_nobody_out() {
    // By itself, to count the descriptors.
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        let before = occ_test_support::fds::OpenFds::now().count();
        let mut silent: Vec<Socket> = Vec::new();
        for round in 0..8_u32 {
            silent.extend((0..100).map(|_| connect(&one.address())));
            let mut late = anywhere();
            late.send_to(&one.address(), &round).unwrap();
            two.send_to(&one.address(), &(round, "two".to_string()))
                .unwrap();
            assert_eq!(one.receive::<u32>().unwrap(), round);
            assert_eq!(one.receive::<(u32, String)>().unwrap().0, round);
        }
        // Behind all of them stands one, and one look finds it.
        silent.extend((0..200).map(|_| connect(&one.address())));
        two.send_to(&one.address(), &0_u8).unwrap();
        let mut last = anywhere();
        last.send_to(&one.address(), &1_u8).unwrap();
        assert_eq!(one.tick().unwrap(), 2);
        // 1,000 ends are ours, and of the others no more than 64 are held.
        let held = occ_test_support::fds::OpenFds::now().count() - before - silent.len();
        assert!(held < 80, "{held}");
        let closed = |socket: &&Socket| {
            let received = socket.receive(&mut [0; 64], &mut Vec::new(), Deadline::Now);
            matches!(received, Ok(Received::Closed))
        };
        let closed = silent.iter().filter(closed).count();
        assert!((1000 - 64..1000).contains(&closed), "{closed}");
    }));
}

#[test]
fn where_the_queue_is_full_who_sends_waits_and_no_longer_than_its_limit() {
    within(LIMIT, || {
        const UNIT: Duration = Duration::from_millis(50);
        let mut one = anywhere();
        let name = format!("full queue {}", std::process::id());
        let address = Address::abstract_name(&name).unwrap().seqpacket().unwrap();
        let at = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let listener =
            rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::bind(&listener, &at).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let first = connect(&address);
        let full = |sent| matches!(sent, Err(SendError::Full { .. }));
        assert!(full(
            takes(UNIT, || one.send_to_timeout(&address, &1_u32, UNIT))
        ));
        std::thread::scope(|scope| {
            let accepted = scope.spawn(|| {
                // Not before the other waits, as far as can be.
                takes(UNIT, || anywhere().receive_timeout::<()>(UNIT)).unwrap();
                [(); 2].map(|()| rustix::net::accept(&listener).unwrap())
            });
            one.send_to(&address, &2_u32).unwrap();
            let [_, second] = accepted.join().unwrap();
            assert_eq!(kinds(&second.into()), (vec![HELLO, kind::USER], false));
        });
        drop(first);
    });
}

/// What comes on a connection after the first word is told as what it is, once, and ends it.
#[test]
fn a_peer_that_breaks_the_protocol_later_is_told_and_disconnected() {
    let mut one = anywhere();
    one.notify_disconnects(true);
    let socket = connected(&one.address(), "seqpacket:@breaker");
    put_by_name(&socket, &1_u32);
    first_word(1, "seqpacket:@breaker")
        .send_part(0, &socket, &[], Deadline::Never)
        .unwrap();
    assert_eq!(one.receive::<u32>().unwrap(), 1);
    assert!(matches!(
        one.receive::<u32>(),
        Err(ReceiveError::Broken { .. })
    ));
    let end: Disconnected = one.receive().unwrap();
    assert_eq!(end.address.to_string(), "seqpacket:@breaker");
    assert!(is_closed(&socket));
    assert_empty(&mut one);
}

/// The kinds of what has come on it, and whether it is closed.
fn kinds(socket: &Socket) -> (Vec<u8>, bool) {
    let mut kinds = Vec::new();
    loop {
        let (mut buffer, mut fds) = ([0; 1000], Vec::new());
        match socket
            .receive(&mut buffer, &mut fds, Deadline::Now)
            .unwrap()
        {
            Received::Datagram { len, .. } => {
                kinds.push(Header::parse(&buffer[..len]).unwrap().0.kind);
            }
            end => return (kinds, end == Received::Closed),
        }
    }
}

const HELLO: u8 = kind::USER + 3;
const NO_ROOM: u8 = kind::USER + 1;

/// Our connection with it is made, and it has made its own at the same instant: both are sent and received on, and they have one end.
#[test]
fn of_two_connections_of_one_instant_each_sends_on_its_own() {
    for ends_first in ["ours", "theirs"] {
        let mut one = anywhere();
        one.notify_disconnects(true);
        one.set_limits(InboxLimits {
            messages: 4,
            ..InboxLimits::default()
        });
        let own = format!("seqpacket:@instant-{ends_first}-{}", std::process::id());
        let address: Address = own.parse().unwrap();
        let listener = Listener::bind(&address).unwrap();
        one.send_to(&address, &1_u32).unwrap();
        let ours = listener.accept().unwrap().unwrap().into_socket().unwrap();
        let theirs = connected(&one.address(), &own);
        for number in 0..50_u32 {
            put_by_name(&theirs, &number);
        }
        for number in 0..40_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        one.send_to(&address, &2_u32).unwrap();
        one.send_to(&address, &3_u32).unwrap();
        let user = kind::USER;
        assert_eq!(kinds(&ours), (vec![HELLO, user, user, user], false));
        assert_eq!(kinds(&theirs), (vec![], false));
        let info = one.info().unwrap();
        assert_eq!(info.peers.len(), 1);
        assert_eq!(info.messages + info.peers[0].in_kernel.min(1), 5);
        let (ends, other) = match ends_first {
            "ours" => (ours, theirs),
            _ => (theirs, ours),
        };
        ends.close();
        for number in 40..50_u32 {
            assert_eq!(one.receive::<u32>().unwrap(), number);
        }
        let end: Disconnected = one.receive().unwrap();
        assert_eq!(end.address, address);
        assert_eq!(kinds(&other), (vec![], true));
        assert_empty(&mut one);
        assert!(one.info().unwrap().peers.is_empty());
    }
}

/// It has none left for those who connect: what they have sent is received, and they are told.
#[test]
fn without_descriptors_what_was_sent_is_received_and_the_sender_told() {
    occ_test_support::isolated!(|| {
        let mut one = anywhere();
        let silent = connect(&one.address());
        let peers = ["a", "b"].map(|name| {
            let socket = connected(&one.address(), &format!("seqpacket:@{name}"));
            put_by_name(&socket, &name.to_string());
            socket
        });
        let mut fill = Vec::new();
        while let Ok(fd) = std::fs::File::open("/dev/null") {
            fill.push(fd);
        }
        assert_eq!(one.receive::<String>().unwrap(), "a");
        assert_eq!(one.receive::<String>().unwrap(), "b");
        assert_empty(&mut one);
        for socket in &peers {
            assert_eq!(kinds(socket), (vec![NO_ROOM], true));
        }
        // Whoever says nothing makes room for those who do.
        assert_eq!(kinds(&silent), (vec![], true));
        drop(fill);
        let again = connected(&one.address(), "seqpacket:@a");
        put_by_name(&again, &"again".to_string());
        assert_eq!(one.receive::<String>().unwrap(), "again");
        assert_eq!(kinds(&again), (vec![], false));
    });
}

/// The address is the peer's word: one that comes back is taken for the same, and the old connection ends.
#[test]
fn a_peer_that_connects_anew_is_read_to_the_end_of_the_old_connection_first() {
    let mut one = anywhere();
    one.notify_disconnects(true);
    let first = connected(&one.address(), "seqpacket:@peer");
    put_by_name(&first, &1_u32);
    one.tick().unwrap();
    put_by_name(&first, &2_u32);
    let second = connected(&one.address(), "seqpacket:@peer");
    put_by_name(&second, &3_u32);
    for number in 1..=2_u32 {
        assert_eq!(one.receive::<u32>().unwrap(), number);
    }
    let _: Disconnected = one.receive_any().unwrap().decode().unwrap();
    assert_eq!(one.receive::<u32>().unwrap(), 3);
    assert!(is_closed(&first));
    assert_eq!(one.info().unwrap().peers.len(), 1);
    drop(second);
    let _: Disconnected = one.receive().unwrap();
    assert_empty(&mut one);
}

/// Says that it is at an address that may be another's, and waits until the connection is closed.
#[test]
fn role_claims_an_address() {
    if role::is(test_path!()) {
        let claimed = std::env::var("CLAIMED").unwrap();
        let socket = connected(&given(), &claimed);
        let mut packet = Packet::of(kind::USER, &"claimed".to_string()).unwrap();
        packet.key_by_name();
        // It may have been turned away by now.
        let _ = packet.send_part(0, &socket, &[], Deadline::Never);
        assert!(is_closed(&socket));
    }
}

#[test]
fn another_user_cannot_claim_an_address_that_there_is_a_connection_with() {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return occ_test_support::skipped("only root can start a process of another user");
    }
    occ_test_support::isolated!(|| within(LIMIT, || {
        let mut two = anywhere();
        let address = two.address();
        for connected in [true, false] {
            let mut one = anywhere();
            if connected {
                two.send_to(&one.address(), &1_u32).unwrap();
                assert_eq!(one.receive::<u32>().unwrap(), 1);
            }
            let role = "listening_strangers::role_claims_an_address";
            let mut command = start(role, &one.address());
            command.env("CLAIMED", address.to_string()).uid(NOBODY);
            let mut child = command.spawn().unwrap();
            if connected {
                // Until it has been turned away.
                while child.try_wait().unwrap().is_none() {
                    let limit = Duration::from_millis(1);
                    assert!(one.receive_any_timeout(limit).unwrap().is_none());
                }
                two.send_to(&one.address(), &2_u32).unwrap();
                assert_eq!(one.receive::<u32>().unwrap(), 2);
            } else {
                // The control: where nobody else has said that it is there, that is believed, and the kernel's word can be had.
                let message = one.receive_any().unwrap();
                assert_eq!(message.from, two.pid());
                let said = one.credentials_of(message.from).unwrap();
                assert_eq!((said.user, said.os_pid), (NOBODY, Some(child.id())));
                drop(one);
            }
            assert!(dead::how(&mut child, LIMIT).success());
        }
    }));
}
