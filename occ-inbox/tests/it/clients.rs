//! Many processes and one inbox; one's own among them.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use occ_inbox::{Inbox, Pid};
use occ_test_support::{LIMIT, role, test_path, within};

use crate::script::Script;
use crate::switchboard::{Line, Switchboard};
use crate::{assert_empty, pid};

const CLIENTS: u64 = 10;
const REQUESTS: u32 = 50;

/// IN-1
#[test]
fn what_one_sends_to_oneself_is_received() {
    let mut one = Script::inbox(1);
    one.send(pid(1), &(pid(1), "note".to_string())).unwrap();
    one.try_send(pid(1), &1_u8).unwrap();
    one.send_timeout(pid(1), &2_u8, LIMIT).unwrap();
    assert_eq!(one.len(), 3);
    let note: (Pid, String) = one.receive().unwrap();
    assert_eq!(note, (pid(1), "note".to_string()));
    let message = one.receive_any().unwrap();
    assert_eq!(message.from, pid(1));
    assert_eq!(message.type_name(), "u8");
    assert_eq!(message.decode::<u8>().unwrap(), 1);
    assert_eq!(one.receive::<u8>().unwrap(), 2);
    // Nobody was asked for a connection with oneself.
    assert_eq!(one.connector().asked, []);
}

#[test]
fn long_messages_to_oneself_arrive_as_well() {
    let mut one = Script::inbox(1);
    let long = vec![7_u8; 1 << 20];
    one.send(pid(1), &long).unwrap();
    one.try_send(pid(1), &long).unwrap();
    assert_eq!(one.receive::<Vec<u8>>().unwrap(), long);
    assert_eq!(one.receive::<Vec<u8>>().unwrap(), long);
}

/// The other process of IN-2.
#[test]
fn role_answers_once() {
    if !role::is(test_path!()) {
        return;
    }
    let line = occ_test_support::pass::inherited("LINE").into();
    let mut two = Line::inbox(pid(2), line);
    let (from, text): (Pid, String) = two.receive().unwrap();
    two.send(from, &("got".to_string(), text)).unwrap();
    // The answer was received when this comes.
    let () = two.receive().unwrap();
}

/// IN-2
#[test]
fn another_process_answers() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let board = Switchboard::new();
        let line = occ_test_support::pass::Pass::new(board.line(2).into());
        let mut command = role::command("clients::role_answers_once");
        command.stdout(std::process::Stdio::null());
        line.to("LINE", &mut command);
        let mut child = command.spawn().unwrap();
        drop(line);

        let mut one = board.inbox(1);
        one.send(pid(2), &(pid(1), "hello".to_string())).unwrap();
        let answer: (String, String) = one.receive().unwrap();
        assert_eq!(answer, ("got".to_string(), "hello".to_string()));
        one.send(pid(2), &()).unwrap();
        assert!(occ_test_support::dead::how(&mut child, LIMIT).success());
        assert_empty(&mut one);
    }));
}

/// Serves until told to stop; says who was served, in order.
fn serve(server: &mut Inbox<Line>) -> Vec<Pid> {
    let mut served = Vec::new();
    loop {
        let message = server.receive_any().unwrap();
        if message.is::<String>() {
            assert_eq!(message.decode::<String>().unwrap(), "exit");
            return served;
        }
        let (back, number): (Pid, u32) = message.decode().unwrap();
        served.push(message.from);
        server.send(back, &(number, number * 2)).unwrap();
    }
}

/// IN-3
#[test]
fn ten_clients_ask_fifty_times_each_and_every_reply_is_theirs() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut server = board.inbox(0);
        // Each has half of its replies before any has more: they were served in turns.
        let half = Barrier::new(CLIENTS as usize);
        let served = thread::scope(|scope| {
            let clients: Vec<_> = (1..=CLIENTS)
                .map(|client| {
                    let (line, half) = (board.line(client), &half);
                    scope.spawn(move || {
                        let mut client = Line::inbox(pid(client), line);
                        for number in 0..REQUESTS {
                            if number == REQUESTS / 2 {
                                half.wait();
                            }
                            client.send(pid(0), &(client.pid(), number)).unwrap();
                            let reply: (u32, u32) = client.receive().unwrap();
                            assert_eq!(reply, (number, number * 2));
                        }
                        assert_empty(&mut client);
                    })
                })
                .collect();
            let line = board.line(99);
            scope.spawn(move || {
                clients
                    .into_iter()
                    .for_each(|client| client.join().unwrap());
                let mut last = Line::inbox(pid(99), line);
                last.send(pid(0), &"exit".to_string()).unwrap();
            });
            serve(&mut server)
        });
        assert_eq!(served.len(), (CLIENTS * u64::from(REQUESTS)) as usize);
        let first_half = &served[..served.len() / 2];
        let everybody = first_half.iter().copied().collect::<BTreeSet<Pid>>();
        assert_eq!(everybody.len(), CLIENTS as usize);
    });
}

/// IN-4
#[test]
fn ten_clients_ask_fifty_times_at_once_and_their_readers_get_every_reply_in_order() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut server = board.inbox(0);
        let served = thread::scope(|scope| {
            let readers: Vec<_> = (1..=CLIENTS)
                .map(|client| {
                    let (line, reader) = (board.line(client), client + 100);
                    scope.spawn(move || {
                        let mut client = Line::inbox(pid(client), line);
                        for number in 0..REQUESTS {
                            client.send(pid(0), &(pid(reader), number)).unwrap();
                        }
                        // It may end before it is served: what it has sent is received.
                    });
                    let line = board.line(reader);
                    scope.spawn(move || {
                        let mut reader = Line::inbox(pid(reader), line);
                        for number in 0..REQUESTS {
                            let reply: (u32, u32) = reader.receive().unwrap();
                            assert_eq!(reply, (number, number * 2));
                        }
                        assert_empty(&mut reader);
                    })
                })
                .collect();
            let line = board.line(99);
            scope.spawn(move || {
                readers
                    .into_iter()
                    .for_each(|reader| reader.join().unwrap());
                let mut last = Line::inbox(pid(99), line);
                last.send(pid(0), &"exit".to_string()).unwrap();
            });
            serve(&mut server)
        });
        assert_eq!(served.len(), (CLIENTS * u64::from(REQUESTS)) as usize);
    });
}

/// Both ask for the connection at the same moment, and there is one.
#[test]
fn two_that_send_first_at_the_same_moment_lose_nothing() {
    within(LIMIT, || {
        let board = Switchboard::new();
        for round in 0..occ_test_support::stress::times(200) as u64 {
            let start = Barrier::new(2);
            let one_of = |me: u64, peer: u64, line| {
                let mut inbox = Line::inbox(pid(me), line);
                start.wait();
                for number in 0..5_u32 {
                    inbox.send(pid(peer), &number).unwrap();
                }
                let got: Vec<u32> = (0..5).map(|_| inbox.receive().unwrap()).collect();
                assert_eq!(got, [0, 1, 2, 3, 4]);
                // Neither ends before both have received.
                start.wait();
                assert_empty(&mut inbox);
            };
            let (me, peer) = (2 * round + 1000, 2 * round + 1001);
            let (mine, theirs) = (board.line(me), board.line(peer));
            thread::scope(|scope| {
                scope.spawn(|| one_of(me, peer, mine));
                one_of(peer, me, theirs);
            });
        }
    });
}
