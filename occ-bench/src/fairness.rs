//! Ten senders, one of which floods: it has filled all the room that there is for it before the others begin.
//!
//! All send as many messages, as fast as they can. When the first of them is through, what has come from the one that is farthest
//! behind is its share: 1 if all are served alike, 0 if one is not served at all as long as another has something to say.

use std::collections::BTreeMap;

use anyhow::Context;
use occasional::{Pid, os_pid, receive, receive_any, self_pid, send, spawn};
use serde::{Deserialize, Serialize};

use crate::killing::until_asleep;
use crate::meter::{Meter, serve};
use crate::place::{Cpus, Placement, pin};
use crate::report::{Measured, Peers};
use crate::stats::{Scale, interleave};

const SENDERS: usize = 10;

/// Messages of each in a round.
const COUNT: usize = 40_000;

/// So many do not fit into the room for one sender, which could be through before the others have begun.
const LEAST: usize = 5_000;

/// From the receiver: send so many.
#[derive(Serialize, Deserialize)]
struct Begin(usize);

pub(crate) fn place(Cpus { a, b }: Cpus) -> Placement {
    Placement::Apart {
        who: "the receiver",
        on: a,
        others: "the senders",
        there: b,
    }
}

pub(crate) fn among_ten(scale: Scale, Cpus { a, b }: Cpus) -> anyhow::Result<Measured> {
    pin(&[a])?;
    let _system = occasional::start()?;
    let count = scale.count(COUNT).max(LEAST);
    let ours = Meter::start(receive_from_ten, (count, a, b))?;
    let [ours] = interleave(scale, [ours])?;
    Ok(Measured {
        ours,
        raw: 1.0,
        peers: Peers::default(),
    })
}

fn receive_from_ten(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let all: Vec<Pid> = (0..SENDERS)
        .map(|_| spawn(send_when_asked, (self_pid(), there)))
        .collect::<Result<_, _>>()?;
    serve(|| share_of_the_slowest(&all, count))
}

fn share_of_the_slowest(all: &[Pid], count: usize) -> anyhow::Result<f64> {
    let (flooder, others) = all.split_first().context("no senders")?;
    send(*flooder, Begin(count))?;
    receive::<[u8; 16]>()?;
    // Nobody looks now, so it sleeps when there is no room left.
    until_asleep(os_pid(*flooder)?.get())?;
    for other in others {
        send(*other, Begin(count))?;
    }

    let mut received: BTreeMap<Pid, usize> = all.iter().map(|sender| (*sender, 0)).collect();
    received.insert(*flooder, 1);
    let (mut left, mut share) = (SENDERS * count - 1, None);
    while left > 0 {
        let from = receive_any()?.from;
        let so_far = received.get_mut(&from).context("a message of a stranger")?;
        *so_far += 1;
        left -= 1;
        if *so_far == count && share.is_none() {
            let slowest = received.values().min().copied();
            share = slowest.map(|slowest| slowest as f64 / count as f64);
        }
    }
    share.context("nobody was through")
}

fn send_when_asked(to: Pid, there: usize) -> anyhow::Result<()> {
    pin(&[there])?;
    loop {
        let Begin(count) = receive()?;
        for _ in 0..count {
            send(to, [1_u8; 16])?;
        }
    }
}
