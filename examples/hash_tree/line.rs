//! A line as sha256sum of GNU coreutils prints it.

use std::borrow::Cow;
use std::io::{self, Write};

use super::worker::Digest;

/// Writes the line of one file.
///
/// A name that would not fit on a line, or could be taken for one that was escaped, is escaped, and the line begins
/// with a backslash to say so.
pub(crate) fn write(out: &mut impl Write, digest: &Digest, path: &[u8]) -> io::Result<()> {
    let shown = shown(path);
    if matches!(shown, Cow::Owned(_)) {
        out.write_all(b"\\")?;
    }
    out.write_all(&hex(digest))?;
    out.write_all(b"  ")?;
    out.write_all(&shown)?;
    out.write_all(b"\n")
}

/// The path with backslash, newline and carriage return escaped; borrowed if there is none of them in it.
pub(crate) fn shown(path: &[u8]) -> Cow<'_, [u8]> {
    if !path
        .iter()
        .any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'))
    {
        return Cow::Borrowed(path);
    }
    let mut escaped = Vec::with_capacity(path.len() + 8);
    for &byte in path {
        match byte {
            b'\\' => escaped.extend(b"\\\\"),
            b'\n' => escaped.extend(b"\\n"),
            b'\r' => escaped.extend(b"\\r"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

fn hex(digest: &Digest) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}
