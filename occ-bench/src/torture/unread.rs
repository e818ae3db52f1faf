//! A process that sends what nobody will ever receive.

use std::sync::Arc;

use anyhow::bail;
use occasional::{Fd, Pid, SendError};
use occasional::{receive, send, try_send};
use serde::{Deserialize, Serialize};

use super::line::Line;
use super::parcel::{Litter, Parcel, gifts};
use super::plan::RECEIVERS;
use super::sender::{Go, Task};
use crate::piece::Piece;

/// Messages to each receiver, if there is room.
const MOST: u64 = 40;

/// To the stage: so many messages were accepted for each receiver.
#[derive(Serialize, Deserialize)]
pub(crate) struct Left(pub(crate) [u64; RECEIVERS]);

pub(crate) fn sender(task: Task, first: Fd, stage: Pid) -> anyhow::Result<()> {
    let first = Arc::new(first.into_inner());
    let mut left = [0; RECEIVERS];
    for (receiver, left) in left.iter_mut().enumerate() {
        let line = Line {
            sender: task.index,
            thread: 0,
            receiver,
            is_litter: true,
        };
        for number in 0..MOST {
            let shape = task.plan.shape(line, number);
            let litter = Litter(Parcel {
                piece: Piece::new(line.index(), number, shape.size),
                gifts: gifts(line, number, shape.gifts.min(MOST as usize), &first)?,
            });
            match try_send(task.receivers[receiver], litter) {
                Ok(()) => *left += 1,
                Err(SendError::Full { .. }) => break,
                Err(error) => bail!(error),
            }
        }
    }
    send(stage, Left(left))?;
    // Nobody says so.
    receive::<Go>()?;
    Ok(())
}
