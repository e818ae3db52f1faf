//! Requests of three clients, answered by urgency and not in the order in which they came.
//!
//! `cargo run --example selective`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use occ_inbox::{Inbox, Pid, Socket, Wired};

/// How urgent it is, and what is to be done.
type Job = (u8, String);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Pid {
        node: 0,
        incarnation: 0,
        serial: 0,
    };
    let clients = [1, 2, 3].map(|serial| Pid { serial, ..server });

    let mut ends = Vec::new();
    let mut inboxes = Vec::new();
    for client in clients {
        let (ours, theirs) = Socket::pair()?;
        ends.push((client, ours));
        inboxes.push(Inbox::new(client, Wired::new([(server, theirs)])?)?);
    }
    let mut inbox = Inbox::new(server, Wired::new(ends)?)?;

    inboxes[0].send(server, &(1_u8, "tidy up".to_string()))?;
    inboxes[1].send(server, &(9_u8, "put out the fire".to_string()))?;
    inboxes[2].send(server, &(5_u8, "feed the cat".to_string()))?;
    inboxes[2].send(server, &"a remark, of no interest to anybody".to_string())?;

    let mut done = Vec::new();
    for at_least in [9, 5, 0] {
        let urgent = |(urgency, _): &Job| *urgency >= at_least;
        while let Some((_, job)) = inbox.receive_where_timeout(Duration::ZERO, urgent)? {
            println!("{job}");
            done.push(job);
        }
    }
    assert_eq!(done, ["put out the fire", "feed the cat", "tidy up"]);

    // What nobody wanted is still there.
    let left = inbox.receive_any()?;
    assert_eq!(left.from, clients[2]);
    println!("left over: a {} from {}", left.type_name(), left.from);
    Ok(())
}
