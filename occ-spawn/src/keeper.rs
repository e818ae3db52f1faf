//! The thread that a spawner keeps.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::process::Signal;

use crate::boot::BootError;
use crate::error::SpawnError;
use crate::sys;
use crate::watch::EndWatch;
use crate::zygote::Zygote;

/// The thread that is the parent of every process: the kernel ties their lives to it, not to the program
/// (`PR_SET_PDEATHSIG`, prctl(2)). It also reaps those whose [`Child`] was dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    orders: Mutex<Sender<Order>>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    StartZygote(Sender<Result<Zygote, BootError>>),
    Adopt(EndWatch),
}

impl Keeper {
    pub(crate) fn start() -> Result<Keeper, SpawnError> {
        let io = |op| move |source: io::Error| SpawnError::Io { op, source };
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| io("eventfd")(source.into()))?;
        let bell = Arc::new(bell);
        let (orders, received) = channel();
        let rung = Arc::clone(&bell);
        let builder = std::thread::Builder::new().name("occ-spawner".to_owned());
        // The program's signals are for the program's threads.
        let thread = sys::with_signals_blocked(|| builder.spawn(move || keep(&received, &rung)))
            .map_err(io("clone"))?;
        Ok(Keeper {
            orders: Mutex::new(orders),
            bell,
            thread: Some(thread),
        })
    }

    fn order(&self, order: Order) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread ends only when this sender is gone.
        let _ = orders.send(order);
        drop(orders);
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }

    pub(crate) fn zygote(&self) -> Result<Zygote, SpawnError> {
        let (reply, answer) = channel();
        self.order(Order::StartZygote(reply));
        Ok(answer.recv().map_err(|_| SpawnError::ZygoteDied)??)
    }

    pub(crate) fn adopt(&self, child: EndWatch) {
        self.order(Order::Adopt(child));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The sender goes first: the thread ends when it finds it gone.
        let (nobody, _) = channel();
        *self.orders.lock().unwrap_or_else(PoisonError::into_inner) = nobody;
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(orders: &Receiver<Order>, bell: &OwnedFd) {
    let mut adopted: Vec<EndWatch> = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
        fds.extend(
            adopted
                .iter()
                .map(|pidfd| PollFd::new(pidfd, PollFlags::IN)),
        );
        let _ = rustix::event::poll(&mut fds, None);
        drop(fds);

        let mut count = [0; 8];
        let _ = rustix::io::read(bell, &mut count);
        adopted.retain(|child| !reaped(child));
        loop {
            match orders.try_recv() {
                Ok(Order::StartZygote(reply)) => {
                    let _ = reply.send(Zygote::start(None, None, None));
                }
                Ok(Order::Adopt(child)) => adopted.push(child),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return end(&adopted),
            }
        }
    }
}

/// Nobody waits for these any more.
fn end(adopted: &[EndWatch]) {
    for child in adopted {
        let _ = child.signal(Signal::KILL);
    }
    for child in adopted {
        while !reaped(child) {
            child.wait();
        }
    }
}

/// True once the process is reaped, by us or by somebody else.
fn reaped(child: &EndWatch) -> bool {
    !matches!(child.ended(true), Ok(None))
}
