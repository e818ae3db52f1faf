//! A process that sends until it is killed.

use anyhow::Context;
use occasional::{Pid, SendError, receive, send, send_timeout, try_send};
use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, Address};
use super::plan::{Plan, RECEIVERS, Way};
use crate::piece::Piece;

/// From the stage: all who are to watch do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Go;

pub(crate) fn sender(
    index: u64,
    plan: Plan,
    accounts: Address,
    receivers: Vec<Pid>,
) -> anyhow::Result<()> {
    let accounts = Accounts::at(&accounts)?;
    let mut numbers = [0; RECEIVERS];
    receive::<Go>()?;
    for (receiver, way) in plan.acts(index) {
        let (to, number) = (receivers[receiver], numbers[receiver]);
        let size = plan.size(index, receiver, number);
        accounts.begin(index, receiver, number);
        hand_over(to, way, || Piece::new(index, number, size))
            .with_context(|| format!("sender {index}, message {number} of {size} bytes"))?;
        accounts.accept(index, receiver, number);
        numbers[receiver] += 1;
    }
    Ok(())
}

/// Until it is accepted: where there is no room nothing of it may have been delivered, so it is the same message the next time.
fn hand_over(to: Pid, way: Way, piece: impl Fn() -> Piece) -> Result<(), SendError> {
    loop {
        let sent = match way {
            Way::Waiting => send(to, piece()),
            Way::Trying => try_send(to, piece()),
            Way::Limited(limit) => send_timeout(to, piece(), limit),
        };
        match sent {
            Err(SendError::Full { .. }) => rustix::thread::sched_yield(),
            other => return other,
        }
    }
}
