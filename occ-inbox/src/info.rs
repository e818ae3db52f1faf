//! What waits in an inbox, for those who want to know.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::connector::Connector;
use crate::error::ReceiveError;
use crate::inbox::Inbox;
use crate::peer::Peer;
use crate::pid::Pid;

/// When something arrived: CLOCK_MONOTONIC_COARSE, which is exact to a few milliseconds and costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival(Duration);

impl Arrival {
    #[inline]
    pub(crate) fn now() -> Arrival {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        Arrival(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    fn age(self) -> Duration {
        Arrival::now().0.saturating_sub(self.0)
    }
}

/// What waits in an inbox: see [`Inbox::info`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InboxInfo {
    /// Messages in memory.
    pub messages: u64,
    /// Bytes of their encoded values. Messages from the system have none.
    pub bytes: u64,
    /// Each type of them, those of which there are the most messages first.
    pub types: Vec<TypeInfo>,
    /// The message that has waited longest.
    pub oldest: Option<OldestInfo>,
    /// Everybody there is a connection with, in the order of their names.
    pub peers: Vec<PeerInfo>,
}

/// The messages of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeInfo {
    /// The name of the type, for people: two types may share one.
    pub type_name: String,
    /// How many.
    pub messages: u64,
    /// Bytes of their encoded values.
    pub bytes: u64,
}

/// A message that has waited for long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestInfo {
    /// Who sent it; for a message from the system, whom it is about.
    pub from: Pid,
    /// The name of its type.
    pub type_name: String,
    /// How long it has been in memory, to a few milliseconds.
    pub age: Duration,
}

/// Somebody there is a connection with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who.
    pub pid: Pid,
    /// Its messages in memory.
    pub messages: u64,
    /// Bytes that it has sent and that are still in the kernel, with what frames them.
    pub in_kernel: u64,
    /// It is not read at present, because of the limits of the inbox.
    pub paused: bool,
}

impl<C: Connector> Inbox<C> {
    /// What waits in the inbox now: what had arrived is brought into memory first, as far as its limits allow.
    ///
    /// # Errors
    ///
    /// As [`Inbox::tick`].
    pub fn info(&mut self) -> Result<InboxInfo, ReceiveError> {
        match self.tick() {
            // What came before is there.
            Ok(_) | Err(ReceiveError::SystemDown) => {}
            Err(error) => return Err(error),
        }
        let mut info = InboxInfo::default();
        let mut types: BTreeMap<_, TypeInfo> = BTreeMap::new();
        let mut by_peer: HashMap<Pid, u64> = HashMap::new();
        for (message, arrival) in self.queue.messages() {
            let size = message.size();
            info.messages += 1;
            info.bytes += size;
            let of_type = types.entry(message.key()).or_insert_with(|| TypeInfo {
                type_name: message.type_name().to_owned(),
                messages: 0,
                bytes: 0,
            });
            of_type.messages += 1;
            of_type.bytes += size;
            *by_peer.entry(message.from).or_default() += 1;
            if info.oldest.is_none() {
                info.oldest = Some(OldestInfo {
                    from: message.from,
                    type_name: message.type_name().to_owned(),
                    age: arrival.map(Arrival::age).unwrap_or_default(),
                });
            }
        }
        info.types = types.into_values().collect();
        info.types
            .sort_by(|a, b| (b.messages, &a.type_name).cmp(&(a.messages, &b.type_name)));

        let core = self.hold.core();
        for number in core.peers.all() {
            let Some(peer) = core.peers.get(number).filter(|peer| !peer.beside) else {
                continue;
            };
            let twin = peer.twin.and_then(|twin| core.peers.get(twin));
            let both = [Some(peer), twin].into_iter().flatten();
            let in_kernel = |peer: &Peer| rustix::io::ioctl_fionread(&*peer.socket).unwrap_or(0);
            info.peers.push(PeerInfo {
                pid: peer.pid,
                messages: by_peer.get(&peer.pid).copied().unwrap_or(0),
                in_kernel: both.clone().map(in_kernel).sum(),
                paused: { both }.any(|peer| peer.unread.paused),
            });
        }
        info.peers.sort_by_key(|peer| peer.pid);
        Ok(info)
    }
}
