//! One of two inboxes ends, at whatever they are: closed, or killed.

use std::process::Child;

use occ_inbox::{Address, Disconnected, Inbox, SendError};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, role, test_path, within};

use crate::assert_empty;
use crate::listening::{Folder, anywhere};
use crate::listening_clients::{given, start};

/// Says that it is ready, and waits for its end.
fn stay(say: &Say) -> ! {
    say.ready();
    loop {
        std::thread::park();
    }
}

fn begin(role: &str, address: &Address) -> (Child, Ready) {
    let (ready, say) = Ready::new();
    let mut command = start(role, address);
    say.pass("SAY", &mut command);
    (command.spawn().unwrap(), ready)
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    dead::gone(child.id(), LIMIT);
    child.wait().unwrap();
}

/// IN-17
#[test]
fn an_end_is_told_in_its_place_to_who_asks_for_it() {
    let mut one = anywhere();
    for notify in [false, true, false] {
        one.notify_disconnects(notify);
        let mut two = anywhere();
        let (pid, address) = (two.pid(), two.address());
        two.send_to(&one.address(), &1_u32).unwrap();
        drop(two);
        let message = one.receive_any().unwrap();
        assert_eq!((message.from, message.decode().unwrap()), (pid, 1_u32));
        if notify {
            let end: Disconnected = one.receive().unwrap();
            assert_eq!((end.pid, &end.address), (pid, &address));
        }
        assert_empty(&mut one);
        let sent = one.send(pid, &1);
        assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
        assert_empty(&mut one);
    }
}

#[test]
fn an_end_that_a_send_finds_is_told_once_and_behind_what_was_sent_before() {
    let mut one = anywhere();
    one.notify_disconnects(true);
    for _ in 0..20 {
        let mut two = anywhere();
        let to = two.address();
        one.send_to(&to, &0_u32).unwrap();
        assert_eq!(two.receive::<u32>().unwrap(), 0);
        for number in 0..100_u32 {
            two.send_to(&one.address(), &number).unwrap();
        }
        drop(two);
        assert!(matches!(
            one.send_to(&to, &1),
            Err(SendError::NoProcess { .. })
        ));
        for number in 0..100_u32 {
            assert_eq!(one.receive_any().unwrap().decode::<u32>().unwrap(), number);
        }
        let end = one.receive_any().unwrap();
        assert_eq!(end.decode::<Disconnected>().unwrap().address, to);
        assert_empty(&mut one);
    }
}

/// Whoever is sent one has been disconnected, whatever comes by that name.
#[test]
fn nobody_can_send_a_notice() {
    let mut one = anywhere();
    let socket = crate::listening_strangers::connected(&one.address(), "seqpacket:@forger");
    let key = occ_sck::TypeKey::by_name::<Disconnected>();
    let packet = occ_sck::Packet::raw(occ_sck::kind::USER, key, "Disconnected", &[0; 40]);
    packet
        .send_part(0, &socket, &[], occ_inbox::Deadline::Never)
        .unwrap();
    let error = one.receive_timeout::<Disconnected>(LIMIT).unwrap_err();
    assert!(
        matches!(error, occ_inbox::ReceiveError::Undecodable { .. }),
        "{error:?}"
    );
    assert_empty(&mut one);
}

/// Has connected with the kernel's help alone, and dies with nothing said.
#[test]
fn role_says_nothing() {
    if role::is(test_path!()) {
        let _socket = crate::listening_strangers::connect(&given());
        stay(&Say::inherited("SAY"));
    }
}

/// Has sent a hundred messages and a half, or been sent some, and stays.
#[test]
fn role_sends_and_stays() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = anywhere();
    for number in 0..100_u32 {
        inbox.send_to(&given(), &number).unwrap();
    }
    stay(&Say::inherited("SAY"));
}

/// Listens, and does not look.
#[test]
fn role_listens_and_stays() {
    if role::is(test_path!()) {
        let _inbox = Inbox::listen(&given()).unwrap();
        stay(&Say::inherited("SAY"));
    }
}

/// Listens, and answers what it is asked, as long as it lives.
#[test]
fn role_listens_and_answers() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = Inbox::listen(&given()).unwrap();
    Say::inherited("SAY").ready();
    loop {
        let message = inbox.receive_any().unwrap();
        let number: u32 = message.decode().unwrap();
        inbox.send(message.from, &(number + 1)).unwrap();
    }
}

#[test]
fn one_that_is_killed_before_its_first_word_is_nobody() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        for looks in [false, true] {
            let mut one = anywhere();
            one.notify_disconnects(true);
            let (mut child, ready) = begin("listening_ends::role_says_nothing", &one.address());
            ready.wait(LIMIT);
            if looks {
                assert_empty(&mut one);
            }
            kill(&mut child);
            assert_empty(&mut one);
            assert!(one.info().unwrap().peers.is_empty());
        }
    }));
}

#[test]
fn all_that_a_killed_one_sent_is_received_and_then_its_end_is_told() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        // Its connection may not even have been accepted.
        for looks in [false, true] {
            let mut one = anywhere();
            one.notify_disconnects(true);
            let (mut child, ready) = begin("listening_ends::role_sends_and_stays", &one.address());
            ready.wait(LIMIT);
            let os_pid = child.id();
            if looks {
                assert_eq!(one.tick().unwrap(), 100);
                let peer = one.info().unwrap().peers[0].pid;
                assert_eq!(one.credentials_of(peer).unwrap().os_pid, Some(os_pid));
            }
            kill(&mut child);
            for number in 0..100_u32 {
                assert_eq!(one.receive_any().unwrap().decode::<u32>().unwrap(), number);
            }
            let end: Disconnected = one.receive_any().unwrap().decode().unwrap();
            assert_empty(&mut one);
            assert!(one.credentials_of(end.pid).is_none());
            let sent = one.send(end.pid, &1);
            assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
        }
    }));
}

#[test]
fn one_that_is_killed_with_connections_that_it_has_not_looked_at_is_no_process() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let folder = Folder::new("unlooked");
        let address = folder.address("x");
        let (mut child, ready) = begin("listening_ends::role_listens_and_stays", &address);
        ready.wait(LIMIT);
        let mut one = anywhere();
        one.notify_disconnects(true);
        one.send_to(&address, &1_u32).unwrap();
        let pid = one.pid_of(&address).unwrap();
        assert_eq!(one.credentials_of(pid).unwrap().os_pid, Some(child.id()));
        one.send_to(&address, &2_u32).unwrap();
        assert_empty(&mut one);
        kill(&mut child);
        let sent = one.send_to(&address, &3_u32);
        assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
        let end: Disconnected = one.receive().unwrap();
        assert_eq!((end.pid, end.address), (pid, address.clone()));
        assert_empty(&mut one);
        // What it left behind is in nobody's way.
        assert_eq!(folder.files(), 1);
        let mut two = Inbox::listen(&address).unwrap();
        one.send_to(&address, &4_u32).unwrap();
        assert_eq!(two.receive::<u32>().unwrap(), 4);
        drop(two);
        assert_eq!(folder.files(), 0);
    }));
}

#[test]
fn a_server_that_is_killed_and_started_again_at_its_address_answers() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let folder = Folder::new("restart");
        let address = folder.address("x");
        let mut one = anywhere();
        one.notify_disconnects(true);
        for round in 0..5_u32 {
            let (mut child, ready) = begin("listening_ends::role_listens_and_answers", &address);
            ready.wait(LIMIT);
            // What it has not heard of yet it finds now.
            one.send_to(&address, &round).unwrap();
            assert_eq!(one.receive::<u32>().unwrap(), round + 1);
            kill(&mut child);
            if round % 2 == 0 {
                let end: Disconnected = one.receive().unwrap();
                assert_eq!(end.address, address);
            }
        }
        // Those of the ends that a send has found.
        for _ in 0..2 {
            let end: Disconnected = one.receive_any().unwrap().decode().unwrap();
            assert_eq!(end.address, address);
        }
        assert_empty(&mut one);
    }));
}

/// Is at both ends of two connections: one that it has been asked for, and one that it has made at the same instant.
#[test]
fn role_connects_although_it_is_connected_with() {
    if !role::is(test_path!()) {
        return;
    }
    let own: Address = std::env::var("OWN").unwrap().parse().unwrap();
    let listener = occ_sck::Listener::bind(&own).unwrap();
    let say = Say::inherited("SAY");
    say.ready();
    let _out = listener.accept().unwrap().unwrap();
    let socket = crate::listening_strangers::connected(&given(), &own.to_string());
    for number in 0..100_u32 {
        crate::listening_strangers::put_by_name(&socket, &number);
    }
    stay(&say);
}

#[test]
fn one_that_is_killed_with_two_connections_of_one_instant_has_one_end() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let folder = Folder::new("instant");
        let own = folder.address("x");
        for looks in [false, true] {
            let mut one = anywhere();
            one.notify_disconnects(true);
            let (ready, say) = Ready::new();
            let role = "listening_ends::role_connects_although_it_is_connected_with";
            let mut command = start(role, &one.address());
            command.env("OWN", own.to_string());
            say.pass("SAY", &mut command);
            let mut child = command.spawn().unwrap();
            drop(say);
            ready.wait(LIMIT);
            one.send_to(&own, &1_u32).unwrap();
            ready.wait(LIMIT);
            if looks {
                assert_eq!(one.tick().unwrap(), 100);
                assert_eq!(one.info().unwrap().peers.len(), 1);
            }
            kill(&mut child);
            // If our own ended before the other was heard of, that is an end of its own, and comes first.
            if !looks {
                let _: Disconnected = one.receive_any().unwrap().decode().unwrap();
            }
            for number in 0..100_u32 {
                assert_eq!(one.receive_any().unwrap().decode::<u32>().unwrap(), number);
            }
            let _: Disconnected = one.receive_any().unwrap().decode().unwrap();
            assert_empty(&mut one);
        }
    }));
}
