//! The last that a process wrote to a pipe.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that are kept of what a process writes to standard error.
const MOST: usize = 4096;

/// The last that a process wrote to standard error.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    bytes: Vec<u8>,
    lost: u64,
}

impl Tail {
    /// Takes what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(MOST);
        self.bytes.drain(..over);
        self.lost += over as u64;
    }

    /// The last bytes, 4 KiB at the most.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes came before them.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The last lines. Where some came before, the first of what is left is whole as well.
    pub fn lines(&self) -> Vec<Cow<'_, str>> {
        let mut bytes = self.bytes.as_slice();
        if self.lost > 0
            && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
        {
            bytes = &bytes[end + 1..];
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Vec::new();
        }
        let lines = bytes.split(|byte| *byte == b'\n');
        lines.map(String::from_utf8_lossy).collect()
    }
}

/// As text, which most of it is.
impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail")
            .field("text", &String::from_utf8_lossy(&self.bytes))
            .field("lost", &self.lost)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whole() {
        let mut tail = Tail::default();
        assert!(tail.lines().is_empty());
        tail.push(b"a\nb");
        tail.push(b"c\n");
        assert_eq!(
            (tail.lines(), tail.lost()),
            (vec!["a".into(), "bc".into()], 0)
        );
        for number in 0..10_000 {
            tail.push(format!("line {number}\n").as_bytes());
        }
        let lines = tail.lines();
        assert_eq!(lines.last().unwrap(), "line 9999");
        assert!(lines.iter().all(|line| line.len() == 9), "{lines:?}");
        assert_eq!(lines.len(), 409);
        let all: u64 = (0..10_000)
            .map(|n| format!("line {n}\n").len() as u64)
            .sum();
        assert_eq!(tail.lost(), all + 5 - 4096);
        assert_eq!(tail.bytes().len(), 4096);
    }

    #[test]
    fn it_is_printed_as_text() {
        let mut tail = Tail::default();
        tail.push(b"\"x\" not found\n");
        let printed = format!("{tail:?}");
        assert_eq!(printed, r#"Tail { text: "\"x\" not found\n", lost: 0 }"#);
    }

    #[test]
    fn one_long_line_is_its_end() {
        let mut tail = Tail::default();
        tail.push(&[b'x'; 5000]);
        assert_eq!(tail.lines(), ["x".repeat(4096)]);
    }
}
