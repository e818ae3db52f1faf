//! Messages that say who sent them and which they are, with bytes of which each counts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// A message.
#[derive(Serialize, Deserialize)]
pub(crate) struct Piece {
    /// What the sender is called by those who planned it.
    pub(crate) sender: u64,
    /// Which of its messages to this receiver it is, from 0.
    pub(crate) number: u64,
    body: Bytes,
}

/// The length of the pattern that bodies are cut from. A prime, and less than a part of a long message: two parts never
/// begin at the same place of it.
const PERIOD: usize = 65_521;

static PATTERN: [u8; PERIOD] = pattern();

/// Bytes without order: the top ones of a linear congruential generator.
const fn pattern() -> [u8; PERIOD] {
    let mut bytes = [0; PERIOD];
    let (mut state, mut at) = (1_u64, 0);
    while at < PERIOD {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes[at] = (state >> 56) as u8;
        at += 1;
    }
    bytes
}

impl Piece {
    pub(crate) fn new(sender: u64, number: u64, size: usize) -> Piece {
        let rest = &PATTERN[begin(sender, number)..];
        let body = match rest.get(..size) {
            Some(body) => Cow::Borrowed(body),
            None => {
                let mut body = Vec::with_capacity(size);
                body.extend_from_slice(rest);
                while body.len() < size {
                    body.extend_from_slice(&PATTERN[..PERIOD.min(size - body.len())]);
                }
                Cow::Owned(body)
            }
        };
        Piece {
            sender,
            number,
            body: Bytes(body),
        }
    }

    /// Whether it is what `new` made of the same, byte for byte.
    pub(crate) fn is_whole(&self, size: usize) -> bool {
        let body = &self.body.0[..];
        if body.len() != size {
            return false;
        }
        let rest = &PATTERN[begin(self.sender, self.number)..];
        let (first, others) = body.split_at(body.len().min(rest.len()));
        let is_pattern = |bytes: &[u8]| *bytes == PATTERN[..bytes.len()];
        *first == rest[..first.len()] && others.chunks(PERIOD).all(is_pattern)
    }

    pub(crate) fn len(&self) -> usize {
        self.body.0.len()
    }
}

/// Where the body of a message begins in the pattern.
fn begin(sender: u64, number: u64) -> usize {
    let mixed = (sender.rotate_left(32) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_a_body_counts() {
        for size in [0, 1, 300, PERIOD, 3 * PERIOD + 5] {
            let piece = Piece::new(3, 4, size);
            assert!(piece.is_whole(size) && piece.len() == size);
            assert!(!piece.is_whole(size + 1));
            for at in [0, size / 2, size.saturating_sub(1)] {
                let mut piece = Piece::new(3, 4, size);
                if let Some(byte) = piece.body.0.to_mut().get_mut(at) {
                    *byte ^= 1;
                    assert!(!piece.is_whole(size), "byte {at} of {size}");
                }
            }
        }
    }

    #[test]
    fn a_body_belongs_to_its_sender_and_its_number() {
        for (sender, number) in [(3, 5), (4, 4), (4, 3)] {
            let mut piece = Piece::new(3, 4, 300);
            (piece.sender, piece.number) = (sender, number);
            assert!(!piece.is_whole(300), "{sender}, {number}");
        }
    }

    /// As they would lie if two parts of a long message were exchanged, or one came twice.
    #[test]
    fn parts_of_a_body_differ() {
        const PART: usize = 64 * 1024 + 64;
        let piece = Piece::new(1, 2, 4 * PART);
        let parts: Vec<&[u8]> = piece.body.0.chunks(PART).collect();
        for (at, part) in parts.iter().enumerate() {
            assert!(parts[..at].iter().all(|before| before != part));
        }
    }
}
