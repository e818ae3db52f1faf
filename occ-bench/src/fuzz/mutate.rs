//! Valid traffic made invalid, a little or much.

use occ_sck::{HEADER, MAX_DATAGRAM, PART};

use super::traffic::{Datagram, Gift, Traffic};
use super::types;
use crate::random::Random;

/// Most datagrams in what comes of it, and bytes in one of them: no more than what a kernel holds for one connection.
pub(crate) const MOST: usize = 12;
pub(crate) const LONGEST: usize = MAX_DATAGRAM + 100;

/// Numbers at which something ends.
pub(crate) const EDGES: [u64; 14] = [
    0,
    1,
    2,
    127,
    128,
    255,
    65_535,
    PART as u64,
    PART as u64 + 1,
    1 << 20,
    (1 << 20) + 1,
    u32::MAX as u64,
    4 << 30,
    u64::MAX,
];

/// Where numbers stand in a header, and of how many bytes.
const FIELDS: [(usize, usize); 8] = [
    (0, 1),
    (1, 1),
    (2, 2),
    (4, 4),
    (8, 4),
    (12, 4),
    (16, 8),
    (24, 8),
];

/// One of these, or of several of them, with some changes.
pub(crate) fn mutated(corpus: &[Traffic], random: &mut Random) -> Traffic {
    let traffic = one_of(corpus, random).clone();
    changed(traffic, corpus, random)
}

/// This one, with changes, of which some come from the others.
pub(crate) fn changed(mut traffic: Traffic, corpus: &[Traffic], random: &mut Random) -> Traffic {
    for _ in 0..1 + random.below(5) {
        change(&mut traffic, corpus, random);
    }
    // What is wrong with the lengths hides what is wrong within.
    if random.below(2) == 0 {
        traffic
            .iter_mut()
            .for_each(|datagram| repair(&mut datagram.bytes));
    }
    traffic.truncate(MOST);
    for datagram in &mut traffic {
        datagram.bytes.truncate(LONGEST);
        datagram.gifts.truncate(5);
    }
    traffic
}

pub(crate) fn one_of<'a, T>(all: &'a [T], random: &mut Random) -> &'a T {
    &all[random.below(all.len() as u64) as usize]
}

/// A place in so many; 0 where there are none.
pub(crate) fn place(count: usize, random: &mut Random) -> usize {
    random.below(count.max(1) as u64) as usize
}

fn change(traffic: &mut Traffic, corpus: &[Traffic], random: &mut Random) {
    let at = place(traffic.len(), random);
    if traffic.is_empty() || random.below(4) == 0 {
        return rearrange(traffic, corpus, at, random);
    }
    let Datagram { bytes, gifts } = &mut traffic[at];
    match random.below(13) {
        0..3 => change_byte(bytes, random),
        3..6 => set_field(bytes, random),
        6 => bytes.truncate(place(bytes.len() + 1, random)),
        7 => {
            let more = random.below(40);
            bytes.extend((0..more).map(|_| random.next() as u8));
        }
        8 => {
            let range = range(bytes.len(), random);
            bytes.drain(range);
        }
        9 => {
            let range = range(bytes.len(), random);
            let again = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, again);
        }
        10 => {
            // A length or a number of many groups.
            let huge: &[u8] = random.pick(&[
                &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                &[0x80; 20],
                &[0xff; 12],
            ]);
            let at = place(bytes.len() + 1, random).max(HEADER.min(bytes.len()));
            bytes.splice(at..at, huge.iter().copied());
        }
        11 => {
            let of = one_of(&types::ALL[..], random);
            if let Some(key) = bytes.get_mut(HEADER - 16..HEADER) {
                key.copy_from_slice(&of.key.to_bytes());
            }
        }
        _ => {
            if random.below(3) == 0 {
                gifts.clear();
            } else {
                let len = random.pick(&EDGES) % (1 << 20);
                gifts.push(random.pick(&[Gift::Null, Gift::Sealed(len), Gift::Unsealed(len)]));
            }
        }
    }
}

/// Changes which datagrams there are.
fn rearrange(traffic: &mut Traffic, corpus: &[Traffic], at: usize, random: &mut Random) {
    if traffic.is_empty() {
        return traffic.clone_from(one_of(corpus, random));
    }
    match random.below(5) {
        0 => {
            traffic.remove(at);
        }
        1 => traffic.insert(at, traffic[at].clone()),
        2 => {
            let other = place(traffic.len(), random);
            traffic.swap(at, other);
        }
        3 => {
            let other = one_of(corpus, random);
            let from = place(other.len() + 1, random);
            traffic.splice(at..at, other[from..].iter().cloned());
        }
        _ => {
            // The beginning of one, and the end of another.
            let other = one_of(corpus, random);
            if let Some(other) = other.get(place(other.len(), random)) {
                let bytes = &mut traffic[at].bytes;
                bytes.truncate(place(bytes.len() + 1, random));
                bytes.extend_from_slice(&other.bytes[place(other.bytes.len() + 1, random)..]);
            }
        }
    }
}

fn range(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = place(len + 1, random);
    start..len.min(start + place(64, random))
}

pub(crate) fn change_byte(bytes: &mut [u8], random: &mut Random) {
    let at = place(bytes.len(), random);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = match random.below(4) {
            0 => *byte ^ 1 << random.below(8),
            1 => byte.wrapping_add(random.pick(&[1, 0xff])),
            2 => random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            _ => random.next() as u8,
        };
    }
}

fn set_field(bytes: &mut [u8], random: &mut Random) {
    let (at, len) = random.pick(&FIELDS);
    let number = match random.below(3) {
        0 => random.next(),
        1 => random.below(4),
        _ => random.pick(&EDGES),
    };
    if let Some(field) = bytes.get_mut(at..at + len) {
        field.copy_from_slice(&number.to_le_bytes()[..len]);
    }
}

/// Makes the lengths in a header those of what comes with it, for one part.
fn repair(bytes: &mut [u8]) {
    if bytes.len() < HEADER || bytes.len() - HEADER > PART {
        return;
    }
    let rest = bytes.len() - HEADER;
    let name = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
    let name = if name <= rest { name } else { 0 };
    bytes[1] = 0;
    bytes[2..4].copy_from_slice(&(name as u16).to_le_bytes());
    bytes[8..12].copy_from_slice(&0_u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
    bytes[16..24].copy_from_slice(&((rest - name) as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use occ_sck::Header;

    use super::*;
    use crate::fuzz::traffic::{Symbols, parse};

    fn corpus() -> Vec<Traffic> {
        let read = |text| parse(text, &Symbols::new()).unwrap();
        vec![
            read("frame 0 @string : 0568656c6c6f"),
            read("part 0 1 0 2 65700 @bytes : a18104 aa*65597\npart 0 1 1 2 65700 @bytes : aa*100"),
        ]
    }

    #[test]
    fn the_same_seed_makes_the_same_and_another_makes_another() {
        let all = |seed| -> Vec<Traffic> {
            let mut random = Random::new(seed, 0);
            (0..50).map(|_| mutated(&corpus(), &mut random)).collect()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn some_of_it_is_as_before_at_the_outside_and_some_is_not() {
        let mut random = Random::new(1, 0);
        let (mut parsed, mut refused, mut other) = (0, 0, 0);
        for _ in 0..2_000 {
            let traffic = mutated(&corpus(), &mut random);
            assert!(traffic.len() <= MOST);
            for datagram in &traffic {
                assert!(datagram.bytes.len() <= LONGEST);
                match Header::parse(&datagram.bytes) {
                    Ok(_) => parsed += 1,
                    Err(_) => refused += 1,
                }
            }
            other += usize::from(!corpus().contains(&traffic));
        }
        assert!(parsed > 500 && refused > 500, "{parsed}, {refused}");
        assert!(other > 1_800, "{other}");
    }
}
