//! The news of an end comes after the last message of the dead, and nothing comes after it.

use std::process::Stdio;
use std::thread;

use occ_inbox::{Deadline, Event, Message, Pid, SendError};
use occ_sck::{Packet, kind};
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::stress::times;
use occ_test_support::{LIMIT, Signal, dead, role, test_path, within};

use crate::switchboard::{Ended, Line, Switchboard};
use crate::{Flood, assert_empty, drain, one_and_two, pid, put};

fn ended(who: u64) -> Event {
    Event::Message(Message::about_end(pid(who), Ended(pid(who))))
}

fn is_ended(message: &Message) -> bool {
    message.is::<Ended>()
}

#[test]
fn the_end_comes_after_the_last_message_also_if_its_news_came_first() {
    let (mut one, two) = one_and_two();
    one.connector().say(ended(2));
    for number in 0..1000_u32 {
        put(&two, &number);
    }
    drop(two);
    for number in 0..1000_u32 {
        let message = one.receive_any().unwrap();
        assert_eq!(message.decode::<u32>().unwrap(), number);
    }
    let message = one.receive_any().unwrap();
    assert_eq!(message.from, pid(2));
    assert_eq!(message.decode::<Ended>().unwrap(), Ended(pid(2)));
    assert_empty(&mut one);
}

#[test]
fn the_end_comes_after_the_last_message_also_on_a_connection_that_is_news_itself() {
    let mut one = crate::script::Script::inbox(1);
    let two = one.connector().connect(2);
    one.connector().say(ended(2));
    put(&two, &1_u32);
    drop(two);
    assert_eq!(one.receive_any().unwrap().decode::<u32>().unwrap(), 1);
    assert_eq!(
        one.receive_any().unwrap().decode::<Ended>().unwrap(),
        Ended(pid(2))
    );
    assert_empty(&mut one);
}

#[test]
fn what_a_fork_of_the_dead_sends_later_is_discarded() {
    let (mut one, two) = one_and_two();
    // The fork has the same end of the same connection.
    put(&two, &"last words".to_string());
    one.connector().say(ended(2));
    assert_eq!(one.receive::<Ended>().unwrap(), Ended(pid(2)));
    let packet = Packet::of(kind::USER, &"of the fork".to_string()).unwrap();
    let sent = packet.send_part(0, &two, &[], Deadline::Now);
    assert!(matches!(sent, Err(occ_sck::SendError::Closed)), "{sent:?}");
    assert_eq!(drain::<String, _>(&mut one), ["last words"]);
    // And it cannot be sent to.
    let error = one.send(pid(2), &1_u8).unwrap_err();
    assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
}

/// A fork that never stops sending does not hold up the end of the process that it is a fork of.
#[test]
fn a_fork_that_floods_does_not_hold_up_the_end() {
    within(LIMIT, || {
        let (mut one, two) = one_and_two();
        thread::scope(|scope| {
            let flood = Flood::on(&two, scope);
            one.receive::<u64>().unwrap();
            one.connector().say(ended(2));
            assert_eq!(one.receive::<Ended>().unwrap(), Ended(pid(2)));
            drain::<u64, _>(&mut one);
            assert_empty(&mut one);
            flood.stop();
        });
    });
}

/// A process that sends until it is killed, and says so first.
#[test]
fn role_sends_until_it_is_killed() {
    if !role::is(test_path!()) {
        return;
    }
    let mut two = Line::inbox(pid(2), inherited("LINE").into());
    for number in 0_u32.. {
        two.send(pid(1), &number).unwrap();
    }
}

/// The barrier with a process that is killed at any moment.
#[test]
fn the_end_of_a_killed_process_comes_after_every_message_that_came() {
    occ_test_support::isolated!(|| within(LIMIT * 4, || {
        for kill_at in 0..times(20) as u32 {
            let board = Switchboard::new();
            let mut one = board.inbox(1);
            let line = Pass::new(board.line(2).into());
            one.connector().watch(pid(2));
            let mut command = role::command("barrier::role_sends_until_it_is_killed");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            line.to("LINE", &mut command);
            let mut child = command.spawn().unwrap();
            drop(line);

            let mut next = 0;
            while next <= kill_at * 100 {
                assert_eq!(one.receive::<u32>().unwrap(), next);
                next += 1;
            }
            child.kill().unwrap();
            loop {
                let message = one.receive_any().unwrap();
                if is_ended(&message) {
                    break;
                }
                assert_eq!(message.decode::<u32>().unwrap(), next);
                next += 1;
            }
            assert_empty(&mut one);
            let status = dead::how(&mut child, LIMIT);
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
        }
    }));
}

/// The end that a watcher is told of, whether it has had messages of the dead or not.
#[test]
fn ends_of_threads_come_after_their_messages() {
    within(LIMIT, || {
        let board = Switchboard::new();
        let mut one = board.inbox(1);
        for round in 0..times(300) as u64 {
            let who = pid(2 + round);
            let line = board.line(who.serial);
            one.connector().watch(who);
            let messages = round % 4;
            let sender = thread::spawn(move || {
                let mut two = Line::inbox(who, line);
                (0..messages).for_each(|number| two.send(pid(1), &number).unwrap());
            });
            let mut got = Vec::new();
            let end = loop {
                let message = one.receive_any().unwrap();
                match message.decode::<u64>() {
                    Ok(number) => got.push(number),
                    Err(_) => break message.decode::<Ended>().unwrap(),
                }
            };
            assert_eq!(end, Ended(who));
            assert_eq!(got, (0..messages).collect::<Vec<_>>());
            sender.join().unwrap();
        }
        assert_empty(&mut one);
    });
}

/// Nobody can pretend that somebody has ended: the key of the type is right, and the message is still only from a
/// process.
#[test]
fn an_end_cannot_be_forged() {
    let (mut one, two) = one_and_two();
    let key = occ_sck::TypeKey::of::<Ended>();
    let forged = Packet::raw(kind::USER, key, "Ended", &[0; 16]);
    forged.send_part(0, &two, &[], Deadline::Now).unwrap();
    let error = one.receive::<Ended>().unwrap_err();
    let occ_inbox::ReceiveError::Undecodable { from, .. } = error else {
        panic!("{error:?}");
    };
    let sender: Pid = pid(2);
    assert_eq!(from, sender);
    // Its sender is as connected as before.
    put(&two, &1_u8);
    assert_eq!(one.receive::<u8>().unwrap(), 1);
}
