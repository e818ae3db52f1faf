//! The queue: messages in the order in which they arrived, taken from anywhere in it.

use std::any::Any;
use std::collections::VecDeque;

use occ_sck::{DecodeError, TypeKey};

use crate::error::{Cause, ReceiveError};
use crate::info::Arrival;
use crate::message::{Message, Receive};
use crate::pid::Pid;

mod index;

use index::Index;

/// A message, and its value once somebody has looked at it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) message: Message,
    /// When it came, if that has been looked at.
    arrival: Option<Arrival>,
    value: Option<Box<dyn Any>>,
}

impl Held {
    /// The value, decoded once however often it is looked at, if it has no descriptors.
    pub(crate) fn value<T: Receive>(&mut self) -> Result<&T, DecodeError> {
        if !self.value.as_ref().is_some_and(|value| value.is::<T>()) {
            self.value = Some(Box::new(self.message.decode::<T>()?));
        }
        match self.value.as_ref().and_then(|value| value.downcast_ref()) {
            Some(value) => Ok(value),
            // Just put there, as a T.
            None => unreachable!("the value is a {}", std::any::type_name::<T>()),
        }
    }

    /// The value, which is no longer here then.
    pub(crate) fn take_value<T: Receive>(&mut self) -> Result<T, DecodeError> {
        match self.value.take().map(|value| value.downcast::<T>()) {
            Some(Ok(value)) => Ok(*value),
            Some(Err(_)) | None => self.message.decode(),
        }
    }

    /// Keeps the value for whoever looks next.
    pub(crate) fn put_value<T: 'static>(&mut self, value: T) {
        self.value = Some(Box::new(value));
    }

    /// Nobody has taken it. A value with descriptors is not kept: they are duplicates, and of those that wait there may be as
    /// many as there is room for.
    pub(crate) fn refused(&mut self) {
        if self.message.carries_fds() {
            self.value = None;
        }
    }

    /// The message, and the value if it has been decoded.
    pub(crate) fn open<T: 'static>(self) -> (Message, Option<T>) {
        let value = self.value.and_then(|value| value.downcast::<T>().ok());
        (self.message, value.map(|value| *value))
    }
}

/// Something that was sent and is not to be had. It stands in the queue in the place of what is lost, so that
/// it is told once, and in order.
#[derive(Debug)]
pub(crate) enum Loss {
    Message {
        from: Pid,
    },
    /// What was sent on a connection that there was no room for, if something was.
    Unknown {
        from: Option<Pid>,
    },
    Connection {
        from: Pid,
        cause: Cause,
    },
}

impl Loss {
    /// Whether what was lost is one message that a process had sent.
    pub(crate) fn is_of_one_sent(&self) -> bool {
        matches!(self, Loss::Message { .. })
    }
}

impl From<Loss> for ReceiveError {
    fn from(loss: Loss) -> ReceiveError {
        match loss {
            Loss::Message { from } => ReceiveError::NoDescriptor { from: Some(from) },
            Loss::Unknown { from } => ReceiveError::NoDescriptor { from },
            Loss::Connection { from, cause } => ReceiveError::Broken {
                from,
                source: cause,
            },
        }
    }
}

#[derive(Debug)]
enum Entry {
    Held(Held),
    Lost(Loss),
}

/// A place in the queue. What stood in it may have been taken, from between others.
#[derive(Debug)]
struct Slot {
    place: u64,
    entry: Option<Entry>,
}

/// What was looked for and found; it has left the queue.
pub(crate) enum Found<R> {
    Message(Held, R),
    Loss(Loss),
}

/// Which messages are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    Any,
    /// Those of these types.
    OneOf(&'a [TypeKey]),
}

/// Entries that are walked past before it is asked where those of a type stand.
const NEAR: usize = 32;

/// Empty places, above as many as are not, before they are closed up.
const HOLES: usize = 64;

/// Messages and losses in the order in which they came. Each has a place, a number that is never used again, so that it
/// can be said from where on to look.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Ordered by place. The first and the last are not empty.
    slots: VecDeque<Slot>,
    /// The place of the next entry.
    next: u64,
    /// Slots that are not empty.
    held: usize,
    index: Index,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            slots: VecDeque::new(),
            // 0 is nobody's.
            next: 1,
            held: 0,
            index: Index::default(),
        }
    }
}

impl Queue {
    #[cfg(test)]
    pub(crate) fn push(&mut self, message: Message) {
        self.push_arrived(message, None);
    }

    pub(crate) fn push_arrived(&mut self, message: Message, arrival: Option<Arrival>) {
        self.stamp();
        self.push_entry(Entry::Held(Held {
            message,
            arrival,
            value: None,
        }));
    }

    pub(crate) fn push_loss(&mut self, loss: Loss) {
        self.push_entry(Entry::Lost(loss));
    }

    fn push_entry(&mut self, entry: Entry) {
        let place = self.pass();
        let entry = Some(entry);
        self.slots.push_back(Slot { place, entry });
        self.held += 1;
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.held
    }

    /// Writes down when the only message came that is there, if nobody has done so: now at the latest.
    #[inline]
    pub(crate) fn stamp(&mut self) {
        if let Some(Slot {
            entry: Some(Entry::Held(held)),
            ..
        }) = self.slots.front_mut()
            && held.arrival.is_none()
        {
            held.arrival = Some(Arrival::now());
        }
    }

    /// All messages, in order, and when they arrived.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&Message, Option<Arrival>)> {
        self.slots.iter().filter_map(|slot| match &slot.entry {
            Some(Entry::Held(held)) => Some((&held.message, held.arrival)),
            Some(Entry::Lost(_)) | None => None,
        })
    }

    /// How many entries stand for a message that a process has sent.
    pub(crate) fn sent(&self) -> u64 {
        let is_sent = |slot: &&Slot| match &slot.entry {
            Some(Entry::Held(held)) => !held.message.is_from_system(),
            Some(Entry::Lost(loss)) => loss.is_of_one_sent(),
            None => false,
        };
        self.slots.iter().filter(is_sent).count() as u64
    }

    /// The place of the next entry.
    pub(crate) fn end(&self) -> u64 {
        self.next
    }

    /// Passes over a place: a number for something that is younger than everything in the queue, and older than all
    /// that will come.
    pub(crate) fn pass(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Looks at every message that is wanted, from the place `from` on and the oldest first, until `look` says something,
    /// and takes that one out. A loss on the way is found by everybody: the message could have been the one.
    ///
    /// Nothing leaves the queue before `look` has returned, so a panic in it changes nothing.
    pub(crate) fn take<R>(
        &mut self,
        from: u64,
        wanted: Wanted<'_>,
        mut look: impl FnMut(&mut Held) -> Option<R>,
    ) -> Option<Found<R>> {
        let start = first_from(&self.slots, from);
        let near = match wanted {
            Wanted::Any => self.slots.len(),
            Wanted::OneOf(_) => self.slots.len().min(start + NEAR),
        };
        let mut look = |entry: &mut Entry| match entry {
            Entry::Held(held) if wanted.includes(&held.message) => look(held).map(Some),
            Entry::Held(_) => None,
            Entry::Lost(_) => Some(None),
        };
        let walked = self.slots.range_mut(start..near).enumerate();
        let mut found = { walked }.find_map(|(at, slot)| {
            let found = look(slot.entry.as_mut()?)?;
            Some((start + at, found))
        });
        if found.is_none()
            && let Wanted::OneOf(keys) = wanted
            && let Some(Slot { place, .. }) = self.slots.get(near)
        {
            let mut places = self.index.places(&self.slots, *place, keys);
            found = places.find_map(|place| {
                let at = find(&self.slots, place)?;
                let found = look(self.slots[at].entry.as_mut()?)?;
                Some((at, found))
            });
        }
        let (at, found) = found?;
        match (self.remove(at)?, found) {
            (Entry::Held(held), Some(found)) => Some(Found::Message(held, found)),
            (Entry::Lost(loss), None) => Some(Found::Loss(loss)),
            // What was found is what is taken.
            (Entry::Held(_), None) | (Entry::Lost(_), Some(_)) => unreachable!("another entry"),
        }
    }

    /// Takes out all from the system, from a place on, that are a `T` and that `unwanted` says yes to.
    pub(crate) fn forget<T: 'static>(&mut self, mut from: u64, unwanted: impl Fn(&T) -> bool) {
        let keys = [TypeKey::of::<T>()];
        loop {
            let mut places = self.index.places(&self.slots, from, &keys);
            let found = places.find_map(|place| {
                let at = find(&self.slots, place)?;
                let Some(Entry::Held(held)) = &self.slots[at].entry else {
                    return None;
                };
                let unwanted = held.message.system().is_some_and(&unwanted);
                unwanted.then_some((at, place))
            });
            let Some((at, place)) = found else {
                return;
            };
            self.remove(at);
            from = place;
        }
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let slot = self.slots.get_mut(at)?;
        let entry = slot.entry.take()?;
        let place = slot.place;
        self.held -= 1;
        if self.held == 0 {
            self.slots.clear();
            self.index.clear();
            return Some(entry);
        }
        let empty = |slot: Option<&Slot>| slot.is_some_and(|slot| slot.entry.is_none());
        while empty(self.slots.front()) {
            self.slots.pop_front();
        }
        while empty(self.slots.back()) {
            self.slots.pop_back();
        }
        if self.slots.len() > 2 * self.held + HOLES {
            self.slots.retain(|slot| slot.entry.is_some());
        }
        self.index.removed(place, self.held);
        Some(entry)
    }

    /// Takes out every message that `keep` says no to. Nothing leaves the queue, nor changes its place in it, before all have been
    /// looked at, so a panic in `keep` changes nothing.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Message) -> bool) {
        let look = |slot: &Slot| match &slot.entry {
            Some(Entry::Held(held)) => keep(&held.message),
            Some(Entry::Lost(_)) => true,
            None => false,
        };
        let kept: Vec<bool> = self.slots.iter().map(look).collect();
        let mut kept = kept.into_iter();
        self.slots.retain(|_| kept.next().unwrap_or(true));
        self.held = self.slots.len();
        self.index.clear();
    }

    /// Forgets everything; says how many messages that was, lost ones included.
    pub(crate) fn clear(&mut self) -> usize {
        self.slots.clear();
        self.index.clear();
        std::mem::take(&mut self.held)
    }
}

impl Wanted<'_> {
    fn includes(self, message: &Message) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::OneOf(keys) => keys.contains(&message.key()),
        }
    }
}

/// The slot of the first entry from `place` on.
fn first_from(slots: &VecDeque<Slot>, place: u64) -> usize {
    match (slots.front(), slots.back()) {
        (Some(first), Some(last)) if first.place < place => {
            if last.place < place {
                return slots.len();
            }
            guess(slots, first.place, place)
                .unwrap_or_else(|| slots.partition_point(|slot| slot.place < place))
        }
        _ => 0,
    }
}

/// The slot of the entry at `place`.
fn find(slots: &VecDeque<Slot>, place: u64) -> Option<usize> {
    let first = slots.front()?;
    guess(slots, first.place, place)
        .or_else(|| slots.binary_search_by_key(&place, |slot| slot.place).ok())
}

/// Where it is if no place is missing, as it mostly is.
fn guess(slots: &VecDeque<Slot>, first: u64, place: u64) -> Option<usize> {
    let at = usize::try_from(place.checked_sub(first)?).ok()?;
    (slots.get(at)?.place == place).then_some(at)
}

#[cfg(test)]
mod tests;
