//! A coordinator that is nothing but a few lines of test: no address, no listening, only ends of pairs.

use std::os::fd::AsFd;
use std::process::{Child, Stdio};

use occ_inbox::{Deadline, Pid, Socket, Standing};
use occ_sck::Envelope;
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::{LIMIT, role, test_path, within};

use crate::pid;
use crate::switchboard::{Ask, Line, Tell, next, say};
use crate::{put, script::Script};

/// A process that sends what it is told to, to whom it is told to.
#[test]
fn role_sends_as_told() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = Line::inbox(pid(1), inherited("LINE").into());
    let (to, text): (Pid, String) = inbox.receive().unwrap();
    inbox.send(to, &text).unwrap();
    // Until everybody has seen what there is to see.
    let () = inbox.receive().unwrap();
}

/// A process that returns who it is, and who sent it what.
#[test]
fn role_returns_what_it_is_sent() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = Line::inbox(pid(2), inherited("LINE").into());
    let message = inbox.receive_any().unwrap();
    let text: String = message.decode().unwrap();
    let result = (inbox.pid(), (message.from, text));
    inbox.send(pid(0), &result).unwrap();
}

fn start(role: &str) -> (Child, Socket) {
    let (ours, theirs) = Socket::pair().unwrap();
    let line = Pass::new(theirs.into());
    let mut command = role::command(role);
    command.stdout(Stdio::null());
    line.to("LINE", &mut command);
    (command.spawn().unwrap(), ours)
}

fn hear(line: &Socket) -> Envelope {
    next(line, Deadline::after(LIMIT))
        .unwrap()
        .expect("a request in time")
}

/// IN-18
#[test]
fn two_processes_are_connected_by_the_ends_of_a_pair_and_nothing_else() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (mut first, to_first) = start("without_listening::role_sends_as_told");
        let (mut second, to_second) = start("without_listening::role_returns_what_it_is_sent");
        let mut zero = Script::inbox(0);
        for (peer, line) in [(1, &to_first), (2, &to_second)] {
            let end = zero.connector().connect(peer);
            say(line, &Tell::Connected { peer: pid(0) }, &[end.as_fd()]);
        }

        zero.send(pid(1), &(pid(2), "hello".to_string())).unwrap();
        let Ask::Connect { to, standing } = hear(&to_first).decode().unwrap() else {
            panic!("expected a request for a connection");
        };
        assert_eq!((to, standing), (pid(2), Standing::New));
        let (a, b) = Socket::pair().unwrap();
        say(&to_first, &Tell::Connected { peer: pid(2) }, &[a.as_fd()]);
        say(&to_second, &Tell::Connected { peer: pid(1) }, &[b.as_fd()]);
        drop((a, b));

        let result: (Pid, (Pid, String)) = zero.receive().unwrap();
        assert_eq!(result, (pid(2), (pid(1), "hello".to_string())));
        zero.send(pid(1), &()).unwrap();
        for child in [&mut first, &mut second] {
            assert!(occ_test_support::dead::how(child, LIMIT).success());
        }
    }));
}

/// It is the connection that says who sends, not what is sent.
#[test]
fn a_sender_is_whom_the_coordinator_says_and_not_whom_it_claims_to_be() {
    let mut zero = Script::inbox(0);
    let two = zero.connector().connect(2);
    put(&two, &(pid(1), "I am the first".to_string()));
    assert_eq!(zero.receive_any().unwrap().from, pid(2));
}
