//! The host is told of abnormal ends that nobody watched.
//!
//! A thread of it listens, and may be slow, because what it does with the news is the user's. What it has no room for
//! waits here, so many and no more; of those before them only their number is told.

use std::collections::VecDeque;
use std::rc::Rc;

use occ_sck::{Body, Deadline, Envelope, Packet};
use rustix::event::epoll::{self, EventFlags};

use super::{Central, LIFELINE};
use crate::line::{Paid, paid, send_report};
use crate::protocol::{Abnormal, Ended, ShortReport, kind};

/// Ends that wait.
const MOST: usize = 1024;

/// Those of them whose report holds a descriptor.
const MOST_LONG: usize = 16;

/// Ends that the host has not been told of.
#[derive(Debug, Default)]
pub(super) struct Unwatched {
    ends: VecDeque<(Ended, Option<Rc<Envelope>>)>,
    /// Those before them that it will not be told of.
    missed: u64,
    /// Epoll looks for room.
    lags: bool,
}

fn is_long(report: Option<&Envelope>) -> bool {
    report.is_some_and(|report| matches!(report.body, Body::Blob(_)))
}

impl Unwatched {
    fn push(&mut self, ended: Ended, mut report: Option<Rc<Envelope>>) {
        let long = self
            .ends
            .iter()
            .filter(|(_, report)| is_long(report.as_deref()));
        if is_long(report.as_deref()) && long.count() >= MOST_LONG {
            report = None;
        }
        self.ends.push_back((ended, report));
        if self.ends.len() > MOST {
            self.ends.pop_front();
            self.missed += 1;
        }
    }

    /// Tells of the first.
    fn pay(&self, socket: &occ_sck::Socket) -> Option<Paid> {
        let (ended, report) = self.ends.front()?;
        let report = report.as_deref();
        let with = report.and_then(ShortReport::of);
        if let Some(report) = report
            && with.is_none()
            && let unpaid @ (Paid::Later | Paid::Closed) = send_report(report, socket)
        {
            return Some(unpaid);
        }
        let news = Abnormal {
            ended: ended.clone(),
            missed: self.missed,
            report: with,
        };
        let packet = Packet::of(kind::ABNORMAL, &news).unwrap_or_default();
        Some(paid(packet.send_whole(socket, &[], Deadline::Now)))
    }
}

impl Central {
    pub(super) fn tell_host(&mut self, ended: Ended, report: Option<Rc<Envelope>>) {
        self.unwatched.push(ended, report);
        self.tell_unwatched();
    }

    /// Tells the host as much as it has room for.
    pub(super) fn tell_unwatched(&mut self) {
        let unwatched = &mut self.unwatched;
        while let Some(paid) = unwatched.pay(self.lifeline) {
            match paid {
                Paid::Later => break,
                Paid::Closed => unwatched.ends.clear(),
                Paid::Yes | Paid::Failed { .. } => {
                    unwatched.missed = if let Paid::Yes = paid {
                        0
                    } else {
                        unwatched.missed + 1
                    };
                    unwatched.ends.pop_front();
                }
            }
        }
        if unwatched.lags == unwatched.ends.is_empty() {
            unwatched.lags = !unwatched.ends.is_empty();
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, unwatched.lags);
            let data = epoll::EventData::new_u64(LIFELINE);
            // Where the host has gone, it is not there any more.
            let _ = epoll::modify(&self.epoll, self.lifeline, data, flags);
        }
    }
}
