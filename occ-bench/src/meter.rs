//! A process that measures one side of a row, whenever it is its turn.

use std::time::Duration;

use anyhow::{Context, bail};
use occasional::{Arguments, Down, Function, Message, MonitorRef, Outcome, Pid};
use occasional::{receive, receive_map_timeout, self_pid, send, spawn_monitor};
use serde::{Deserialize, Serialize};

/// A round that takes longer will never end.
const LIMIT: Duration = Duration::from_secs(300);

/// A process that runs [`serve`], from the side of whoever asks it.
pub(crate) struct Meter {
    pid: Pid,
    monitor: MonitorRef,
}

#[derive(Serialize, Deserialize)]
enum Turn {
    Measure { tell: Pid },
    End,
}

#[derive(Serialize, Deserialize)]
struct Figure(f64);

impl Meter {
    pub(crate) fn start<F, A, K>(function: F, args: A) -> anyhow::Result<Meter>
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<K>,
    {
        let (pid, monitor) = spawn_monitor(function, args)?;
        Ok(Meter { pid, monitor })
    }

    /// Lets it measure once.
    pub(crate) fn round(&self) -> anyhow::Result<f64> {
        send(self.pid, Turn::Measure { tell: self_pid() })?;
        let answer = self.hear(|message| message.decode::<Figure>().ok())?;
        match answer {
            Ok(Figure(figure)) => Ok(figure),
            Err(down) => bail!("a process that measured has ended: {}", down.reason),
        }
    }

    /// Lets it end.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        send(self.pid, Turn::End)?;
        let ended = self.hear(|_| None::<()>)?;
        match ended {
            Err(Down {
                reason: occasional::ExitReason::Value(_),
                ..
            })
            | Ok(()) => Ok(()),
            Err(down) => bail!("a process that measured ended badly: {}", down.reason),
        }
    }

    fn hear<T>(
        &self,
        mut pick: impl FnMut(&Message) -> Option<T>,
    ) -> anyhow::Result<Result<T, Down>> {
        let heard = receive_map_timeout(LIMIT, |message| {
            if message.from != self.pid {
                return None;
            }
            let down = message.decode::<Down>().ok();
            match down.filter(|down| down.monitor == self.monitor) {
                Some(down) => Some(Err(down)),
                None => pick(message).map(Ok),
            }
        })?;
        heard.with_context(|| format!("nothing was heard for {LIMIT:?}"))
    }
}

/// What a meter does: measures when it is asked, until it is told to end.
pub(crate) fn serve(mut measure: impl FnMut() -> anyhow::Result<f64>) -> anyhow::Result<()> {
    while let Turn::Measure { tell } = receive()? {
        send(tell, Figure(measure()?))?;
    }
    Ok(())
}
