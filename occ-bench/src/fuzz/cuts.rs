//! Valid streams made invalid: heads that lie, frames that do, and pieces that are cut anywhere.

use occ_sck::{HEADER, MAX_DATAGRAM, STREAM_HEAD};

use super::mutate::{EDGES, change_byte, changed, one_of, place};
use super::traffic::{Datagram, Gift, Traffic, on_stream};
use crate::random::Random;

/// Most pieces, and descriptors that come with one of them.
const MOST: usize = 40;
const MOST_GIFTS: usize = 10;

/// Lengths in a head at which something ends.
const LENGTHS: [u64; 4] = [
    HEADER as u64 - 1,
    HEADER as u64,
    MAX_DATAGRAM as u64,
    MAX_DATAGRAM as u64 + 1,
];

/// One of these, with some changes, in some pieces.
pub(crate) fn mutated(corpus: &[Traffic], random: &mut Random) -> Traffic {
    let mut traffic = one_of(corpus, random).clone();
    // What is wrong with a head hides what is wrong with its frame.
    match (random.below(4), without_heads(&traffic)) {
        (0, _) => {}
        (1, _) | (_, None) => traffic = changed(traffic, corpus, random),
        (_, Some(frames)) => traffic = on_stream(&changed(frames, corpus, random)),
    }
    if random.below(2) == 0 {
        for _ in 0..1 + random.below(3) {
            change(&mut traffic, random);
        }
    }
    for _ in 0..random.below(10) {
        cut(&mut traffic, random);
    }
    traffic.truncate(MOST);
    for piece in &mut traffic {
        piece.gifts.truncate(MOST_GIFTS);
    }
    traffic
}

/// The frames, if each piece is one with its head.
pub(crate) fn without_heads(traffic: &Traffic) -> Option<Traffic> {
    let frame = |piece: &Datagram| {
        let frame = Datagram {
            bytes: piece.bytes.get(STREAM_HEAD..)?.to_vec(),
            gifts: piece.gifts.clone(),
        };
        (frame.on_stream() == *piece).then_some(frame)
    };
    traffic.iter().map(frame).collect()
}

fn change(traffic: &mut Traffic, random: &mut Random) {
    let (at, other) = (place(traffic.len(), random), place(traffic.len(), random));
    let Some(piece) = traffic.get_mut(at) else {
        return;
    };
    match random.below(7) {
        0 => {
            let pick = |random: &mut Random, from: &[u64]| random.pick(from) as u32;
            let len = match random.below(3) {
                0 => pick(random, &EDGES),
                1 => pick(random, &LENGTHS),
                _ => random.below(200) as u32,
            };
            if let Some(field) = piece.bytes.get_mut(..4) {
                field.copy_from_slice(&len.to_le_bytes());
            }
        }
        1 | 2 => {
            let fds = match random.below(4) {
                0 => random.pick(&EDGES) as u16,
                1 => piece.gifts.len().wrapping_sub(1) as u16,
                2 => piece.gifts.len() as u16 + 1,
                _ => 0,
            };
            if let Some(field) = piece.bytes.get_mut(4..STREAM_HEAD) {
                field.copy_from_slice(&fds.to_le_bytes());
            }
        }
        3 => change_byte(&mut piece.bytes, random),
        4 => piece.gifts.push(Gift::Null),
        5 => drop(piece.gifts.pop()),
        _ => {
            let gifts = std::mem::take(&mut piece.gifts);
            traffic[other].gifts.extend(gifts);
        }
    }
}

/// Makes two pieces of one, or one of two.
fn cut(traffic: &mut Traffic, random: &mut Random) {
    let at = place(traffic.len(), random);
    let Some(piece) = traffic.get_mut(at) else {
        return;
    };
    if random.below(3) > 0 {
        // Half of the cuts near a head.
        let longest = match random.below(2) {
            0 => piece.bytes.len(),
            _ => piece.bytes.len().min(2 * STREAM_HEAD),
        };
        let bytes = piece.bytes.split_off(place(longest + 1, random));
        let gifts = Vec::new();
        traffic.insert(at + 1, Datagram { bytes, gifts });
    } else if at + 1 < traffic.len() {
        let next = traffic.remove(at + 1);
        traffic[at].bytes.extend(next.bytes);
        traffic[at].gifts.extend(next.gifts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::traffic::{Symbols, parse};

    fn corpus() -> Vec<Traffic> {
        let read = |text| parse(text, &Symbols::new()).unwrap();
        vec![
            read("stream frame 0 @string : 0568656c6c6f\nstream frame 0 @u64 : 05"),
            read("stream frame 0 @fds : 01 05 00 +null"),
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
    fn a_cut_changes_no_byte_and_loses_no_descriptor() {
        let mut random = Random::new(1, 0);
        let bytes = |traffic: &Traffic| -> Vec<u8> {
            traffic
                .iter()
                .flat_map(|piece| piece.bytes.clone())
                .collect()
        };
        let gifts =
            |traffic: &Traffic| -> usize { traffic.iter().map(|piece| piece.gifts.len()).sum() };
        for number in 0..200 {
            let whole = &corpus()[number % 2];
            let mut pieces = whole.clone();
            (0..20).for_each(|_| cut(&mut pieces, &mut random));
            assert_eq!(bytes(&pieces), bytes(whole));
            assert_eq!(gifts(&pieces), gifts(whole));
            assert!(pieces.len() > 1);
        }
    }

    #[test]
    fn heads_come_off_where_they_are_right() {
        for traffic in corpus() {
            let frames = without_heads(&traffic).unwrap();
            assert_eq!(on_stream(&frames), traffic);
            for at in 0..STREAM_HEAD {
                let mut wrong = traffic.clone();
                wrong[0].bytes[at] ^= 1;
                assert_eq!(without_heads(&wrong), None);
            }
        }
    }
}
