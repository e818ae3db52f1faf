//! Datagrams back into messages: a pure state machine, one for each connection.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::blob::Blob;
use crate::envelope::{Body, Envelope};
use crate::error::{BlobError, FrameError};
use crate::frame::{Header, PART};
use crate::segments::Segments;

/// Memory that is set aside on the word of a header alone; what is beyond grows with what arrives.
pub(crate) const TRUSTED: u64 = 1 << 20;

/// What is longer is collected in [`Segments`], and decoded as it is freed. What is shorter stands in one piece, which is
/// there beside the value while it is decoded, and types that borrow from it while they are read can do so.
pub(crate) const ONE_PIECE: u64 = 16 << 20;

/// What a receiver accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most payload bytes in one message.
    pub message: u64,
}

impl Default for Limits {
    /// 4 GiB a message.
    fn default() -> Limits {
        Limits { message: 4 << 30 }
    }
}

/// Puts the parts of a connection's messages together.
///
/// After an error the connection has no known state: close it.
#[derive(Default)]
pub struct Assembler {
    limits: Limits,
    partial: Option<Partial>,
    /// Memory for the next message.
    lent: Vec<u8>,
}

struct Partial {
    first: Header,
    next: u32,
    payload: Payload,
    fds: Vec<OwnedFd>,
}

/// What has come so far.
enum Payload {
    /// Behind the name.
    OnePiece(Vec<u8>),
    Segments {
        name: String,
        segments: Segments,
    },
}

impl Assembler {
    /// An assembler with limits of its own.
    pub fn new(limits: Limits) -> Assembler {
        Assembler {
            limits,
            partial: None,
            lent: Vec::new(),
        }
    }

    /// Gives memory that the next message of several parts is put together in, if it is one piece. That of a message that has been
    /// decoded is good for the next: new memory of that length comes from the kernel page by page, each of which costs
    /// as much as a datagram.
    pub fn lend(&mut self, memory: Vec<u8>) {
        self.lent = memory;
    }

    /// True when a message has begun and not ended: the peer died in the middle of it, if it has died.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Drops what has begun, once the peer has gone and cannot end it.
    pub(crate) fn clear(&mut self) {
        self.partial = None;
    }

    /// Takes one datagram and what came with it; gives the message that it completes.
    ///
    /// # Errors
    ///
    /// A datagram that is no frame, is over the limit, or belongs to another message than the one that
    /// is being put together. Its descriptors are closed, and the connection should be.
    pub fn push(
        &mut self,
        datagram: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<Option<Envelope>, FrameError> {
        // Taken first, so that an error drops it: nothing that follows could complete it.
        let partial = self.partial.take();
        let (header, name, payload) = Header::parse(datagram)?;
        if header.total > self.limits.message {
            return Err(FrameError::OverLimit {
                total: header.total,
                limit: self.limits.message,
            });
        }
        if header.part > 0 && !fds.is_empty() {
            return Err(FrameError::FdsMisplaced {
                count: fds.len(),
                part: header.part,
            });
        }
        match partial {
            None if header.part == 0 => self.begin(header, name, payload, fds),
            // What had come of it is dropped with it, and the next message can begin.
            Some(partial) if partial.continued_by(&header) && header.withdraws() => Ok(None),
            Some(partial) if partial.continued_by(&header) => self.go_on(partial, payload),
            other => Err(FrameError::OutOfOrder {
                of: other.as_ref().map_or(header.id, |partial| partial.first.id),
                expected: other.as_ref().map_or(0, |partial| partial.next),
                id: header.id,
                part: header.part,
            }),
        }
    }

    fn begin(
        &mut self,
        header: Header,
        name: &str,
        payload: &[u8],
        mut fds: Vec<OwnedFd>,
    ) -> Result<Option<Envelope>, FrameError> {
        if header.in_blob() {
            if fds.is_empty() {
                return Err(FrameError::BlobMissing);
            }
            let blob = Blob::from_fd(fds.remove(0), header.total).map_err(|error| match error {
                BlobError::Length { expected, found } => FrameError::BlobLength { expected, found },
                _ => FrameError::BlobUnsealed,
            })?;
            return Ok(Some(Envelope {
                kind: header.kind,
                key: header.key,
                long_name: name.to_owned(),
                body: Body::Blob(blob),
                fds,
            }));
        }

        let partial = Partial {
            first: header,
            next: 1,
            payload: Payload::begin(name, payload, &header, &mut self.lent),
            fds,
        };
        if header.parts == 1 {
            return Ok(Some(partial.finish()));
        }
        self.partial = Some(partial);
        Ok(None)
    }

    fn go_on(
        &mut self,
        mut partial: Partial,
        payload: &[u8],
    ) -> Result<Option<Envelope>, FrameError> {
        partial.payload.push(payload, &partial.first);
        partial.next += 1;
        if partial.next == partial.first.parts {
            return Ok(Some(partial.finish()));
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

impl Partial {
    fn continued_by(&self, header: &Header) -> bool {
        let Header {
            kind,
            id,
            parts,
            total,
            key,
            ..
        } = self.first;
        debug_assert_eq!(
            self.payload.len(&self.first),
            u64::from(self.next) * PART as u64
        );
        header.part == self.next
            && (
                header.kind,
                header.id,
                header.parts,
                header.total,
                header.key,
            ) == (kind, id, parts, total, key)
    }

    fn finish(self) -> Envelope {
        let (long_name, body) = match self.payload {
            Payload::OnePiece(bytes) => {
                let at = usize::from(self.first.name_len);
                (String::new(), Body::Inline { bytes, at })
            }
            Payload::Segments { name, segments } => (name, Body::Segments(segments)),
        };
        Envelope {
            kind: self.first.kind,
            key: self.first.key,
            long_name,
            body,
            fds: self.fds,
        }
    }
}

impl Payload {
    fn begin(name: &str, payload: &[u8], header: &Header, lent: &mut Vec<u8>) -> Payload {
        let total = header.total;
        if total > ONE_PIECE {
            let mut segments = Segments::new();
            segments.push(payload, total);
            let name = name.to_owned();
            return Payload::Segments { name, segments };
        }
        let room = total.min(TRUSTED) as usize;
        let mut bytes = if header.parts > 1 {
            std::mem::take(lent)
        } else {
            Vec::new()
        };
        bytes.clear();
        bytes.reserve_exact(name.len() + room.max(payload.len()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(payload);
        Payload::OnePiece(bytes)
    }

    fn push(&mut self, part: &[u8], first: &Header) {
        match self {
            Payload::Segments { segments, .. } => segments.push(part, first.total),
            Payload::OnePiece(bytes) => {
                if bytes.capacity() - bytes.len() < part.len() {
                    // What was taken on the header's word has come: now the rest, once.
                    let whole = usize::from(first.name_len) + first.total as usize;
                    bytes.reserve_exact(whole - bytes.len());
                }
                bytes.extend_from_slice(part);
            }
        }
    }

    /// Bytes of the value.
    fn len(&self, first: &Header) -> u64 {
        match self {
            Payload::OnePiece(bytes) => (bytes.len() - usize::from(first.name_len)) as u64,
            Payload::Segments { segments, .. } => segments.len(),
        }
    }
}

/// Without what has come.
impl fmt::Debug for Assembler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembler")
            .field("limits", &self.limits)
            .field(
                "partial",
                &self.partial.as_ref().map(|partial| &partial.first),
            )
            .finish_non_exhaustive()
    }
}
