//! Messages that a process has not received when it ends by itself: counted by whoever knows its inbox, and told before its report.

use std::sync::OnceLock;

use occ_proc::Evidence;
use occ_sck::{Body, Deadline, Envelope, Packet, Socket};

use crate::outcome::kind;

static COUNT: OnceLock<fn() -> Option<u64>> = OnceLock::new();

/// Says who counts, once in a process, or in the zygote for all that it makes. It is asked on the thread that ends the process, and may have no answer there.
pub fn counted_by(count: fn() -> Option<u64>) {
    let _ = COUNT.set(count);
}

/// Counts, and says it.
pub(crate) fn tell(control: &Socket) {
    let count = COUNT.get().and_then(|count| count());
    if let Some(count) = count.filter(|count| *count > 0)
        && let Ok(packet) = Packet::of(kind::UNREAD, &count)
    {
        // Where there is no room for it, it is not worth waiting for.
        let _ = packet.send_part(0, control, &[], Deadline::Now);
    }
}

/// Reads what was sent; `None` for anything else.
pub(crate) fn read(envelope: &Envelope) -> Option<Evidence> {
    let Body::Inline { .. } = envelope.body else {
        return None;
    };
    let messages = envelope.decode().ok().filter(|count: &u64| *count > 0)?;
    Some(Evidence::Unread { messages })
}
