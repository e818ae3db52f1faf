//! A value made ready to be sent: encoded first, so that one that cannot be encoded costs the
//! connection nothing.

use std::fmt;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;

use crate::blob::Blob;
use crate::carried::Encoding;
use crate::deadline::Deadline;
use crate::envelope::{Body, Envelope};
use crate::error::{EncodeError, SendError};
use crate::frame::{FLAG_BLOB, HEADER, Header, MAX_NAME, PART, parts_of};
use crate::out::Full;
use crate::part::{Part, PartBytes, join};
use crate::socket::{MAX_FDS, Socket};
use crate::value::{TypeKey, encode_as, type_name_of};

/// A value, encoded and framed.
///
/// A packet can be used again for the next value, and then needs no new memory.
///
/// ```
/// use occ_sck::{Assembler, Deadline, MAX_DATAGRAM, PART, Packet, Received, Socket, kind};
///
/// let text = "x".repeat(PART);
/// let packet = Packet::of(kind::USER, &text)?;
/// assert_eq!(packet.parts(), 2); // the text, and three bytes that say how long it is
///
/// let (a, b) = Socket::pair()?;
/// let mut assembler = Assembler::default();
/// let mut buffer = vec![0; MAX_DATAGRAM];
/// let mut whole = None;
/// for part in 0..packet.parts() {
///     packet.send_part(part, &a, &[], Deadline::Now)?;
///
///     let mut fds = Vec::new();
///     let Received::Datagram { len, .. } = b.receive(&mut buffer, &mut fds, Deadline::Now)? else {
///         panic!("a part was sent");
///     };
///     assert!(whole.is_none());
///     whole = assembler.push(&buffer[..len], fds)?;
/// }
/// assert_eq!(whole.expect("all parts have come").decode::<String>()?, text);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Packet {
    /// Header, name and payload in one piece, so that a message of one part is one slice.
    frame: Vec<u8>,
    header: Header,
    /// Duplicates of the descriptors in the value.
    fds: Vec<OwnedFd>,
}

impl Packet {
    /// Bytes of a value that [`Packet::prepare`] keeps in memory.
    pub(crate) const SHORT: usize = 1 << 20;

    /// A packet without a value; [`Packet::fill`] fills it.
    pub fn new() -> Packet {
        // A frame from the start, so that nothing below has to ask whether there is one.
        Packet {
            frame: Header::empty().to_bytes().to_vec(),
            header: Header::empty(),
            fds: Vec::new(),
        }
    }

    /// `value` as a packet of this kind.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded.
    pub fn of<T: Serialize + 'static>(kind: u8, value: &T) -> Result<Packet, EncodeError> {
        let mut packet = Packet::new();
        packet.fill(kind, value)?;
        Ok(packet)
    }

    /// Bytes that are encoded already, under the type `key` with the given `name`.
    pub fn raw(kind: u8, key: TypeKey, name: &str, payload: &[u8]) -> Packet {
        let mut packet = Packet::new();
        packet.begin(kind, key, name);
        packet.frame.extend_from_slice(payload);
        packet.finish(0);
        packet
    }

    /// Puts `value` in place of what the packet held. Of descriptors in it ([`Fd`](crate::Fd)) the packet takes
    /// duplicates, which it keeps until it is filled again.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, has more descriptors than a message, or one of them could not be duplicated; the packet
    /// is then empty.
    pub fn fill<T: Serialize + 'static>(&mut self, kind: u8, value: &T) -> Result<(), EncodeError> {
        self.fill_up_to(kind, value, None)
    }

    /// Keeps a value of no more than `most` bytes, and of a longer one the length alone.
    pub(crate) fn fill_up_to<T: Serialize + 'static>(
        &mut self,
        kind: u8,
        value: &T,
        most: Option<usize>,
    ) -> Result<(), EncodeError> {
        self.begin(kind, TypeKey::of::<T>(), type_name_of::<T>());
        let behind = self.payload_at();
        let full = match most {
            None => Full::Grow,
            Some(most) => Full::Count {
                behind,
                most: behind + most,
            },
        };
        let scope = Encoding::duplicating();
        let encoded = encode_as(value, &mut self.frame, full);
        if let Ok(counted) = encoded
            && Encoding::found_none()
        {
            drop(scope);
            self.finish(counted);
            return Ok(());
        }
        let taken = scope.end().map_err(|error| EncodeError {
            type_name: type_name_of::<T>(),
            source: error.into(),
        });
        // What the encoder says of a descriptor that it was refused is in other words what was noted of it.
        match (encoded, taken) {
            (Ok(counted), Ok(fds)) => {
                self.fds = fds;
                self.finish(counted);
                Ok(())
            }
            (_, Err(error)) | (Err(error), _) => {
                self.frame.truncate(behind);
                self.finish(0);
                Err(error)
            }
        }
    }

    #[inline]
    fn begin(&mut self, kind: u8, key: TypeKey, name: &str) {
        if !self.fds.is_empty() {
            self.fds.clear();
        }
        // Mostly it is of the type of the one before, and then all that stands before the value is here. `finish` writes the
        // rest of the header.
        let Header { id, flags, .. } = self.header;
        if (self.header.kind, self.header.key, id, flags) == (kind, key, 0, 0)
            && self.name() == name.as_bytes()
        {
            self.frame.truncate(self.payload_at());
            (self.header.parts, self.header.total) = (1, 0);
            return;
        }
        self.begin_anew(kind, key, name);
    }

    fn begin_anew(&mut self, kind: u8, key: TypeKey, name: &str) {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        self.frame.clear();
        self.frame.resize(HEADER, 0);
        self.frame.extend_from_slice(name.as_bytes());
        self.header = Header {
            kind,
            key,
            name_len: name.len() as u16,
            ..Header::empty()
        };
        let bytes = self.header.to_bytes();
        self.frame[..HEADER].copy_from_slice(&bytes);
    }

    /// `counted` bytes of the value are not here.
    #[inline]
    fn finish(&mut self, counted: u64) {
        let total = self.payload().len() as u64 + counted;
        self.header.total = total;
        // 2^32 parts are 256 TiB: more than any address space that the payload could have been in.
        self.header.parts = parts_of(total) as u32;
        self.header.write_length(&mut self.frame);
    }

    /// Numbers the packet, so that a receiver can tell its parts from another's.
    pub fn set_id(&mut self, id: u32) {
        self.header.id = id;
        self.frame[4..8].copy_from_slice(&id.to_le_bytes());
    }

    /// Leaves of the key what another program knows, too: see [`TypeKey::by_name`].
    pub fn key_by_name(&mut self) {
        self.header.key = self.header.key.name_alone();
        self.frame[24..HEADER].copy_from_slice(&self.header.key.to_bytes());
    }

    /// How many datagrams it takes, at least one.
    pub fn parts(&self) -> u32 {
        self.header.parts
    }

    /// The type of the value in it.
    pub fn key(&self) -> TypeKey {
        self.header.key
    }

    /// The name of that type.
    pub fn type_name(&self) -> &str {
        std::str::from_utf8(self.name()).unwrap_or("?")
    }

    /// Bytes of the encoded value.
    pub fn len(&self) -> u64 {
        self.header.total
    }

    /// True when the encoded value has no bytes, as that of `()`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when the value is so long that only its length is here: see [`Packet::prepare`].
    pub fn is_long(&self) -> bool {
        self.len() > self.payload().len() as u64
    }

    /// The encoded value; nothing in a packet that was never filled, or is long.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload_at()..]
    }

    /// How many descriptors are in the value.
    pub fn fds(&self) -> usize {
        self.fds.len()
    }

    /// The descriptors in the value, for whoever sends its bytes otherwise.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// Closes the packet's descriptors. Whoever keeps a packet for the next value does so once this one is sent: nobody
    /// would see the end of a pipe or a connection that is still open here.
    #[inline]
    pub fn close_fds(&mut self) {
        if !self.fds.is_empty() {
            self.fds.clear();
        }
    }

    pub(crate) fn own_fds(&self) -> &[OwnedFd] {
        &self.fds
    }

    pub(crate) fn into_fds(self) -> Vec<OwnedFd> {
        self.fds
    }

    #[inline]
    pub(crate) fn name(&self) -> &[u8] {
        &self.frame[HEADER..self.payload_at()]
    }

    /// The header of part `part`.
    pub(crate) fn header_of(&self, part: u32) -> Header {
        Header {
            part,
            name_len: if part == 0 { self.header.name_len } else { 0 },
            ..self.header
        }
    }

    /// Part `part` of a packet that is not long.
    pub(crate) fn part(&self, part: u32) -> Part<'_> {
        let header = self.header_of(part);
        if part == 0 {
            let first = self.frame.len().min(self.payload_at() + PART);
            return Part {
                header,
                bytes: PartBytes::Frame(&self.frame[..first]),
                fds: &self.fds,
            };
        }
        let payload = self.payload();
        let from = part as usize * PART;
        let to = payload.len().min(from + PART);
        Part {
            header,
            bytes: PartBytes::Pieces {
                name: &[],
                payload: &payload[from..to],
            },
            fds: &[],
        }
    }

    #[inline]
    fn payload_at(&self) -> usize {
        HEADER + usize::from(self.header.name_len)
    }

    /// Sends part `part`, counted from 0. File descriptors travel with part 0: those in the value, and then `fds`.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`]. A part that was not sent can be sent again.
    ///
    /// # Panics
    ///
    /// If there is no such part, or the packet is long ([`Packet::is_long`]).
    pub fn send_part(
        &self,
        part: u32,
        socket: &Socket,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        assert!(
            part < self.header.parts,
            "part {part} of {}",
            self.header.parts
        );
        self.assert_here();
        self.part(part).send_with(socket, fds, deadline)
    }

    /// Tries to send a packet that is one datagram without descriptors, as most are, and does not wait. False when it is another, or
    /// was not sent: [`Packet::send_part`] tells why.
    #[inline]
    #[must_use]
    pub fn send_at_once(&self, socket: &Socket) -> bool {
        let is_plain = self.header.parts == 1 && self.fds.is_empty() && !self.is_long();
        is_plain && socket.try_send(&self.frame)
    }

    fn assert_here(&self) {
        assert!(
            !self.is_long(),
            "of a long value only the length is here: it is sent by `send_parts` or `send_value`"
        );
    }

    /// Sends this packet with `payload` in place of its own, which must be as long. It takes no memory and no lock, so that
    /// a signal handler can do it with a packet that was made before.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the packet has more than one part.
    pub fn send_in_place(
        &self,
        payload: &[u8],
        socket: &Socket,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        assert!(
            self.header.parts == 1 && payload.len() == self.payload().len(),
            "the length of a packet is in its header"
        );
        let head = &self.frame[..self.payload_at()];
        socket.send(&[IoSlice::new(head), IoSlice::new(payload)], &[], deadline)
    }

    /// Sends the whole packet as one datagram, or nothing of it: what is too long for one travels in a
    /// [`Blob`].
    ///
    /// # Errors
    ///
    /// As [`Socket::send`], and [`SendError::Blob`].
    ///
    /// # Panics
    ///
    /// If the packet is long ([`Packet::is_long`]).
    pub fn send_whole(
        &self,
        socket: &Socket,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        if self.header.parts == 1 {
            return self.send_part(0, socket, fds, deadline);
        }
        self.assert_here();
        // Before the file is written, which may be long.
        let given = 1 + self.fds.len() + fds.len();
        if given > MAX_FDS {
            return Err(SendError::TooManyFds { given });
        }
        let blob = Blob::new(self.payload()).map_err(SendError::Blob)?;
        self.send_blob(&blob, socket, fds, deadline)
    }

    /// Sends the message in one datagram, with `blob`, which holds its value: see [`Packet::blob`].
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    pub fn send_blob(
        &self,
        blob: &Blob,
        socket: &Socket,
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.with_blob(blob, fds, |parts, fds| socket.send(parts, fds, deadline))
    }

    /// The bytes of that datagram, in pieces, and all its descriptors.
    pub(crate) fn with_blob<T>(
        &self,
        blob: &Blob,
        fds: &[BorrowedFd<'_>],
        body: impl FnOnce(&[IoSlice<'_>], &[BorrowedFd<'_>]) -> T,
    ) -> T {
        let header = Header {
            flags: FLAG_BLOB,
            parts: 1,
            total: blob.len(),
            ..self.header
        };
        let mut all = join(&self.fds, fds);
        all.insert(0, blob.as_fd());
        body(
            &[IoSlice::new(&header.to_bytes()), IoSlice::new(self.name())],
            &all,
        )
    }

    /// The message that a receiver would make of it, without a way through the kernel. It has the descriptors that the
    /// packet had.
    ///
    /// # Panics
    ///
    /// If the packet is long ([`Packet::is_long`]): see [`Packet::into_envelope_of`].
    pub fn into_envelope(mut self) -> Envelope {
        self.assert_here();
        let at = usize::from(self.header.name_len);
        self.frame.drain(..HEADER);
        Envelope {
            kind: self.header.kind,
            key: self.header.key,
            long_name: String::new(),
            body: Body::Inline {
                bytes: self.frame,
                at,
            },
            fds: self.fds,
        }
    }

    /// Sends `blob` as the payload of a packet, without copying it.
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    pub fn forward_blob(
        kind: u8,
        key: TypeKey,
        name: &str,
        blob: &Blob,
        socket: &Socket,
        deadline: Deadline,
    ) -> Result<(), SendError> {
        Packet::raw(kind, key, name, &[]).send_blob(blob, socket, &[], deadline)
    }
}

impl Default for Packet {
    fn default() -> Packet {
        Packet::new()
    }
}

impl Header {
    fn empty() -> Header {
        Header {
            kind: 0,
            flags: 0,
            name_len: 0,
            id: 0,
            part: 0,
            parts: 1,
            total: 0,
            key: TypeKey::from_bytes([0; 16]),
        }
    }
}

/// Without the value, which is the affair of those whom it is for.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("header", &self.header)
            .field("fds", &self.fds)
            .finish_non_exhaustive()
    }
}
