//! A process that watches others, passes on what it is told, and dies itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use occasional::{Down, Message, MonitorRef, Pid, SystemError};
use occasional::{monitor, os_pid, receive_any, receive_any_timeout, self_pid, send};
use serde::{Deserialize, Serialize};

use super::plan::Act;
use super::subject::{Said, die};
use super::told::Told;

/// From the judge to a watcher.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    Watch {
        index: u64,
        pid: Pid,
        monitors: u8,
        /// Say when the system knows of it.
        answer: bool,
    },
    /// Say when all is said that there is to say now.
    Settle,
    Die(Act),
}

/// From a watcher to the judge.
#[derive(Serialize, Deserialize)]
pub(crate) enum Word {
    Watching {
        index: u64,
    },
    Seen {
        index: u64,
        /// Which of its monitors.
        nth: u8,
        told: Told,
        /// How many messages of the process it had received before, in their order.
        heard: Heard,
    },
    /// A message of a process came after its Down.
    Late {
        index: u64,
    },
    Settled,
}

/// Messages that came: so many, or not in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) count: u8,
    pub(crate) in_disorder: bool,
}

impl Heard {
    pub(crate) fn hear(&mut self, number: u8) {
        self.count += 1;
        self.in_disorder |= number != self.count;
    }
}

#[derive(Default)]
struct Watcher {
    /// Who is watched by a monitor, and which of several it is. It stays after its Down: a second one must be known.
    monitors: HashMap<MonitorRef, (u64, u8)>,
    heard: BTreeMap<u64, (Heard, bool)>,
}

pub(crate) fn watcher(judge: Pid) -> anyhow::Result<u64> {
    let mut watcher = Watcher::default();
    loop {
        if let Some(act) = watcher.take(receive_any()?, judge)? {
            return die(act);
        }
    }
}

impl Watcher {
    /// What it is to die of, if that was the message.
    fn take(&mut self, message: Message, judge: Pid) -> anyhow::Result<Option<Act>> {
        if let Ok(down) = message.decode::<Down>() {
            self.pass_on(&down, judge)?;
        } else if let Ok(Said { index, number }) = message.decode() {
            let (heard, is_down) = self.heard.entry(index).or_default();
            heard.hear(number);
            if *is_down {
                send(judge, Word::Late { index })?;
            }
        } else {
            match message.decode()? {
                Order::Watch {
                    index,
                    pid,
                    monitors,
                    answer,
                } => {
                    for nth in 0..monitors {
                        self.monitors.insert(monitor(pid)?, (index, nth));
                    }
                    if answer {
                        ask_the_system()?;
                        send(judge, Word::Watching { index })?;
                    }
                }
                Order::Settle => {
                    ask_the_system()?;
                    while let Some(message) = receive_any_timeout(Duration::ZERO)? {
                        self.take(message, judge)?;
                    }
                    send(judge, Word::Settled)?;
                }
                Order::Die(act) => return Ok(Some(act)),
            }
        }
        Ok(None)
    }

    fn pass_on(&mut self, down: &Down, judge: Pid) -> anyhow::Result<()> {
        // Of a monitor that it does not have there is nobody it could be told of.
        let (index, nth) = self
            .monitors
            .get(&down.monitor)
            .copied()
            .unwrap_or((u64::MAX, 0));
        let (heard, is_down) = self.heard.entry(index).or_default();
        *is_down = true;
        let seen = Word::Seen {
            index,
            nth,
            told: Told::of(down),
            heard: *heard,
        };
        Ok(send(judge, seen)?)
    }
}

/// Waits for an answer of the coordinator's: it has then done all that was asked before, and what it had to tell has come.
pub(crate) fn ask_the_system() -> Result<(), SystemError> {
    os_pid(self_pid()).map(drop)
}
