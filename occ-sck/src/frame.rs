//! The frame: a fixed header, the name of the type in the first part, the payload.
//!
//! ```text
//! offset bytes
//!      0     1  kind        what the payload is for; each layer owns a range of numbers
//!      1     1  flags       bit 0: the payload is in the memory file that comes first among the fds
//!                          bit 1: the message that has begun is no more; no payload, and never part 0
//!      2     2  name length 0 but in part 0
//!      4     4  message id
//!      8     4  part        counted from 0
//!     12     4  parts
//!     16     8  total       payload bytes of the whole message
//!     24    16  type key
//!     40        name, then payload
//! ```
//!
//! All numbers are little-endian. Every part but the last carries exactly [`PART`] bytes of payload.

use crate::error::FrameError;
use crate::value::TypeKey;

/// Bytes of the header.
pub const HEADER: usize = 40;

/// Most payload bytes in one part.
pub const PART: usize = 64 * 1024 + 64;

/// Longest name of a type that travels, in bytes; a longer one is cut.
pub const MAX_NAME: usize = 1024;

/// Most bytes in one datagram.
pub const MAX_DATAGRAM: usize = HEADER + MAX_NAME + PART;

/// Room for any datagram.
///
/// So much at once comes from the kernel as pages that nobody has touched; a shorter one the allocator would take from
/// the heap and fill with zeroes, all 17 pages of it, which costs a new process a third of its start.
pub fn room() -> Vec<u8> {
    vec![0; MAX_DATAGRAM.next_multiple_of(256 * 1024)]
}

/// The kinds of frame. What a user sends is always [`USER`](kind::USER); every other number belongs to a layer of the
/// system, so that no user message can look like control.
pub mod kind {
    /// A value from a user's `send`.
    pub const USER: u8 = 0;
    /// Numbers from here on to [`SYSTEM`] belong to what runs a function as a process.
    pub const SPAWN: u8 = 16;
    /// Numbers from here on belong to the coordinator.
    pub const SYSTEM: u8 = 64;
}

/// The payload is in a memory file.
pub(crate) const FLAG_BLOB: u8 = 1;

/// The sender could not encode the rest of a message that it has begun to send.
pub(crate) const FLAG_WITHDRAWN: u8 = 2;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is for: see [`kind`].
    pub kind: u8,
    /// Bit 0: the payload is in a memory file. Bit 1: the message is no more.
    pub flags: u8,
    /// Bytes of the type's name that follow the header.
    pub name_len: u16,
    /// The message that the part belongs to.
    pub id: u32,
    /// Which part it is, counted from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// Payload bytes of the whole message.
    pub total: u64,
    /// The type of the value.
    pub key: TypeKey,
}

/// How many parts a payload of `total` bytes takes; an empty one takes one.
pub(crate) fn parts_of(total: u64) -> u64 {
    total.div_ceil(PART as u64).max(1)
}

impl Header {
    /// The header as it stands in a frame.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind;
        bytes[1] = self.flags;
        bytes[2..4].copy_from_slice(&self.name_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.part.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.parts.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.total.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.key.to_bytes());
        bytes
    }

    /// Writes how long the message is into a frame that has the rest of the header.
    #[inline]
    pub(crate) fn write_length(&self, frame: &mut [u8]) {
        frame[12..16].copy_from_slice(&self.parts.to_le_bytes());
        frame[16..24].copy_from_slice(&self.total.to_le_bytes());
    }

    /// Reads a datagram: its header, the name and the payload.
    ///
    /// # Errors
    ///
    /// Any datagram whose lengths and numbers do not agree among themselves. A header that is returned
    /// describes exactly the payload returned with it.
    pub fn parse(datagram: &[u8]) -> Result<(Header, &str, &[u8]), FrameError> {
        let Some((head, rest)) = datagram.split_first_chunk::<HEADER>() else {
            return Err(FrameError::Short {
                len: datagram.len(),
                expected: HEADER,
            });
        };
        let header = Header::read(head);

        if !matches!(header.flags, 0 | FLAG_BLOB | FLAG_WITHDRAWN) {
            return Err(FrameError::Flags {
                flags: header.flags,
            });
        }
        let name_len = usize::from(header.name_len);
        if name_len > MAX_NAME || (header.part > 0 && name_len > 0) {
            return Err(FrameError::Name { len: name_len });
        }
        let Some((name, payload)) = rest.split_at_checked(name_len) else {
            return Err(FrameError::Short {
                len: datagram.len(),
                expected: HEADER + name_len,
            });
        };
        let name = std::str::from_utf8(name).map_err(|_| FrameError::Name { len: name_len })?;

        let expected = if header.in_blob() {
            (header.part == 0 && header.parts == 1).then_some(0)
        } else if header.withdraws() {
            (header.part > 0 && header.payload_len().is_some()).then_some(0)
        } else {
            header.payload_len()
        };
        if expected != Some(payload.len()) {
            return Err(FrameError::Parts {
                part: header.part,
                parts: header.parts,
                len: payload.len(),
                total: header.total,
            });
        }
        Ok((header, name, payload))
    }

    #[inline]
    fn read(head: &[u8; HEADER]) -> Header {
        Header {
            kind: head[0],
            flags: head[1],
            name_len: u16::from_le_bytes(field(head, 2)),
            id: u32::from_le_bytes(field(head, 4)),
            part: u32::from_le_bytes(field(head, 8)),
            parts: u32::from_le_bytes(field(head, 12)),
            total: u64::from_le_bytes(field(head, 16)),
            key: TypeKey::from_bytes(field(head, 24)),
        }
    }

    /// How many bytes the datagram has that `head` begins; `None` if that is none, or its payload is in a memory file. It is for
    /// who has received one without knowing that: where its descriptors were lost.
    pub fn datagram_len(head: &[u8]) -> Option<usize> {
        let (head, _) = head.split_first_chunk::<HEADER>()?;
        let header = Header::read(head);
        let payload = header.payload_len().filter(|_| header.flags == 0)?;
        Some(HEADER + usize::from(header.name_len) + payload)
    }

    /// Reads a datagram that is a whole message with its payload in it, as most are; `None` for any other, and for what is none.
    #[inline]
    pub fn parse_whole(datagram: &[u8]) -> Option<Header> {
        let (head, rest) = datagram.split_first_chunk::<HEADER>()?;
        // Flags, part and parts.
        let usual = (head[1], u64::from_le_bytes(field(head, 8))) == (0, 1 << 32);
        let name_len = u16::from_le_bytes(field(head, 2));
        let (name, payload) = rest.split_at_checked(name_len.into())?;
        let total = payload.len() as u64;
        let agrees = name.len() <= MAX_NAME
            && payload.len() <= PART
            && u64::from_le_bytes(field(head, 16)) == total;
        let is_text = || name.is_ascii() || std::str::from_utf8(name).is_ok();
        (usual && agrees && is_text()).then(|| Header {
            kind: head[0],
            flags: 0,
            name_len,
            id: u32::from_le_bytes(field(head, 4)),
            part: 0,
            parts: 1,
            total,
            key: TypeKey::from_bytes(field(head, 24)),
        })
    }

    /// True when the payload is in a memory file.
    pub(crate) fn in_blob(self) -> bool {
        self.flags & FLAG_BLOB != 0
    }

    /// True when the message that it belongs to is no more.
    pub(crate) fn withdraws(self) -> bool {
        self.flags & FLAG_WITHDRAWN != 0
    }

    /// Payload bytes that this part must carry; `None` when the numbers contradict each other.
    pub(crate) fn payload_len(self) -> Option<usize> {
        if u64::from(self.parts) != parts_of(self.total) || self.part >= self.parts {
            return None;
        }
        let before = u64::from(self.part) * PART as u64;
        usize::try_from((self.total - before).min(PART as u64)).ok()
    }
}

#[inline]
fn field<const N: usize>(head: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bytes, Deadline, Packet, Received, Socket};

    #[test]
    fn the_length_of_a_datagram_is_read_from_its_beginning() {
        let (ours, theirs) = Socket::pair().unwrap();
        for len in [0, 1, 1000, PART - 3, PART, 3 * PART] {
            let packet = Packet::of(kind::USER, &Bytes(vec![7; len])).unwrap();
            for part in 0..packet.parts() {
                packet.send_part(part, &ours, &[], Deadline::Now).unwrap();
                // What is behind it is of another.
                let mut buffer = vec![0xff; MAX_DATAGRAM];
                let received = theirs.receive(&mut buffer, &mut Vec::new(), Deadline::Now);
                let Ok(Received::Datagram { len, .. }) = received else {
                    panic!("{received:?}")
                };
                assert_eq!(Header::datagram_len(&buffer), Some(len));
            }
        }
        assert_eq!(Header::datagram_len(&[0xff; MAX_DATAGRAM]), None);
        assert_eq!(Header::datagram_len(&[0; HEADER - 1]), None);
    }
}
