//! A process that sends until it is killed.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use occasional::{Fd, Handle, Pid, SendError, Term};
use occasional::{fail_with, handle, receive, send, send_timeout, try_send};
use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, Address};
use super::line::Line;
use super::parcel::{Litter, Parcel, gifts};
use super::plan::{Fault, Plan, Way};
use crate::piece::Piece;

/// From the stage: all who are to watch do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Go;

/// What a sender is told when it is started.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) index: u64,
    pub(crate) plan: Plan,
    pub(crate) accounts: Address,
    pub(crate) receivers: Vec<Pid>,
}

/// One of its threads.
pub(crate) struct Thread {
    task: Task,
    number: u64,
    accounts: Accounts,
    /// Where it is not the one that receives.
    handle: Option<Handle>,
    /// The sender's end of the pipe that tells when all of them are closed.
    first: Arc<OwnedFd>,
}

pub(crate) fn sender(task: Task, first: Fd) -> anyhow::Result<()> {
    let first = Arc::new(first.into_inner());
    receive::<Go>()?;
    if task.plan.has_second_thread(task.index) {
        let handle = Some(handle()?);
        let (task, first) = (task.clone(), Arc::clone(&first));
        thread::Builder::new().spawn(move || {
            let second = Thread::new(task, 1, handle, first);
            // The other one would go on.
            if let Err(error) = second.and_then(|second| second.send_all()) {
                fail_with(error);
            }
        })?;
    }
    Thread::new(task, 0, None, first)?.send_all()
}

impl Thread {
    pub(crate) fn new(
        task: Task,
        number: u64,
        handle: Option<Handle>,
        first: Arc<OwnedFd>,
    ) -> anyhow::Result<Thread> {
        Ok(Thread {
            accounts: Accounts::at(&task.accounts)?,
            task,
            number,
            handle,
            first,
        })
    }

    fn send_all(&self) -> anyhow::Result<()> {
        let mut numbers = [0; Line::EACH as usize];
        for line in self.task.plan.lines(self.task.index, self.number) {
            let number = &mut numbers[(line.index() % Line::EACH) as usize];
            self.send_one(line, *number)
                .with_context(|| format!("{line:?}, message {number}"))?;
            *number += 1;
        }
        Ok(())
    }

    fn send_one(&self, line: Line, number: u64) -> anyhow::Result<()> {
        let shape = self.task.plan.shape(line, number);
        let piece = || Piece::new(line.index(), number, shape.size);
        let to = self.task.receivers[line.receiver];
        if shape.gifts == 0 {
            self.accounts.begin(line, number);
            self.hand_over(to, shape.way, piece)?;
        } else {
            let mut gifts = gifts(line, number, shape.gifts, &self.first)?;
            if self.task.plan.fault == Some(Fault::Exchange) && shape.gifts == 2 {
                gifts.swap(1, 2);
            }
            let parcel = || Parcel {
                piece: piece(),
                gifts: gifts.iter().map(|Fd(gift)| Fd(Arc::clone(gift))).collect(),
            };
            self.accounts.begin(line, number);
            match line.is_litter {
                true => self.hand_over(to, shape.way, || Litter(parcel()))?,
                false => self.hand_over(to, shape.way, parcel)?,
            }
        }
        self.accounts.accept(line, number);
        Ok(())
    }

    /// Until it is accepted: where there is no room nothing of it may have been delivered, so it is the same message the next time.
    fn hand_over<T: Term>(
        &self,
        to: Pid,
        way: Way,
        message: impl Fn() -> T,
    ) -> Result<(), SendError> {
        loop {
            let message = message();
            let sent = match (way, &self.handle) {
                (Way::Waiting, None) => send(to, message),
                (Way::Waiting, Some(handle)) => handle.send(to, message),
                (Way::Trying, None) => try_send(to, message),
                (Way::Trying, Some(handle)) => handle.try_send(to, message),
                (Way::Limited(limit), None) => send_timeout(to, message, limit),
                (Way::Limited(limit), Some(handle)) => handle.send_timeout(to, message, limit),
            };
            match sent {
                Err(SendError::Full { .. }) => rustix::thread::sched_yield(),
                other => return other,
            }
        }
    }
}
