//! Panics that were not the end: what is told of them, at the end.
//!
//! A panic on another thread, or one that is caught, is nobody's exit, but often the beginning of one. So a process keeps
//! their number and the last few, and says so once, with its last words: before its report, or in the handler of the signal that
//! ends it. A process that ends without a word (SIGKILL, `_exit`) does not say it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use occ_proc::{EarlierPanic, Evidence};
use occ_sck::{Body, Deadline, Envelope, Packet, Socket};
use serde::{Deserialize, Serialize};

use crate::outcome::{PanicReport, kind};
use crate::panic::cut;
use crate::{process, sys};

/// How many are told of.
const LAST: usize = 3;

/// Most bytes of what is told of one: the message, the location, the thread.
const MESSAGE: usize = 256;
const NAME: usize = 256;

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    count: 0,
    left_out: 0,
    last: VecDeque::new(),
    packet: None,
});

struct Kept {
    /// How many panics there have been.
    count: u64,
    /// How many of them are told otherwise: the one that is the end.
    left_out: u64,
    last: VecDeque<EarlierPanic>,
    /// What there is to say, made ready: a signal handler takes no memory.
    packet: Option<Packet>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    count: u64,
    last: Vec<EarlierPanic>,
}

/// Keeps a panic, and says which of the process's it is. Not for a fork: another thread may have held the lock as it was
/// made.
pub(crate) fn note(report: &PanicReport) -> u64 {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.count += 1;
    let short = |text: &String, most| cut(text.clone(), most);
    let mut panic = EarlierPanic::new(kept.count, short(&report.message, MESSAGE));
    panic.location = report.location.as_ref().map(|text| short(text, NAME));
    panic.thread = report.thread.as_ref().map(|text| short(text, NAME));
    if kept.last.len() == LAST {
        kept.last.pop_front();
    }
    kept.last.push_back(panic);
    kept.make_ready();
    kept.count
}

/// Leaves out the panic that is the reason of the end.
pub(crate) fn is_the_end(number: u64) {
    if sys::own().is_none() {
        return;
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.left_out = 1;
    kept.last.retain(|panic| panic.number != number);
    kept.make_ready();
}

impl Kept {
    fn make_ready(&mut self) {
        let count = self.count.saturating_sub(self.left_out);
        let last = self.last.iter().cloned().collect();
        let packet = Packet::of(kind::PANICKED_BEFORE, &Wire { count, last });
        self.packet = packet.ok().filter(|_| count > 0);
    }

    fn send(&self, control: &Socket) {
        if let Some(packet) = &self.packet {
            // Where there is no room for it, it is not worth waiting for.
            let _ = packet.send_part(0, control, &[], Deadline::Now);
        }
    }
}

/// Says what there is to say, at an end that the process makes itself.
pub(crate) fn tell(control: &Socket) {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.send(control);
}

/// The same from the handler of a signal: it takes no memory, and no lock that it has to wait for.
pub(crate) fn tell_from_handler() {
    if let Ok(kept) = KEPT.try_lock()
        && kept.packet.is_some()
        && let Some(control) = process::own_control()
    {
        kept.send(control);
    }
}

/// Reads what was sent; `None` for anything else, or more than is ever sent.
pub(crate) fn read(envelope: &Envelope) -> Option<Evidence> {
    let Body::Inline { .. } = envelope.body else {
        return None;
    };
    let Wire { count, last } = envelope.decode().ok()?;
    let fits = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= NAME);
    let all_fit = last.iter().all(|panic: &EarlierPanic| {
        panic.message.len() <= MESSAGE && fits(&panic.location) && fits(&panic.thread)
    });
    (count > 0 && last.len() <= LAST && all_fit).then_some(Evidence::PanickedBefore { count, last })
}

/// Takes the panic that is the reason of the end away from those before it. Where that is said in a signal handler, it is
/// still among them.
pub(crate) fn leave_out(evidence: &mut Vec<Evidence>, number: u64) {
    evidence.retain_mut(|piece| {
        let Evidence::PanickedBefore { count, last } = piece else {
            return true;
        };
        if last.iter().any(|panic| panic.number == number) {
            last.retain(|panic| panic.number != number);
            *count -= 1;
        }
        *count > 0
    });
}

/// In a line about the end: ` (2 panics before)`, or nothing.
pub(crate) fn in_short(evidence: &[Evidence]) -> String {
    let count = evidence.iter().find_map(|piece| match piece {
        Evidence::PanickedBefore { count, .. } => Some(*count),
        _ => None,
    });
    match count {
        None => String::new(),
        Some(1) => " (1 panic before)".to_owned(),
        Some(count) => format!(" ({count} panics before)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64, last: Vec<EarlierPanic>) -> Option<Evidence> {
        let wire = Wire { count, last };
        let packet = Packet::of(kind::PANICKED_BEFORE, &wire).expect("encode");
        read(&packet.into_envelope())
    }

    fn panic(number: u64, length: usize) -> EarlierPanic {
        EarlierPanic::new(number, "x".repeat(length))
    }

    #[test]
    fn what_is_told_is_read_and_no_more_than_is_ever_told() {
        let last = vec![panic(7, MESSAGE), panic(8, 0), panic(9, 1)];
        let read = sent(9, last.clone());
        assert_eq!(read, Some(Evidence::PanickedBefore { count: 9, last }));

        assert_eq!(sent(0, Vec::new()), None);
        assert_eq!(sent(1, vec![panic(1, MESSAGE + 1)]), None);
        assert_eq!(sent(4, (0..4).map(|n| panic(n, 1)).collect()), None);
        let mut long = panic(1, 1);
        long.location = Some("x".repeat(NAME + 1));
        assert_eq!(sent(1, vec![long]), None);
        let other = Packet::of(kind::PANICKED_BEFORE, &"text".to_owned()).expect("encode");
        assert_eq!(super::read(&other.into_envelope()), None);
    }

    #[test]
    fn the_one_that_is_the_end_is_not_before_it() {
        let of = |count, last| vec![Evidence::PanickedBefore { count, last }];
        let mut evidence = of(3, vec![panic(2, 1), panic(3, 1)]);
        leave_out(&mut evidence, 3);
        assert_eq!(evidence, of(2, vec![panic(2, 1)]));
        assert_eq!(in_short(&evidence), " (2 panics before)");
        // It was left out where it was told.
        leave_out(&mut evidence, 3);
        assert_eq!(evidence, of(2, vec![panic(2, 1)]));

        let mut evidence = of(1, vec![panic(1, 1)]);
        assert_eq!(in_short(&evidence), " (1 panic before)");
        leave_out(&mut evidence, 1);
        assert!(evidence.is_empty() && in_short(&evidence).is_empty());
    }
}
