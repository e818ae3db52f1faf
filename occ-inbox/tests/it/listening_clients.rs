//! A server that listens, and its clients: other processes.

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::sync::Barrier;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use occ_inbox::{Address, Disconnected, Inbox, Listening, Pid};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, role, stress, test_path, within};

use crate::assert_empty;
use crate::listening::anywhere;

const CLIENTS: usize = 10;
const REQUESTS: u32 = 50;

/// The address that this process was given.
pub(crate) fn given() -> Address {
    std::env::var("ADDRESS").unwrap().parse().unwrap()
}

pub(crate) fn start(role: &str, address: &Address) -> Command {
    let mut command = role::command(role);
    command.stdout(std::process::Stdio::null());
    command.env("ADDRESS", address.to_string());
    command
}

/// The other process of IN-2.
#[test]
fn role_answers_once() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = anywhere();
    inbox.send_to(&given(), &inbox.address()).unwrap();
    let (back, text): (Address, String) = inbox.receive().unwrap();
    inbox.send_to(&back, &("got".to_string(), text)).unwrap();
}

/// IN-2
#[test]
fn another_process_answers() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let mut one = anywhere();
        let mut child = start("listening_clients::role_answers_once", &one.address())
            .spawn()
            .unwrap();
        let address: Address = one.receive().unwrap();
        one.send_to(&address, &(one.address(), "hello".to_string()))
            .unwrap();
        assert!(dead::how(&mut child, LIMIT).success());
        let answer = one.receive_any().unwrap();
        assert_eq!(one.address_of(answer.from), Some(address));
        let answer: (String, String) = answer.decode().unwrap();
        assert_eq!(answer, ("got".to_string(), "hello".to_string()));
        assert_empty(&mut one);
    }));
}

/// A process of IN-18 that sends what it is told to, to whom it is told to.
#[test]
fn role_sends_as_told() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = anywhere();
    inbox.send_to(&given(), &inbox.address()).unwrap();
    let (to, text): (Address, String) = inbox.receive().unwrap();
    inbox.send_to(&to, &text).unwrap();
}

/// A process of IN-18 that returns who it is, and who sent it what.
#[test]
fn role_returns_what_it_is_sent() {
    if !role::is(test_path!()) {
        return;
    }
    let mut inbox = anywhere();
    inbox.send_to(&given(), &inbox.address()).unwrap();
    let message = inbox.receive_any().unwrap();
    let text: String = message.decode().unwrap();
    let result = (inbox.pid(), (message.from, text));
    inbox.send_to(&given(), &result).unwrap();
}

/// IN-18: two that have never heard of each other are told by a third.
#[test]
fn two_processes_that_a_third_tells_of_each_other_talk_without_it() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let mut one = anywhere();
        let mut begin = |role: &str| {
            let child = start(role, &one.address()).spawn().unwrap();
            (child, one.receive::<Address>().unwrap())
        };
        let (mut first, first_at) = begin("listening_clients::role_sends_as_told");
        let (mut second, second_at) = begin("listening_clients::role_returns_what_it_is_sent");
        one.send_to(&first_at, &(second_at.clone(), "hello".to_string()))
            .unwrap();
        let result: (Pid, (Pid, String)) = one.receive().unwrap();
        let [first_pid, second_pid] = [first_at, second_at].map(|at| one.pid_of(&at).unwrap());
        assert_eq!(result, (second_pid, (first_pid, "hello".to_string())));
        for child in [&mut first, &mut second] {
            assert!(dead::how(child, LIMIT).success());
        }
    }));
}

/// Serves until told to stop; says who was served, in order.
fn serve(server: &mut Inbox<Listening>) -> Vec<Pid> {
    let mut served = Vec::new();
    loop {
        let message = server.receive_any().unwrap();
        if message.is::<String>() {
            assert_eq!(message.decode::<String>().unwrap(), "exit");
            return served;
        }
        let (back, number): (Address, u32) = message.decode().unwrap();
        served.push(message.from);
        server.send_to(&back, &(number, number * 2)).unwrap();
    }
}

/// A client of IN-3.
#[test]
fn role_asks_fifty_times() {
    if !role::is(test_path!()) {
        return;
    }
    let say = Say::inherited("SAY");
    let mut client = anywhere();
    for number in 0..REQUESTS {
        if number == REQUESTS / 2 {
            say.ready();
            // Until everybody has come as far.
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        client
            .send_to(&given(), &(client.address(), number))
            .unwrap();
        let reply: (u32, u32) = client.receive().unwrap();
        assert_eq!(reply, (number, number * 2));
    }
    assert_empty(&mut client);
}

/// IN-3
#[test]
fn ten_processes_ask_fifty_times_each_and_every_reply_is_theirs() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let mut server = anywhere();
        let address = server.address();
        let served = thread::scope(|scope| {
            scope.spawn(|| {
                let (ready, say) = Ready::new();
                let mut clients: Vec<Child> = (0..CLIENTS)
                    .map(|_| {
                        let mut command =
                            start("listening_clients::role_asks_fifty_times", &address);
                        command.stdin(std::process::Stdio::piped());
                        say.pass("SAY", &mut command);
                        command.spawn().unwrap()
                    })
                    .collect();
                drop(say);
                for _ in 0..CLIENTS {
                    ready.wait(LIMIT);
                }
                for client in &mut clients {
                    drop(client.stdin.take());
                }
                for mut client in clients {
                    assert!(dead::how(&mut client, LIMIT).success());
                }
                let mut last = anywhere();
                last.send_to(&address, &"exit".to_string()).unwrap();
            });
            serve(&mut server)
        });
        assert_eq!(served.len(), CLIENTS * REQUESTS as usize);
        let first_half = &served[..served.len() / 2];
        let everybody = first_half.iter().copied().collect::<BTreeSet<Pid>>();
        assert_eq!(everybody.len(), CLIENTS);
    }));
}

/// IN-4: the replies go to other inboxes than those that ask.
#[test]
fn ten_clients_ask_fifty_times_at_once_and_their_readers_get_every_reply_in_order() {
    within(LIMIT, || {
        let mut server = anywhere();
        let address = server.address();
        let served = thread::scope(|scope| {
            let readers: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let (say, at) = channel();
                    let address = address.clone();
                    scope.spawn(move || {
                        let back: Address = at.recv().unwrap();
                        let mut client = anywhere();
                        for number in 0..REQUESTS {
                            client.send_to(&address, &(back.clone(), number)).unwrap();
                        }
                        // It may end before it is served: what it has sent is received.
                    });
                    scope.spawn(move || {
                        let mut reader = anywhere();
                        say.send(reader.address()).unwrap();
                        for number in 0..REQUESTS {
                            let reply: (u32, u32) = reader.receive().unwrap();
                            assert_eq!(reply, (number, number * 2));
                        }
                        assert_empty(&mut reader);
                    })
                })
                .collect();
            scope.spawn(|| {
                readers
                    .into_iter()
                    .for_each(|reader| reader.join().unwrap());
                let mut last = anywhere();
                last.send_to(&address, &"exit".to_string()).unwrap();
            });
            serve(&mut server)
        });
        assert_eq!(served.len(), CLIENTS * REQUESTS as usize);
    });
}

/// Both send at the same instant, so both may connect: nothing is lost, all is in order, and the end is told once.
#[test]
fn two_that_send_first_at_the_same_instant_lose_nothing() {
    within(LIMIT, || {
        for _ in 0..stress::times(200) {
            let start = Barrier::new(2);
            let [(to_one, at_one), (to_two, at_two)] = [(); 2].map(|()| channel::<Address>());
            let talk = |tell: Sender<Address>, hear: Receiver<Address>| {
                let mut inbox = anywhere();
                inbox.notify_disconnects(true);
                tell.send(inbox.address()).unwrap();
                let to = hear.recv().unwrap();
                start.wait();
                for number in 0..200_u32 {
                    inbox.send_to(&to, &number).unwrap();
                }
                for number in 0..200_u32 {
                    assert_eq!(inbox.receive::<u32>().unwrap(), number);
                }
                assert_eq!(inbox.info().unwrap().peers.len(), 1);
                // Neither ends before both have received.
                start.wait();
                (inbox, to)
            };
            thread::scope(|scope| {
                scope.spawn(|| drop(talk(to_two, at_one)));
                let (mut one, two) = talk(to_one, at_two);
                let end: Disconnected = one.receive().unwrap();
                assert_eq!(end.address, two);
                assert_empty(&mut one);
            });
        }
    });
}
