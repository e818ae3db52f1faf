//! Messages with descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use occasional::Fd;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::gift::{Gift, Token};
use super::line::Line;
use super::witness::Identity;
use crate::piece::Piece;

/// One that is received.
#[derive(Serialize, Deserialize)]
pub(crate) struct Parcel {
    pub(crate) piece: Piece,
    /// First its sender's end of a pipe ([`super::witness`]), then what it has of its own.
    pub(crate) gifts: Vec<Gift>,
}

/// One that nobody can have: whoever takes the value out is told that it is none, when all its descriptors were taken.
#[derive(Serialize)]
pub(crate) struct Litter(pub(crate) Parcel);

impl<'de> Deserialize<'de> for Litter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Litter, D::Error> {
        let _taken = Parcel::deserialize(deserializer)?;
        Err(de::Error::custom("this is litter"))
    }
}

/// So many descriptors of its own for the message of this number, and the first of all.
pub(crate) fn gifts(
    line: Line,
    number: u64,
    count: usize,
    first: &Arc<OwnedFd>,
) -> io::Result<Vec<Gift>> {
    let mut gifts = Vec::with_capacity(count + 1);
    gifts.push(Fd(Arc::clone(first)));
    for at in 0..count {
        gifts.push(Fd(Arc::new(Token::new(line, number, at).make()?)));
    }
    Ok(gifts)
}

/// How many of these are not what `gifts` made of the same, are missing, or too many.
pub(crate) fn count_wrong(
    gifts: &[Gift],
    line: Line,
    number: u64,
    count: usize,
    first: Identity,
) -> u64 {
    let is_first = |gift: &Gift| Identity::of(gift.as_fd()).is_ok_and(|identity| identity == first);
    let is_right = |at: usize, gift: &Gift| match at.checked_sub(1) {
        None => is_first(gift),
        Some(at) => Token::new(line, number, at).is_of(gift.as_fd()),
    };
    let came = gifts.iter().enumerate().take(count + 1);
    let right = came.filter(|(at, gift)| is_right(*at, gift)).count();
    (gifts.len().max(count + 1) - right) as u64
}

#[cfg(test)]
mod tests {
    use super::super::witness::Witness;
    use super::*;

    const NUMBER: u64 = 5;
    const COUNT: usize = 20;

    /// How many are said to be wrong of so many, after `change`.
    fn wrong_after(change: impl FnOnce(&mut Vec<Gift>)) -> u64 {
        let line = Line::at(9);
        let (witness, write) = Witness::new().unwrap();
        let mut all = gifts(line, NUMBER, COUNT, &Arc::new(write)).unwrap();
        change(&mut all);
        count_wrong(&all, line, NUMBER, COUNT, witness.identity().unwrap())
    }

    #[test]
    fn each_descriptor_counts_and_so_does_its_place() {
        let of = |line: u64, number| {
            let (_witness, write) = Witness::new().unwrap();
            gifts(Line::at(line), number, 1, &Arc::new(write)).unwrap()
        };
        assert_eq!(wrong_after(|_| ()), 0);
        assert_eq!(wrong_after(|all| all.swap(1, 2)), 2);
        assert_eq!(wrong_after(|all| all.swap(0, 7)), 2);
        assert_eq!(wrong_after(|all| drop(all.pop())), 1);
        assert_eq!(wrong_after(|all| all.extend(of(9, NUMBER).pop())), 1);
        assert_eq!(wrong_after(Vec::clear), COUNT as u64 + 1);
        // Of another pipe, of another message, of another line.
        assert_eq!(wrong_after(|all| all[0] = of(9, NUMBER).swap_remove(0)), 1);
        assert_eq!(wrong_after(|all| all[1] = of(9, 6).swap_remove(1)), 1);
        assert_eq!(wrong_after(|all| all[1] = of(8, NUMBER).swap_remove(1)), 1);
        assert_eq!(wrong_after(|all| all[1] = of(9, NUMBER).swap_remove(1)), 0);
        // One that comes again in place of the next.
        assert_eq!(wrong_after(|all| all[3] = Fd(Arc::clone(&all[2].0))), 1);
    }
}
