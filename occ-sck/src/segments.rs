//! The bytes of a long message, in pieces: each is freed as soon as it has been read.
//!
//! A buffer that grows would be there twice while it moves, and once more beside the value that is read from it. A piece is
//! made when the one before it is full, as long as all that has come so far, so that a peer that announces much and
//! sends little costs little.

use std::collections::VecDeque;
use std::fmt;

use crate::assemble::TRUSTED;
use crate::frame::PART;

/// The longest piece. It is a little more than the longest that glibc would keep for itself when it is freed, to take smaller
/// ones from (`M_MMAP_THRESHOLD` in mallopt(3): it adapts, up to 32 MiB), and so is always given back to the system.
const LONGEST: usize = (33_usize << 20).next_multiple_of(PART);

/// The bytes of a message that is too long for one piece.
pub struct Segments {
    pieces: VecDeque<Vec<u8>>,
    len: u64,
}

impl Segments {
    /// None yet.
    pub(crate) fn new() -> Segments {
        Segments {
            pieces: VecDeque::new(),
            len: 0,
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a part of a message that will have `total` bytes.
    pub(crate) fn push(&mut self, part: &[u8], total: u64) {
        let full = |piece: &Vec<u8>| piece.capacity() - piece.len() < part.len();
        if self.pieces.back().is_none_or(full) {
            let left = total.saturating_sub(self.len);
            let most = self.len.clamp(TRUSTED, LONGEST as u64);
            // Whole parts, but for the last one; a part that is longer than was announced has its room too.
            let most = most / PART as u64 * PART as u64;
            let room = left.min(most).max(part.len() as u64) as usize;
            self.pieces.push_back(Vec::with_capacity(room));
        }
        if let Some(piece) = self.pieces.back_mut() {
            piece.extend_from_slice(part);
            self.len += part.len() as u64;
        }
    }

    #[cfg(test)]
    pub(crate) fn of(pieces: Vec<Vec<u8>>) -> Segments {
        Segments {
            len: pieces.iter().map(|piece| piece.len() as u64).sum(),
            pieces: pieces.into(),
        }
    }

    /// The pieces in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Vec::as_slice)
    }

    /// The pieces in order, to be freed one by one.
    pub(crate) fn into_pieces(self) -> VecDeque<Vec<u8>> {
        self.pieces
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments")
            .field("len", &self.len)
            .field("pieces", &self.pieces.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_as_long_as_what_came_before_it_and_no_longer_than_it_may_be() {
        let total = 200 << 20_u64;
        let mut segments = Segments::new();
        let part = vec![7; PART];
        while segments.len() < total {
            let left = (total - segments.len()).min(PART as u64) as usize;
            let before = (segments.len(), segments.pieces.len());
            segments.push(&part[..left], total);
            if segments.pieces.len() > before.1 {
                let room = segments.pieces[before.1].capacity() as u64;
                assert!(room <= before.0.max(TRUSTED), "{room} after {}", before.0);
                assert!(room <= LONGEST as u64);
            }
        }
        assert_eq!(segments.len(), total);
        // 1, 1, 2, 4, 8, 16 MiB, and then the longest.
        assert!(segments.pieces.len() < 15, "{}", segments.pieces.len());
        assert!(
            segments
                .pieces
                .iter()
                .all(|piece| piece.len() == piece.capacity())
        );
    }
}
