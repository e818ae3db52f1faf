//! The competition, doing the same work.

use std::process::Command;

use anyhow::{Context, ensure};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::clock;
use crate::meter::serve;
use crate::place::pin;
use crate::stats::median_of;
use crate::sys::{self, fork};

/// Lets procspawn take over in the processes that it makes, and make some from here.
///
/// Our own processes never get to `main`, so this does not meet them.
pub(crate) fn start_procspawn() {
    // The arguments are of no use to its processes, which end here.
    sys::promise_procspawn_one_image();
    procspawn::ProcConfig::new().pass_args(false).init();
}

/// /bin/true run to its end, in µs.
pub(crate) fn command(count: usize) -> anyhow::Result<()> {
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            let status = Command::new("/bin/true").status().context("/bin/true")?;
            let took = clock::micros_since(start);
            ensure!(status.success(), "/bin/true: {status}");
            Ok(took)
        })
    })
}

/// An empty function run to its end by procspawn, in µs.
pub(crate) fn procspawn(count: usize) -> anyhow::Result<()> {
    start_procspawn();
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            procspawn::spawn((), |()| ()).join()?;
            Ok(clock::micros_since(start))
        })
    })
}

/// Small messages there and back through two channels of ipc-channel, in µs.
pub(crate) fn ipc_round_trip(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let (to_echo, at_echo) = ipc::channel::<[u8; 16]>()?;
    let (from_echo, back) = ipc::channel::<[u8; 16]>()?;
    let _echo = Child::start(there, || {
        while at_echo
            .recv()
            .is_ok_and(|message| from_echo.send(message).is_ok())
        {}
    })?;
    serve(|| {
        median_of(count, || {
            let start = clock::now();
            to_echo.send([1; 16])?;
            back.recv()?;
            Ok(clock::micros_since(start))
        })
    })
}

/// Small messages a second, in one direction, through a channel of ipc-channel.
pub(crate) fn ipc_one_way(count: usize, here: usize, there: usize) -> anyhow::Result<()> {
    pin(&[here])?;
    let (ask, asked): (IpcSender<usize>, IpcReceiver<usize>) = ipc::channel()?;
    let (sender, receiver) = ipc::channel::<[u8; 16]>()?;
    let _sender = Child::start(there, || {
        while let Ok(count) = asked.recv() {
            if (0..count).any(|_| sender.send([1; 16]).is_err()) {
                return;
            }
        }
    })?;
    serve(|| {
        let start = clock::now();
        ask.send(count)?;
        for _ in 0..count {
            receiver.recv()?;
        }
        Ok(clock::rate_since(start, count))
    })
}

/// A fork that has the other ends of the channels, until this is dropped.
struct Child(Pid);

impl Child {
    fn start(cpu: usize, work: impl FnOnce()) -> anyhow::Result<Child> {
        let child = fork(|| {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            if pin(&[cpu]).is_ok() {
                work();
            }
        })?;
        Ok(Child(child))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _ = waitid(WaitId::Pid(self.0), WaitIdOptions::EXITED);
    }
}
