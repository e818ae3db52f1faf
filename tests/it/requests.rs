//! Requests and replies, of one client and of many.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::Context;
use occasional::{
    Down, ExitReason, Pid, receive, receive_any, self_pid, send, spawn, spawn_monitor,
};

use crate::inbox::assert_empty;

fn to_itself() -> anyhow::Result<()> {
    let me = self_pid();
    send(me, "to myself".to_owned())?;
    let message = receive_any()?;
    assert_eq!(
        (message.from, message.decode::<String>()?),
        (me, "to myself".to_owned())
    );
    assert_empty()
}

/// IN-1
#[test]
fn a_process_sends_to_itself() {
    in_a_system!(to_itself);
}

fn answer() -> anyhow::Result<()> {
    let (from, text): (Pid, String) = receive()?;
    send(from, ("got".to_owned(), text))?;
    Ok(())
}

fn to_another() -> anyhow::Result<()> {
    let other = spawn(answer, ())?;
    send(other, (self_pid(), "hello".to_owned()))?;
    let message = receive_any()?;
    assert_eq!(message.from, other);
    let got: (String, String) = message.decode()?;
    assert_eq!(got, ("got".to_owned(), "hello".to_owned()));
    Ok(())
}

/// IN-2
#[test]
fn a_process_sends_to_another_and_is_answered() {
    in_a_system!(to_another);
}

const CLIENTS: usize = 10;
const REQUESTS: u32 = 50;

/// Answers until it is told to exit; gives the order in which it was asked.
fn serve() -> anyhow::Result<Vec<Pid>> {
    let mut order = Vec::new();
    loop {
        let message = receive_any()?;
        if let Ok(number) = message.decode::<u32>() {
            order.push(message.from);
            send(message.from, number * 2)?;
        } else {
            assert_eq!(message.decode::<String>()?, "exit");
            return Ok(order);
        }
    }
}

/// Waits for a word, so that all clients are there at once; then asks one by one, or all first.
fn ask(server: Pid, all_first: bool) -> anyhow::Result<()> {
    receive::<()>()?;
    let mut awaited = 0..REQUESTS;
    for number in 0..REQUESTS {
        send(server, number)?;
        if !all_first {
            expect_reply(&mut awaited)?;
        }
    }
    while !awaited.is_empty() {
        expect_reply(&mut awaited)?;
    }
    Ok(())
}

fn expect_reply(awaited: &mut Range<u32>) -> anyhow::Result<()> {
    let number = awaited.next().context("a reply too many")?;
    let reply: u32 = receive()?;
    anyhow::ensure!(reply == number * 2, "{reply} is not the reply to {number}");
    Ok(())
}

fn serve_many(server: Pid, all_first: bool) -> anyhow::Result<BTreeSet<Pid>> {
    let clients: BTreeSet<Pid> = (0..CLIENTS)
        .map(|_| Ok(spawn_monitor(ask, (server, all_first))?.0))
        .collect::<anyhow::Result<_>>()?;
    for client in &clients {
        send(*client, ())?;
    }
    for _ in &clients {
        let down: Down = receive()?;
        let ended_well = matches!(&down.reason, ExitReason::Value(_));
        assert!(ended_well, "{} {}", down.pid, down.reason);
    }
    Ok(clients)
}

fn order_of(server: Pid) -> anyhow::Result<Vec<Pid>> {
    send(server, "exit".to_owned())?;
    let down: Down = receive()?;
    assert_eq!(down.pid, server);
    let ExitReason::Value(order) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    Ok(order.get()?)
}

fn many_clients() -> anyhow::Result<()> {
    let (server, _) = spawn_monitor(serve, ())?;
    let clients = serve_many(server, false)?;
    let order = order_of(server)?;

    assert_eq!(order.len(), CLIENTS * REQUESTS as usize);
    // Served one after the other there would be as many changes of client as there are clients.
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(
        changes > 2 * CLIENTS,
        "{changes} changes: the requests were not interleaved"
    );
    assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), clients);
    Ok(())
}

/// IN-3
#[test]
fn ten_clients_are_served_in_turn() {
    in_a_system!(many_clients);
}

fn many_pipelining_clients() -> anyhow::Result<()> {
    let (server, _) = spawn_monitor(serve, ())?;
    serve_many(server, true)?;
    assert_eq!(order_of(server)?.len(), CLIENTS * REQUESTS as usize);
    Ok(())
}

/// IN-4
#[test]
fn ten_clients_that_send_all_their_requests_first_get_all_replies_in_order() {
    in_a_system!(many_pipelining_clients);
}
