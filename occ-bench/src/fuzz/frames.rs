//! The decoders of frames and values: every datagram is parsed, all are put together, and what comes out is decoded as everything.

use occ_sck::{Assembler, Envelope, HEADER, Header, Limits, MAX_NAME, PART, Packet};
use occasional::OsPid;

use super::traffic::Traffic;
use super::types;
use crate::machine::open_fds;
use crate::sys::watch_memory;

/// What a receiver accepts here.
pub(crate) const LIMIT: u64 = 1 << 20;

/// Most memory that a message may take, whatever a header says: what is set aside on its word, and what has come.
pub(crate) const OF_A_MESSAGE: usize = LIMIT as usize + PART + 2 * MAX_NAME + 1024;

/// Most memory that a value may take beyond a multiple of its bytes: what serde sets aside on the word of a length, once within
/// another, and a table rounds it up.
const ON_ITS_WORD: usize = 5 << 20;

/// The largest of what an element takes that has one byte when it is encoded; and a vector that grows has twice that.
const OF_A_BYTE: usize = 256;

/// The way in which it was taken or refused, or what is wrong.
pub(crate) fn examine(traffic: &Traffic) -> Result<String, String> {
    let fds = || open_fds(OsPid::own()).map_err(|error| format!("{error:#}"));
    let before = fds()?;
    let way = decode_and_assemble(traffic)?;
    let left = fds()?.saturating_sub(before);
    if left > 0 {
        return Err(format!("{left} descriptors are left"));
    }
    Ok(way)
}

fn decode_and_assemble(traffic: &Traffic) -> Result<String, String> {
    for datagram in traffic {
        parse(&datagram.bytes)?;
        decode_all(&datagram.bytes)?;
    }
    let mut ways = Vec::new();
    for limits in [Limits { message: LIMIT }, Limits::default()] {
        let (way, taken) = watch_memory(|| assemble(traffic, limits));
        ways.push(way?);
        // The traffic as a whole is shorter than what is set aside for its first part.
        if taken.at_once > 2 * OF_A_MESSAGE + ON_ITS_WORD {
            return Err(format!("messages take {taken:?}"));
        }
    }
    Ok(ways.join(" / "))
}

/// What is parsed describes exactly the datagram.
fn parse(datagram: &[u8]) -> Result<(), String> {
    let (parsed, taken) = watch_memory(|| Header::parse(datagram));
    if taken.at_once > 0 {
        return Err(format!("a header takes {taken:?}"));
    }
    let Ok((header, name, payload)) = parsed else {
        return Ok(());
    };
    let lengths = HEADER + name.len() + payload.len() == datagram.len();
    if !lengths || header.to_bytes() != datagram[..HEADER] {
        return Err(format!("a header is read as {header:?}"));
    }
    Ok(())
}

/// A value of every type, from the bytes as they are and from what stands behind a header.
fn decode_all(datagram: &[u8]) -> Result<(), String> {
    let payload = datagram.get(HEADER..).unwrap_or_default();
    for of in types::ALL.iter() {
        for bytes in [datagram, payload] {
            let (_, taken) = watch_memory(|| (of.decode)(bytes).is_ok());
            if taken.at_once > ON_ITS_WORD + OF_A_BYTE * bytes.len() {
                return Err(format!(
                    "a {} of {} bytes takes {taken:?}",
                    of.name,
                    bytes.len()
                ));
            }
        }
    }
    Ok(())
}

fn assemble(traffic: &Traffic, limits: Limits) -> Result<String, String> {
    let mut assembler = Assembler::new(limits);
    let mut way = String::new();
    for datagram in traffic {
        let fds: Result<Vec<_>, _> = datagram.gifts.iter().map(|gift| gift.open()).collect();
        let fds = fds.map_err(|error| format!("no descriptor to send: {error}"))?;
        let (pushed, taken) = watch_memory(|| assembler.push(&datagram.bytes, fds));
        if taken.at_once > OF_A_MESSAGE {
            return Err(format!("a part takes {taken:?}"));
        }
        match pushed {
            Ok(None) => way.push_str("part "),
            Ok(Some(envelope)) => way.push_str(&check(envelope, limits)?),
            Err(error) => {
                // Its words without its numbers.
                let kind = format!("{error:?}");
                way.push_str(kind.split(' ').next().unwrap_or_default());
                break;
            }
        }
    }
    Ok(way)
}

/// A message that has come out: decoded as everything, and sent on.
pub(crate) fn check(envelope: Envelope, limits: Limits) -> Result<String, String> {
    if envelope.len() > limits.message {
        return Err(format!("a message of {} bytes", envelope.len()));
    }
    for of in types::ALL.iter() {
        let is_this = [of.key, of.by_name].contains(&envelope.key);
        match (of.decode_from)(&envelope) {
            // What can be read at a look can be had, and then nothing is left of it.
            Ok(()) if is_this => {
                return match (of.make_of)(envelope) {
                    Ok(()) => Ok(format!("{} ", of.name)),
                    Err(error) => Err(format!("{} at a look, and not to be had: {error}", of.name)),
                };
            }
            Ok(()) => return Err(format!("another type was decoded as {}", of.name)),
            Err(_) => {}
        }
    }
    let Ok(bytes) = envelope.bytes() else {
        return Ok("unreadable ".to_owned());
    };
    let again = Packet::raw(envelope.kind, envelope.key, envelope.type_name(), &bytes);
    if again.payload() != &bytes[..] || again.type_name() != envelope.type_name() {
        return Err("sent on, it is another".to_owned());
    }
    Ok("undecodable ".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::traffic::{Symbols, parse as read};

    #[test]
    fn the_way_says_what_came_of_it() {
        for (text, expected) in [
            ("frame 0 @string : 0568656c6c6f", "string  / string "),
            ("frame 0 @string : 05ff", "undecodable  / undecodable "),
            ("00", "Short / Short"),
            ("part 0 1 1 2 65601 @unit : 00", "OutOfOrder / OutOfOrder"),
        ] {
            let traffic = read(text, &Symbols::new()).unwrap();
            assert_eq!(examine(&traffic).unwrap(), expected, "{text}");
        }
    }

    /// Whoever believes a length is noticed.
    #[test]
    fn memory_is_counted() {
        let (_, taken) = watch_memory(|| (vec![0_u8; 3 << 20], vec![0_u8; 4 << 20]));
        assert!(taken.at_once >= 7 << 20, "{taken:?}");
        let (_, taken) = watch_memory(|| drop((vec![0_u8; 100], vec![0_u8; 50])));
        assert_eq!(taken.at_once, 150);
        let (_, taken) = watch_memory(|| {
            let mut grown = vec![0_u8; 10];
            grown.resize(100, 0);
            drop(grown);
            drop(vec![0_u8; 20]);
        });
        assert!((100..=210).contains(&taken.at_once), "{taken:?}");
    }
}
