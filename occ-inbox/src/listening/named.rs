//! The name of an inbox that listens: it follows from the address, so that both sides come to the same one.

use std::path;

use occ_sck::{Address, AddressError};

use crate::pid::Pid;

/// The node of every inbox that is named by its address. No coordinator gives it to a machine.
const NODE: u32 = u32::MAX;

/// The address as every process can write it: a path from the root on.
pub(super) fn absolute(address: &Address) -> Result<Address, Unusable> {
    if !address.is_seqpacket() {
        return Err(Unusable::Carrier);
    }
    let Some(path) = address.as_path().filter(|path| path.is_relative()) else {
        return Ok(address.clone());
    };
    let path = path::absolute(path).map_err(Unusable::Folder)?;
    let address = Address::path(path).and_then(Address::seqpacket);
    address.map_err(Unusable::Address)
}

/// Why no inbox can be at an address.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its connections would not be `SOCK_SEQPACKET`.
    Carrier,
    /// The working directory is not known.
    Folder(std::io::Error),
    /// Written from the root on, it is none.
    Address(AddressError),
}

/// Whoever listens at an address, as written in full. 96 bits of a hash without a secret: two addresses of one name can be
/// made by who wants to, so each is compared with the one that is known by the name.
pub(super) fn pid_of(address: &Address) -> Pid {
    let text = address.to_string();
    let [low, high] = [0xcbf2_9ce4_8422_2325, 0x9e37_79b9_7f4a_7c15].map(|seed| hash(seed, &text));
    Pid {
        node: NODE,
        incarnation: (high >> 32) as u32,
        serial: low,
    }
}

/// FNV-1a, and the finaliser of splitmix64, so that every bit of the text reaches every bit of the result.
fn hash(seed: u64, text: &str) -> u64 {
    let mut z = text.bytes().fold(seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(text: &str) -> Pid {
        pid_of(&text.parse().unwrap())
    }

    /// Programs that were built at other times have to come to the same.
    #[test]
    fn a_name_follows_from_the_address_and_from_nothing_else() {
        assert_eq!(
            (
                pid("seqpacket:/run/x").incarnation,
                pid("seqpacket:/run/x").serial
            ),
            (3_514_252_190, 1_334_567_460_252_936_115)
        );
        let names =
            ["/run/x", "/run/y", "@/run/x", "@x"].map(|place| pid(&format!("seqpacket:{place}")));
        for (at, name) in names.iter().enumerate() {
            assert_eq!(name.node, u32::MAX);
            assert!(!names[..at].contains(name));
        }
    }

    #[test]
    fn an_address_is_written_from_the_root_on() {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let whole = absolute(&address("seqpacket:x.sock")).unwrap();
        let path = std::env::current_dir().unwrap().join("x.sock");
        assert_eq!(whole.as_path(), Some(path.as_path()));
        for same in ["seqpacket:/x", "seqpacket:@x"] {
            assert_eq!(absolute(&address(same)).unwrap(), address(same));
        }
        for other in ["unix:/x", "unix:@x", "tcp:127.0.0.1:1"] {
            assert!(matches!(absolute(&address(other)), Err(Unusable::Carrier)));
        }
    }
}
