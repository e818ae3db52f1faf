//! Counts of messages that are kept where somebody else can read them, so that it is known of a process that was killed how many
//! it had not received.
//!
//! What waits for a process when it is killed is thrown away by the kernel, before anybody can look at it. So those who send count
//! what they have sent to it, and it counts what it has received; the difference is what it leaves.

use std::fmt::Debug;
use std::sync::Arc;

/// Where the messages to processes are counted: by a number for each, that a [`Connector`](crate::Connector) gives.
pub trait Tallies: Debug + Send + Sync {
    /// A message was sent to the process of this number. By any of those who send to it.
    fn sent(&self, index: u32);

    /// The process of this number has received so many. By itself alone.
    fn received(&self, index: u32, messages: u64);
}

/// Where an inbox counts, if it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) tallies: Option<Arc<dyn Tallies>>,
    /// The number of the inbox's own process.
    pub(crate) own: Option<u32>,
}

impl Tally {
    /// A message was sent to the peer of this number.
    #[inline]
    pub(crate) fn sent(&self, to: Option<u32>) {
        if let (Some(tallies), Some(index)) = (&self.tallies, to) {
            tallies.sent(index);
        }
    }

    /// So many have come to their end here.
    #[inline]
    pub(crate) fn received(&self, messages: u64) {
        if let (Some(tallies), Some(index)) = (&self.tallies, self.own) {
            tallies.received(index, messages);
        }
    }
}
