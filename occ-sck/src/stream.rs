//! A source that gives its bytes a piece at a time: segments of a long message, or a memory file.

use std::collections::VecDeque;

use crate::blob::Blob;
use crate::decoder::{Failure, Source, Taken, Undecodable, ended};
use crate::error::BlobError;
use crate::segments::Segments;

/// What is read ahead. What is at least as long goes to its place without a stop here.
const AHEAD: usize = if cfg!(test) { 16 } else { 64 * 1024 };

/// Where the pieces come from.
enum Supply<'a> {
    /// They stay.
    Kept {
        pieces: Box<dyn Iterator<Item = &'a [u8]> + 'a>,
        piece: &'a [u8],
    },
    /// Each is freed when it has been read.
    Freed {
        pieces: VecDeque<Vec<u8>>,
        /// Bytes of the first that have been read.
        at: usize,
    },
    File {
        blob: &'a Blob,
        at: u64,
    },
}

/// Bytes of which some are read ahead.
pub(crate) struct Stream<'a> {
    ahead: Vec<u8>,
    /// Bytes of those that have been read.
    at: usize,
    supply: Supply<'a>,
    /// Bytes that are still with the supply.
    behind: usize,
}

impl<'a> Stream<'a> {
    /// The segments are as they were afterwards.
    pub(crate) fn keeping(segments: &'a Segments) -> Stream<'a> {
        let supply = Supply::Kept {
            pieces: Box::new(segments.pieces()),
            piece: &[],
        };
        Stream::new(supply, segments.len())
    }

    /// The segments are freed as they are read.
    pub(crate) fn freeing(segments: Segments) -> Stream<'static> {
        let len = segments.len();
        let supply = Supply::Freed {
            pieces: segments.into_pieces(),
            at: 0,
        };
        Stream::new(supply, len)
    }

    /// The file from `at` on.
    pub(crate) fn of_file(blob: &'a Blob, at: u64) -> Stream<'a> {
        Stream::new(Supply::File { blob, at }, blob.len().saturating_sub(at))
    }

    fn new(supply: Supply<'_>, len: u64) -> Stream<'_> {
        Stream {
            ahead: Vec::new(),
            at: 0,
            supply,
            // What does not fit an address space cannot be a value in it; reading it fails for want of bytes.
            behind: usize::try_from(len).unwrap_or(usize::MAX),
        }
    }

    /// Makes at least `len` bytes stand ready, no more than are read ahead. They are there.
    #[cold]
    fn refill(&mut self, len: usize) -> Result<(), Failure> {
        if len > self.left() {
            return Err(ended(len, self.left()));
        }
        self.ahead.drain(..self.at);
        self.at = 0;
        let more = (AHEAD - self.ahead.len()).min(self.behind);
        self.ahead.reserve_exact(more);
        self.behind -= more;
        self.supply.append(&mut self.ahead, more)
    }

    /// The next `len` bytes, in memory of their own.
    fn whole(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        whole
            .try_reserve_exact(len)
            .map_err(|_| Undecodable::Memory { len })?;
        let ahead = &self.ahead[self.at..];
        let ahead = &ahead[..ahead.len().min(len)];
        whole.extend_from_slice(ahead);
        self.at += ahead.len();
        let more = len - ahead.len();
        self.behind -= more;
        self.supply.append(&mut whole, more)?;
        Ok(whole)
    }
}

impl<'de> Source<'de> for Stream<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Failure> {
        if self.at == self.ahead.len() {
            self.refill(1)?;
        }
        let byte = self.ahead[self.at];
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Result<Taken<'de, '_>, Failure> {
        if len > self.ahead.len() - self.at {
            if len > self.left() {
                return Err(ended(len, self.left()));
            }
            if len >= AHEAD {
                return self.whole(len).map(Taken::Owned);
            }
            self.refill(len)?;
        }
        let from = self.at;
        self.at += len;
        Ok(Taken::Passing(&self.ahead[from..self.at]))
    }

    #[inline]
    fn left(&self) -> usize {
        self.ahead.len() - self.at + self.behind
    }
}

impl Supply<'_> {
    /// Appends `len` bytes, for which there is room, and as many are there.
    fn append(&mut self, into: &mut Vec<u8>, mut len: usize) -> Result<(), Failure> {
        match self {
            Supply::Kept { pieces, piece } => {
                while len > 0 {
                    if piece.is_empty() {
                        *piece = pieces.next().ok_or_else(|| ended(len, 0))?;
                    }
                    let (now, rest) = piece.split_at(piece.len().min(len));
                    into.extend_from_slice(now);
                    len -= now.len();
                    *piece = rest;
                }
            }
            Supply::Freed { pieces, at } => {
                while len > 0 {
                    let piece = pieces.front().ok_or_else(|| ended(len, 0))?;
                    let now = &piece[*at..piece.len().min(*at + len)];
                    into.extend_from_slice(now);
                    len -= now.len();
                    *at += now.len();
                    if *at == piece.len() {
                        pieces.pop_front();
                        *at = 0;
                    }
                }
            }
            Supply::File { blob, at } => {
                blob.read_at(*at, into, len)
                    .map_err(|error: BlobError| Undecodable::Blob(error))?;
                *at += len as u64;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::value::{decode, decode_from, encode_into};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Thing {
        Numbers(u8, i64, u128, f32),
        Text(String),
        Bytes(crate::Bytes),
        List(Vec<u16>),
        Char(char),
        Map(BTreeMap<u16, Thing>),
        Many(Vec<Thing>),
    }

    fn thing() -> impl Strategy<Value = Thing> {
        let leaf = prop_oneof![
            any::<(u8, i64, u128, i16)>().prop_map(|(a, b, c, d)| Thing::Numbers(
                a,
                b,
                c,
                d.into()
            )),
            "\\PC{0,60}".prop_map(Thing::Text),
            proptest::collection::vec(any::<u8>(), 0..60)
                .prop_map(|bytes| Thing::Bytes(crate::Bytes(bytes))),
            any::<Vec<u16>>().prop_map(Thing::List),
            any::<char>().prop_map(Thing::Char),
        ];
        leaf.prop_recursive(3, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::btree_map(any::<u16>(), inner.clone(), 0..6)
                    .prop_map(Thing::Map),
                proptest::collection::vec(inner, 0..6).prop_map(Thing::Many),
            ]
        })
    }

    /// What every source has to say of these bytes is what one piece has.
    fn all_say_the_same(bytes: &[u8], cuts: &[prop::sample::Index]) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = || {
            let pieces = cuts.windows(2).map(|cut| bytes[cut[0]..cut[1]].to_vec());
            Segments::of(pieces.filter(|piece| !piece.is_empty()).collect())
        };
        let one = decode::<Thing>(bytes).map_err(|error| format!("{error:?}"));
        let say = |stream: Stream<'_>| {
            decode_from::<Thing>(stream, bytes.len()).map_err(|error| format!("{error:?}"))
        };
        let kept = pieces();
        for _ in 0..2 {
            assert_eq!(say(Stream::keeping(&kept)), one);
        }
        assert_eq!(say(Stream::freeing(pieces())), one);
        let blob = Blob::new(bytes).unwrap();
        assert_eq!(say(Stream::of_file(&blob, 0)), one);
        let behind = Blob::new(&[b"something else", bytes].concat()).unwrap();
        assert_eq!(say(Stream::of_file(&behind, 14)), one);
    }

    proptest! {
        #[test]
        fn a_value_in_pieces_is_the_value(
            value in thing(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut bytes = Vec::new();
            encode_into(&value, &mut bytes).unwrap();
            assert_eq!(decode::<Thing>(&bytes).unwrap(), value);
            all_say_the_same(&bytes, &cuts);
        }

        #[test]
        fn what_is_wrong_in_one_piece_is_wrong_in_many(
            value in thing(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
            at in any::<prop::sample::Index>(),
            fault in proptest::option::of(any::<u8>()),
        ) {
            let mut bytes = Vec::new();
            encode_into(&value, &mut bytes).unwrap();
            let at = at.index(bytes.len());
            match fault {
                Some(byte) => bytes[at] = byte,
                None => bytes.truncate(at),
            }
            all_say_the_same(&bytes, &cuts);
        }
    }

    #[test]
    fn a_piece_is_freed_when_it_has_been_read() {
        let pieces: Vec<_> = (0..10_u8).map(|piece| vec![piece; 100]).collect();
        let mut stream = Stream::freeing(Segments::of(pieces));
        for read in 1..=1000 {
            stream.byte().unwrap();
            let Supply::Freed { pieces, .. } = &stream.supply else {
                unreachable!()
            };
            // But for those of which something was read ahead.
            assert!(pieces.len() <= (1000 - read) / 100 + 1);
        }
        assert_eq!(stream.left(), 0);
        assert!(stream.byte().is_err());
    }
}
