//! The host is told of abnormal ends that nobody watched.
//!
//! A thread of it listens, and may be slow, because what it does with the news is the user's. What it has no room for
//! waits here, so many and no more; of those before them only their number is told.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use occ_sck::{Body, Deadline, Envelope, Packet, Socket};
use rustix::event::epoll::{self, EventFlags};

use super::{Central, LIFELINE};
use crate::line::{Paid, paid, send_report};
use crate::protocol::{Abnormal, Ended, ShortReport, kind};

/// Ends that wait.
const MOST: usize = 1024;

/// Those of them whose report holds a descriptor.
const MOST_LONG: usize = 16;

/// One of them.
#[derive(Debug)]
struct End {
    ended: Ended,
    report: Option<Rc<Envelope>>,
    /// Its report is with the host already, and the rest of it belongs to that.
    report_sent: bool,
}

/// Ends that the host has not been told of.
#[derive(Debug, Default)]
pub(super) struct Unwatched {
    ends: VecDeque<End>,
    /// Those before them that it will not be told of.
    missed: u64,
    /// Epoll looks for room.
    lags: bool,
}

fn is_long(report: Option<&Envelope>) -> bool {
    report.is_some_and(|report| matches!(report.body, Body::Blob(_)) || !report.fds.is_empty())
}

impl Unwatched {
    fn push(&mut self, ended: Ended, mut report: Option<Rc<Envelope>>) {
        let long = self
            .ends
            .iter()
            .filter(|end| is_long(end.report.as_deref()));
        if is_long(report.as_deref()) && long.count() >= MOST_LONG {
            report = None;
        }
        self.ends.push_back(End {
            ended,
            report,
            report_sent: false,
        });
        if self.ends.len() > MOST {
            self.ends.pop_front();
            self.missed += 1;
        }
    }

    fn give_up_a_report(&mut self) {
        if let Some(end) = self.ends.front_mut() {
            end.report = None;
        }
    }

    /// Tells of the first.
    fn pay(&mut self, socket: &Socket) -> Option<Paid> {
        let end = self.ends.front_mut()?;
        let report = end.report.as_deref();
        let with = report.and_then(ShortReport::of);
        if let Some(report) = report
            && with.is_none()
            && !end.report_sent
        {
            match send_report(report, socket) {
                unpaid @ (Paid::Later | Paid::Crowded(_) | Paid::Closed) => return Some(unpaid),
                Paid::Yes => end.report_sent = true,
                Paid::Failed { .. } => {}
            }
        }
        let news = Abnormal {
            ended: end.ended.clone(),
            missed: self.missed,
            report: with,
            report_before: end.report_sent,
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
                Paid::Later => {
                    self.crowd.release(LIFELINE);
                    break;
                }
                Paid::Crowded(_) if self.crowd.let_wait(LIFELINE, Instant::now()) => break,
                // Then without its report, which is what brings a descriptor along.
                Paid::Crowded(_) => unwatched.give_up_a_report(),
                Paid::Closed => unwatched.ends.clear(),
                Paid::Yes | Paid::Failed { .. } => {
                    self.crowd.release(LIFELINE);
                    unwatched.missed = if let Paid::Yes = paid {
                        0
                    } else {
                        unwatched.missed + 1
                    };
                    unwatched.ends.pop_front();
                }
            }
        }
        let lags = !unwatched.ends.is_empty() && !self.crowd.has(LIFELINE);
        if unwatched.lags != lags {
            unwatched.lags = lags;
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, unwatched.lags);
            let data = epoll::EventData::new_u64(LIFELINE);
            // Where the host has gone, it is not there any more.
            let _ = epoll::modify(&self.epoll, self.lifeline, data, flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use occ_inbox::Pid;
    use occ_proc::Usage;
    use occ_sck::{Assembler, Bytes, Limits, MAX_DATAGRAM, Received};
    use occ_spawn::entry::kind as spawn;
    use occ_spawn::{OsPid, OsStatus};

    use super::*;
    use crate::protocol::{Facts, Moment};

    fn receive(socket: &Socket) -> Option<Envelope> {
        let (mut buffer, mut fds) = (vec![0; MAX_DATAGRAM], Vec::new());
        match socket.receive(&mut buffer, &mut fds, Deadline::Now) {
            Ok(Received::Datagram { len, .. }) => Assembler::new(Limits::default())
                .push(&buffer[..len], fds)
                .expect("a frame"),
            _ => None,
        }
    }

    fn end(serial: u64) -> Ended {
        let (node, incarnation) = (0, 1);
        Ended {
            number: 0,
            pid: Pid {
                node,
                incarnation,
                serial,
            },
            name: format!("p{serial}"),
            label: None,
            facts: Some(Box::new(Facts {
                os_pid: OsPid::new(5),
                started: Moment::ZERO,
                end: crate::protocol::End {
                    status: OsStatus {
                        si_code: libc::CLD_EXITED,
                        si_status: 1,
                    },
                    usage: Usage::NONE,
                    evidence: Vec::new(),
                    stderr: None,
                    at: Moment::ZERO,
                },
            })),
            reported: true,
        }
    }

    /// A report as central gets it: in its datagram, or in a memory file.
    fn report(length: usize) -> Option<Rc<Envelope>> {
        let (a, b) = Socket::pair().expect("a pair");
        let packet = Packet::of(spawn::FAILURE, &Bytes(vec![1; length])).expect("bytes");
        packet.send_whole(&a, &[], Deadline::Now).expect("room");
        receive(&b).map(Rc::new)
    }

    /// The report of one is with the host when the one itself is given up: it is not the next one's.
    #[test]
    fn a_report_is_told_of_whom_it_is() {
        let (ours, host) = Socket::pair().expect("a pair");
        let junk = Packet::of(200, &()).expect("nothing");
        while junk.send_part(0, &ours, &[], Deadline::Now).is_ok() {}
        // Room for one datagram, which is the report.
        receive(&host).expect("junk");

        let mut unwatched = Unwatched::default();
        unwatched.push(end(1), report(10_000));
        assert!(matches!(unwatched.pay(&ours), Some(Paid::Later)));
        assert!(unwatched.ends[0].report_sent);
        for serial in 2..2 + MOST as u64 {
            unwatched.push(end(serial), None);
        }
        assert_eq!((unwatched.ends.len(), unwatched.missed), (MOST, 1));

        let (mut heard, mut abnormal) = (0, None);
        while abnormal.is_none() {
            let Some(envelope) = receive(&host) else {
                assert!(matches!(unwatched.pay(&ours), Some(Paid::Yes)));
                continue;
            };
            match envelope.kind {
                spawn::FAILURE => heard += 1,
                kind::ABNORMAL => abnormal = envelope.decode::<Abnormal>().ok(),
                _ => {}
            }
        }
        let abnormal = abnormal.expect("told");
        assert_eq!(
            (heard, abnormal.ended.pid.serial, abnormal.missed),
            (1, 2, 1)
        );
        assert!(!abnormal.report_before && abnormal.report.is_none());
    }

    /// The control: with room it is its own.
    #[test]
    fn a_long_report_is_told_once_and_before_its_end() {
        let (ours, host) = Socket::pair().expect("a pair");
        let mut unwatched = Unwatched::default();
        unwatched.push(end(1), report(10_000));
        assert!(matches!(unwatched.pay(&ours), Some(Paid::Yes)));
        assert_eq!(receive(&host).expect("a report").kind, spawn::FAILURE);
        let news = receive(&host).expect("the end").decode::<Abnormal>();
        assert!(news.expect("an end").report_before);
    }
}
