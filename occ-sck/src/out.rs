//! Where an encoder writes: into memory, and when that is full, on.
//!
//! A byte costs one look at what room there is, as with any `Vec`; what becomes of a full one is decided off the path. So there
//! is one encoder for a short value and for one of a GiB, and it is compiled once for each type.

use std::fmt::{self, Display, Write};

use crate::encoder::{Done, Failure, Unencodable};
use crate::frame::PART;

/// What is done when there is no more room.
pub(crate) enum Full<'a> {
    /// There is more.
    Grow,
    /// There is more, up to a number of bytes. What is beyond is only counted, and what came `behind` the first bytes
    /// is forgotten.
    Count { behind: usize, most: usize },
    /// Each [`PART`] bytes are handed over, once it is known that more follow; what is left at the end is the last.
    Hand(&'a mut dyn FnMut(&[u8], Last) -> Done),
}

/// Whether nothing follows.
type Last = bool;

/// Bytes on their way.
pub(crate) struct Out<'a> {
    pub(crate) bytes: Vec<u8>,
    full: Full<'a>,
    /// Bytes that were counted and are not there.
    pub(crate) counted: u64,
}

impl<'a> Out<'a> {
    pub(crate) fn new(bytes: Vec<u8>, full: Full<'a>) -> Out<'a> {
        Out {
            bytes,
            full,
            counted: 0,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) -> Done {
        if self.bytes.len() < self.bytes.capacity() {
            self.bytes.push(byte);
            return Ok(());
        }
        self.extend_beyond(&[byte])
    }

    #[inline]
    pub(crate) fn extend(&mut self, more: &[u8]) -> Done {
        if more.len() > self.room() {
            return self.extend_beyond(more);
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    #[inline]
    fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Room for one byte at least. More bytes follow.
    #[cold]
    fn make_room(&mut self) -> Done {
        match &mut self.full {
            Full::Grow => self.bytes.reserve(1),
            Full::Count { most, .. } if self.bytes.len() < *most => {
                self.grow(1);
            }
            Full::Count { .. } => self.forget(0),
            Full::Hand(hand) => {
                // The allocator may have given more than one part's worth.
                let whole = self.bytes.len() / PART * PART;
                for part in self.bytes[..whole].chunks(PART) {
                    hand(part, false)?;
                }
                self.bytes.drain(..whole);
                self.bytes.reserve(PART - self.bytes.len());
            }
        }
        Ok(())
    }

    #[cold]
    fn extend_beyond(&mut self, mut more: &[u8]) -> Done {
        if self.grow(more.len()) {
            self.bytes.extend_from_slice(more);
            return Ok(());
        }
        if let Full::Count { .. } = self.full {
            self.forget(more.len());
            return Ok(());
        }
        loop {
            let (now, rest) = more.split_at(self.room().min(more.len()));
            self.bytes.extend_from_slice(now);
            more = rest;
            if more.is_empty() {
                return Ok(());
            }
            self.make_room()?;
            if let Full::Hand(hand) = &mut self.full
                && self.bytes.is_empty()
            {
                // From where they are: one copy less of what is long. The last part waits for what follows.
                while let Some((part, rest)) = more.split_at_checked(PART)
                    && !rest.is_empty()
                {
                    hand(part, false)?;
                    more = rest;
                }
            }
        }
    }

    /// Room for `more` bytes, if so many may be there.
    fn grow(&mut self, more: usize) -> bool {
        match self.full {
            Full::Grow => self.bytes.reserve(more),
            Full::Count { most, .. } => {
                let wanted = self.bytes.len().saturating_add(more);
                if wanted > most {
                    return false;
                }
                let room = wanted
                    .max(self.bytes.capacity().saturating_mul(2))
                    .min(most);
                self.bytes.reserve_exact(room - self.bytes.len());
            }
            Full::Hand(_) => return false,
        }
        true
    }

    /// Counts what is there and `more`, and has room again.
    fn forget(&mut self, more: usize) {
        if let Full::Count { behind, .. } = self.full {
            self.counted += (self.bytes.len() - behind) as u64 + more as u64;
            self.bytes.truncate(behind);
        }
    }

    /// Hands over what is left, be it nothing.
    pub(crate) fn finish(&mut self) -> Done {
        let Full::Hand(hand) = &mut self.full else {
            return Ok(());
        };
        let mut left = self.bytes.as_slice();
        while let Some((part, rest)) = left.split_at_checked(PART)
            && !rest.is_empty()
        {
            hand(part, false)?;
            left = rest;
        }
        hand(left, true)
    }

    /// Text that is made as it is written. Its length comes first and is known last. Where it fits, it is moved there; where
    /// it does not, it is made twice.
    pub(crate) fn text(&mut self, value: &dyn Display) -> Done {
        let at = self.bytes.len();
        let mut fitting = Fitting {
            out: self,
            beyond: 0,
        };
        write!(fitting, "{value}").map_err(<Failure as serde::ser::Error>::custom)?;
        let beyond = fitting.beyond;
        let len = (self.bytes.len() - at) as u64 + beyond;
        let (digits, count) = digits(len);
        if beyond == 0 && (self.room() >= count || self.grow(count)) {
            self.bytes.extend_from_slice(&digits[..count]);
            self.bytes[at..].rotate_right(count);
            return Ok(());
        }
        self.bytes.truncate(at);
        self.extend(&digits[..count])?;
        if matches!(self.full, Full::Count { .. }) {
            self.forget(0);
            self.counted += len;
            return Ok(());
        }
        let mut again = Again {
            out: self,
            len: 0,
            done: Ok(()),
        };
        let written = write!(again, "{value}");
        let Again {
            len: second, done, ..
        } = again;
        done?;
        if written.is_err() || second != len {
            return Err(Unencodable::Custom(format!(
                "a text had {len} bytes when it was measured, and {second} when it was written"
            ))
            .into());
        }
        Ok(())
    }
}

/// Text that is written as far as it fits, and else counted.
struct Fitting<'a, 'o> {
    out: &'a mut Out<'o>,
    beyond: u64,
}

impl Write for Fitting<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let out = &mut *self.out;
        if self.beyond == 0 && (text.len() <= out.room() || out.grow(text.len())) {
            out.bytes.extend_from_slice(text.as_bytes());
        } else {
            self.beyond += text.len() as u64;
        }
        Ok(())
    }
}

/// Text that is written and counted.
struct Again<'a, 'o> {
    out: &'a mut Out<'o>,
    len: u64,
    done: Done,
}

impl Write for Again<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.len += text.len() as u64;
        if self.done.is_ok() {
            self.done = self.out.extend(text.as_bytes());
        }
        if self.done.is_ok() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// A number as it stands in the bytes.
fn digits(mut value: u64) -> ([u8; 10], usize) {
    let mut digits = [0; 10];
    let mut count = 0;
    while value >= 0x80 {
        digits[count] = value as u8 | 0x80;
        value >>= 7;
        count += 1;
    }
    digits[count] = value as u8;
    (digits, count + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Serialize, Serializer};

    use super::*;
    use crate::Bytes;
    use crate::value::{encode_as, encode_into};

    /// Things of any length, beside each other.
    #[derive(Clone, Debug)]
    enum Piece {
        Small(u64),
        Bytes(usize),
        Elements(usize),
        Shown(usize),
    }

    impl Serialize for Piece {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match *self {
                Piece::Small(number) => serializer.serialize_u64(number),
                Piece::Bytes(len) => Bytes(vec![1; len]).serialize(serializer),
                Piece::Elements(len) => vec![300_u16; len].serialize(serializer),
                Piece::Shown(len) => serializer.collect_str(&format_args!("{:len$}|", "")),
            }
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let len = || prop_oneof![0..200_usize, 0..3 * PART, Just(PART), Just(PART - 3)];
        let piece = prop_oneof![
            any::<u64>().prop_map(Piece::Small),
            len().prop_map(Piece::Bytes),
            len().prop_map(Piece::Elements),
            len().prop_map(|len| Piece::Shown(len.min(60_000))),
        ];
        proptest::collection::vec(piece, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_handed_over_in_parts_is_what_is_written_in_one_piece(value in pieces()) {
            let mut whole = Vec::new();
            encode_into(&value, &mut whole).unwrap();

            let mut parts: Vec<(Vec<u8>, Last)> = Vec::new();
            let mut hand = |part: &[u8], last| {
                parts.push((part.to_vec(), last));
                Ok(())
            };
            // The allocator may give more than was asked for.
            let mut room = Vec::with_capacity(PART + whole.len() % 7);
            let counted = encode_as(&value, &mut room, Full::Hand(&mut hand)).unwrap();
            prop_assert_eq!(counted, 0);
            let (last, others) = parts.split_last().unwrap();
            prop_assert!(last.1 && last.0.len() <= PART);
            prop_assert!(others.iter().all(|(part, last)| part.len() == PART && !last));
            let joined: Vec<u8> = parts.iter().flat_map(|(part, _)| part.clone()).collect();
            prop_assert!(joined == whole);
        }

        #[test]
        fn what_is_counted_is_as_long_as_what_is_written(value in pieces(), most in 0..4 * PART) {
            let mut whole = Vec::new();
            encode_into(&value, &mut whole).unwrap();

            let mut home = vec![1, 2, 3];
            let full = Full::Count { behind: 3, most: 3 + most };
            let counted = encode_as(&value, &mut home, full).unwrap();
            prop_assert_eq!(counted + (home.len() as u64 - 3), whole.len() as u64);
            prop_assert_eq!(counted == 0, whole.len() <= most, "{} of {}", whole.len(), most);
            if counted == 0 {
                prop_assert!(home[3..] == whole[..]);
            }
            prop_assert!(home.capacity() <= 3 + most.max(16));
        }
    }
}
