//! Addresses that say what can be sent there.

use std::time::Duration;

use occasional::{
    Addr, Builder, Down, ExitReason, Inbox, Mail, SendError, inbox_info, receive, send, spawn_addr,
    spawn_addr_monitor,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Job {
    Add(u32, u32, Addr<Sum>),
    Stop,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sum(u32);

fn adder(inbox: Inbox<Job>, bonus: u32, name: String) -> anyhow::Result<String> {
    loop {
        match inbox.receive()? {
            Job::Add(a, b, to) => to.send(Sum(a + b + bonus))?,
            Job::Stop => return Ok(format!("{name} has stopped")),
        }
    }
}

fn value(down: Down) -> String {
    match down.reason {
        ExitReason::Value(value) => value.get().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_function_with_an_inbox_gets_just_its_messages_and_answers_to_an_address() {
    in_a_system!(|| -> anyhow::Result<()> {
        let inbox = Inbox::<Sum>::current()?;
        let me = inbox.addr()?;
        let (adder, watch) = spawn_addr_monitor(adder, (100, "adder".to_owned()))?;
        // Something else comes in between, and stays.
        send(adder.pid(), "a text".to_owned())?;
        for number in 0..10 {
            adder.send(Job::Add(number, 1, me))?;
            assert_eq!(inbox.receive()?, Sum(number + 101));
        }
        adder.send(Job::Stop)?;
        let down = inbox.receive_down()?;
        assert_eq!(down.monitor, watch);
        assert_eq!(value(down), "adder has stopped");
        let error = adder.send(Job::Stop).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { to } if to == adder.pid()));
        Ok(())
    });
}

#[test]
fn an_inbox_receives_its_messages_and_ends_in_their_order_and_nothing_else() {
    in_a_system!(|| -> anyhow::Result<()> {
        let inbox = Inbox::<Sum>::current()?;
        let me = inbox.addr()?;
        let (adder, _) = spawn_addr_monitor(adder, (0, "adder".to_owned()))?;
        send(me.pid(), "a text".to_owned())?;
        adder.send(Job::Add(1, 2, me))?;
        adder.send(Job::Stop)?;
        match inbox.next()? {
            Mail::Message(Sum(3)) => {}
            other => panic!("{other:?}"),
        }
        match inbox.next()? {
            Mail::Down(down) => assert_eq!(down.pid, adder.pid()),
            other => panic!("{other:?}"),
        }
        assert!(inbox.next_timeout(Duration::ZERO)?.is_none());
        assert!(inbox.receive_timeout(Duration::ZERO)?.is_none());
        assert!(inbox.receive_down_timeout(Duration::ZERO)?.is_none());
        assert_eq!(inbox_info()?.messages, 1);
        assert_eq!(receive::<String>()?, "a text");
        Ok(())
    });
}

#[test]
fn an_address_is_a_value_that_travels_and_compares() {
    in_a_system!(|| -> anyhow::Result<()> {
        let one: Addr<Job> = spawn_addr(adder, (0, "one".to_owned()))?;
        let two: Addr<Job> = Builder::new().spawn_addr(adder, (0, "two".to_owned()))?;
        assert_ne!(one, two);
        let inbox = Inbox::<Vec<Addr<Job>>>::current()?;
        let me = inbox.addr()?;
        me.send(vec![one, two])?;
        assert_eq!(inbox.receive()?, [one, two]);
        assert_eq!(Addr::<Job>::new(one.pid()), one);
        assert_eq!(one.to_string(), one.pid().to_string());
        assert!(
            format!("{one:?}").ends_with(&format!("Job>({one})")),
            "{one:?}"
        );
        Ok(())
    });
}
