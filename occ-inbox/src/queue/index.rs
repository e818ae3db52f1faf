//! Where in the queue the messages of each type stand, so that a long queue is not walked for each of them.
//!
//! It is made when somebody first looks far, and knows no more than somebody has looked for: a queue that stays short, as
//! most do, never pays for it. A message that leaves the queue stays here until its place is come across, or until more
//! have left than are there, and then all of it is made anew.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use occ_sck::TypeKey;

use super::{Entry, Slot, find};

/// Those that have left, above as many as are there, before all is made anew.
const STALE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Places before this one are known.
    until: u64,
    lists: HashMap<TypeKey, VecDeque<u64>, BuildHasherDefault<KeyHasher>>,
    losses: VecDeque<u64>,
    /// Those here that may have left the queue.
    stale: usize,
}

impl Index {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        if self.until > 0 {
            *self = Index::default();
        }
    }

    /// Places that are known, of those that have left as well.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let lists = self.lists.values().chain([&self.losses]);
        lists.map(VecDeque::capacity).sum()
    }

    /// The entry at `place` has left the queue, and so many are still in it.
    pub(super) fn removed(&mut self, place: u64, held: usize) {
        if place < self.until {
            self.stale += 1;
            if self.stale > held + STALE {
                self.clear();
            }
        }
    }

    /// Learns what has been added to the queue.
    fn catch_up(&mut self, slots: &VecDeque<Slot>) {
        let known = slots.partition_point(|slot| slot.place < self.until);
        for Slot { place, entry } in slots.range(known..) {
            match entry {
                Some(Entry::Held(held)) => {
                    let list = self.lists.entry(held.message.key()).or_default();
                    list.push_back(*place);
                }
                Some(Entry::Lost(_)) => self.losses.push_back(*place),
                None => {}
            }
            self.until = *place + 1;
        }
    }

    /// The places, from `from` on, of all messages that are of one of these types, and of all losses, in order; some of
    /// them may be empty.
    pub(super) fn places<'a>(
        &'a mut self,
        slots: &VecDeque<Slot>,
        from: u64,
        keys: &[TypeKey],
    ) -> Places<'a> {
        self.catch_up(slots);
        for key in keys {
            let list = self.lists.get_mut(key);
            self.stale = self
                .stale
                .saturating_sub(list.map_or(0, |list| drop_stale(list, slots)));
        }
        let dropped = drop_stale(&mut self.losses, slots);
        self.stale = self.stale.saturating_sub(dropped);

        let lists = keys.iter().filter_map(|key| self.lists.get(key));
        let cursors = lists.chain([&self.losses]).map(|list| Cursor {
            list,
            at: list.partition_point(|place| *place < from),
        });
        Places(cursors.collect())
    }
}

/// Drops those at the front that have left the queue, and says how many that was.
fn drop_stale(list: &mut VecDeque<u64>, slots: &VecDeque<Slot>) -> usize {
    let mut dropped = 0;
    while let Some(place) = list.front()
        && find(slots, *place).is_none_or(|at| slots[at].entry.is_none())
    {
        list.pop_front();
        dropped += 1;
    }
    dropped
}

struct Cursor<'a> {
    list: &'a VecDeque<u64>,
    at: usize,
}

/// Places of several lists, in order.
pub(super) struct Places<'a>(Vec<Cursor<'a>>);

impl Iterator for Places<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let next = |cursor: &Cursor<'_>| cursor.list.get(cursor.at).copied();
        let first = self.0.iter().filter_map(next).min()?;
        // One type may have been named twice.
        for cursor in &mut self.0 {
            cursor.at += usize::from(next(cursor) == Some(first));
        }
        Some(first)
    }
}

/// Hashes keys, which are hashes already.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = self.0.rotate_left(31) ^ u64::from_le_bytes(word);
        }
    }

    fn finish(&self) -> u64 {
        // Those that are told apart by name alone have zeroes in one half.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}
