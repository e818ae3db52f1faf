//! Datagrams, with what comes with them; and how they are written down.
//!
//! A file of the corpus is text: one line a datagram, `#` begins a comment. The words of a line are bytes in hex, as many in a word as
//! one likes, `aa*65536` for so many of the same, and `@name` for what differs from build to build or from system to system: the key of a
//! type, or a name of a process. `+null`, `+sealed 5`, `+unsealed 5` are descriptors that come with it: of /dev/null, and of memory files
//! of so many bytes. Two first words stand for a header:
//!
//! ```text
//! frame KIND @type : …                 one part, with the name of the type
//! part KIND ID PART PARTS TOTAL @type : …  one of several, without a name; all numbers are decimal
//! ```
//!
//! On a byte stream a datagram is what one call sends, whatever it has of a frame. `stream` before all other words of a line is the head
//! of a frame in a stream, of what comes behind it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::fd::OwnedFd;

use anyhow::{Context, bail, ensure};
use occ_sck::{HEADER, Header, STREAM_HEAD, TypeKey};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use super::types;

/// A descriptor that comes with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gift {
    /// Of a device.
    Null,
    /// Of a memory file of this length that nobody can change any more.
    Sealed(u64),
    /// Of one that somebody can.
    Unsealed(u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    pub(crate) gifts: Vec<Gift>,
}

impl Datagram {
    /// With a head, as it is sent on a byte stream.
    pub(crate) fn on_stream(&self) -> Datagram {
        let (len, fds) = (self.bytes.len() as u32, self.gifts.len() as u16);
        let head = [&len.to_le_bytes()[..], &fds.to_le_bytes()].concat();
        Datagram {
            bytes: [&head[..], &self.bytes].concat(),
            gifts: self.gifts.clone(),
        }
    }
}

/// The same of all of them.
pub(crate) fn on_stream(traffic: &[Datagram]) -> Traffic {
    traffic.iter().map(Datagram::on_stream).collect()
}

/// What is sent on one connection.
pub(crate) type Traffic = Vec<Datagram>;

/// What stands for a word that begins with `@` and is no type.
pub(crate) type Symbols = BTreeMap<&'static str, Vec<u8>>;

impl Gift {
    pub(crate) fn open(self) -> rustix::io::Result<OwnedFd> {
        let memory = |len| {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let file = rustix::fs::memfd_create(c"gift", flags)?;
            rustix::fs::ftruncate(&file, len)?;
            Ok(file)
        };
        match self {
            Gift::Null => rustix::fs::open(
                c"/dev/null",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            ),
            Gift::Unsealed(len) => memory(len),
            Gift::Sealed(len) => {
                let file = memory(len)?;
                let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW;
                rustix::fs::fcntl_add_seals(&file, seals)?;
                Ok(file)
            }
        }
    }
}

/// Reads the text of a file.
pub(crate) fn parse(text: &str, symbols: &Symbols) -> anyhow::Result<Traffic> {
    let mut traffic = Traffic::new();
    for (at, line) in text.lines().enumerate() {
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect();
        if !words.is_empty() {
            let datagram = datagram(&words, symbols);
            traffic.push(datagram.with_context(|| format!("line {}: {line}", at + 1))?);
        }
    }
    Ok(traffic)
}

fn datagram(words: &[&str], symbols: &Symbols) -> anyhow::Result<Datagram> {
    let mut datagram = Datagram::default();
    let (first, rest) = words.split_first().context("no word")?;
    match *first {
        "frame" => {
            let [kind, of, ":", payload @ ..] = rest else {
                bail!("`frame KIND @type : …` was expected");
            };
            let of = of.strip_prefix('@').and_then(types::named);
            let of = of.context("a type was expected")?;
            let payload = body(payload, symbols, &mut datagram.gifts)?;
            let header = Header {
                kind: kind.parse()?,
                name_len: of.type_name.len() as u16,
                parts: 1,
                total: payload.len() as u64,
                key: of.key,
                ..empty()
            };
            datagram.bytes.extend_from_slice(&header.to_bytes());
            datagram.bytes.extend_from_slice(of.type_name.as_bytes());
            datagram.bytes.extend_from_slice(&payload);
        }
        "part" => {
            let [kind, id, part, parts, total, of, ":", payload @ ..] = rest else {
                bail!("`part KIND ID PART PARTS TOTAL @type : …` was expected");
            };
            let of = of.strip_prefix('@').and_then(types::named);
            let header = Header {
                kind: kind.parse()?,
                id: id.parse()?,
                part: part.parse()?,
                parts: parts.parse()?,
                total: total.parse()?,
                key: of.context("a type was expected")?.key,
                ..empty()
            };
            datagram.bytes.extend_from_slice(&header.to_bytes());
            let payload = body(payload, symbols, &mut datagram.gifts)?;
            datagram.bytes.extend_from_slice(&payload);
        }
        "stream" if !rest.is_empty() => return Ok(self::datagram(rest, symbols)?.on_stream()),
        _ => datagram.bytes = body(words, symbols, &mut datagram.gifts)?,
    }
    Ok(datagram)
}

/// A header that says nothing yet.
fn empty() -> Header {
    Header {
        kind: 0,
        flags: 0,
        name_len: 0,
        id: 0,
        part: 0,
        parts: 0,
        total: 0,
        key: TypeKey::from_bytes([0; 16]),
    }
}

fn body(words: &[&str], symbols: &Symbols, gifts: &mut Vec<Gift>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut length =
            || -> anyhow::Result<u64> { Ok(words.next().context("a length")?.parse()?) };
        if let Some(name) = word.strip_prefix('@') {
            match (types::named(name), symbols.get(name)) {
                (Some(of), _) => bytes.extend_from_slice(&of.key.to_bytes()),
                (None, Some(symbol)) => bytes.extend_from_slice(symbol),
                (None, None) => bail!("nothing is called `{name}`"),
            }
        } else if let Some(gift) = word.strip_prefix('+') {
            gifts.push(match gift {
                "null" => Gift::Null,
                "sealed" => Gift::Sealed(length()?),
                "unsealed" => Gift::Unsealed(length()?),
                _ => bail!("no descriptor is called `{gift}`"),
            });
        } else if let Some((byte, count)) = word.split_once('*') {
            let byte = hex(byte)?;
            ensure!(byte.len() == 1, "one byte was expected, and not `{word}`");
            bytes.resize(bytes.len() + count.parse::<usize>()?, byte[0]);
        } else {
            bytes.extend(hex(word)?);
        }
    }
    Ok(bytes)
}

fn hex(word: &str) -> anyhow::Result<Vec<u8>> {
    ensure!(word.len().is_multiple_of(2), "half a byte in `{word}`");
    let digits = word.as_bytes().chunks(2).map(std::str::from_utf8);
    digits
        .map(|digits| u8::from_str_radix(digits?, 16).with_context(|| word.to_owned()))
        .collect()
}

/// The text of which `parse` makes the same.
pub(crate) fn print(traffic: &[Datagram]) -> String {
    let mut text = String::new();
    for Datagram { bytes, gifts } in traffic {
        // Of a frame, or of one in a stream.
        let key = [HEADER, STREAM_HEAD + HEADER].into_iter().find_map(|end| {
            let key = bytes.get(end - 16..end)?;
            Some((end, types::of_key(key)?))
        });
        match key {
            Some((end, of)) => {
                print_bytes(&mut text, &bytes[..end - 16]);
                let _ = write!(text, " @{} ", of.name);
                print_bytes(&mut text, &bytes[end..]);
            }
            None => print_bytes(&mut text, bytes),
        }
        for gift in gifts {
            let _ = match gift {
                Gift::Null => write!(text, " +null"),
                Gift::Sealed(len) => write!(text, " +sealed {len}"),
                Gift::Unsealed(len) => write!(text, " +unsealed {len}"),
            };
        }
        if bytes.is_empty() && gifts.is_empty() {
            // A line without a word is no datagram.
            text.push_str("00*0");
        }
        text.push('\n');
    }
    text
}

fn print_bytes(text: &mut String, bytes: &[u8]) {
    /// From so many on, bytes that are the same are counted.
    const RUN: usize = 9;
    let mut at = 0;
    while at < bytes.len() {
        let run = bytes[at..].iter().take_while(|byte| **byte == bytes[at]);
        let run = run.count();
        if run >= RUN {
            let _ = write!(text, " {:02x}*{run} ", bytes[at]);
            at += run;
        } else {
            let _ = write!(text, "{:02x}", bytes[at]);
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_back() {
        let key = types::named("string").unwrap().key;
        let header = Header { key, ..empty() };
        let traffic = vec![
            Datagram {
                bytes: [&header.to_bytes()[..], &[7; 300], &[1, 2, 3]].concat(),
                gifts: vec![Gift::Null, Gift::Sealed(5), Gift::Unsealed(6)],
            },
            Datagram::default(),
            Datagram {
                bytes: (0..=255).collect(),
                gifts: vec![],
            },
        ];
        for traffic in [on_stream(&traffic), traffic] {
            let text = print(&traffic);
            assert!(
                text.contains("@string") && text.contains("07*300"),
                "{text}"
            );
            assert_eq!(parse(&text, &Symbols::new()).unwrap(), traffic, "{text}");
        }
    }

    #[test]
    fn headers_have_words() {
        let symbols = Symbols::from([("me", vec![1, 2])]);
        let traffic = parse(
            "frame 3 @u64 : @me # twice\n\npart 0 7 1 2 70000 @bytes : 05*4400",
            &symbols,
        );
        let traffic = traffic.unwrap();
        let (header, name, payload) = Header::parse(&traffic[0].bytes).unwrap();
        assert_eq!(
            (header.kind, header.total, name, payload),
            (3, 2, "u64", &[1, 2][..])
        );
        let (header, _, payload) = Header::parse(&traffic[1].bytes).unwrap();
        assert_eq!(
            (header.id, header.part, header.parts, payload.len()),
            (7, 1, 2, 4_400)
        );
    }

    #[test]
    fn in_a_stream_there_is_a_head_before_the_header() {
        let traffic = parse("stream frame 0 @u64 : 05 +null +null", &Symbols::new()).unwrap();
        let (head, datagram) = traffic[0].bytes.split_at(STREAM_HEAD);
        assert_eq!(head, [datagram.len() as u8, 0, 0, 0, 2, 0]);
        assert_eq!(Header::parse(datagram).unwrap().2, [5]);
        assert_eq!(traffic[0].gifts, [Gift::Null; 2]);
    }

    #[test]
    fn what_is_no_word_is_told() {
        for (line, told) in [
            ("0", "half a byte"),
            ("xx", "xx"),
            ("@nobody", "nobody"),
            ("+pipe", "pipe"),
            ("+sealed", "a length"),
            ("0102*3", "one byte"),
            ("frame 1 u64 : 00", "a type"),
            ("part 1 2 : 00", "`part KIND"),
            ("stream", "stream"),
            ("stream frame 1 u64 : 00", "a type"),
        ] {
            let error = parse(line, &Symbols::new()).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{line}: {error:#}");
        }
    }
}
