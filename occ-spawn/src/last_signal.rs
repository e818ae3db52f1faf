//! The signal that ends a process, told by a handler of its own: from whom it came, or what was wrong and where.
//!
//! A handler may take no memory and no lock. So the packet is made before, in the zygote, and the handler fills in bytes.

use std::sync::OnceLock;

use occ_proc::{OsPid, SignalInfo};
use occ_sck::{Body, Deadline, Envelope, Packet, TypeKey};

use crate::outcome::kind;
use crate::process;

/// What a handler says, as bytes: numbers in the machine's own order, because the reader is on the same machine.
const LENGTH: usize = 48;

/// As long as a thread's name can be (prctl(2), `PR_GET_NAME`).
pub(crate) const NAME: usize = 16;

static PACKET: OnceLock<Packet> = OnceLock::new();

/// What the handler was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) signal: i32,
    pub(crate) code: i32,
    pub(crate) sender: Option<u32>,
    pub(crate) user: Option<u32>,
    pub(crate) address: Option<u64>,
    pub(crate) call: Option<u32>,
    pub(crate) from_itself: bool,
    pub(crate) on_main_thread: bool,
    pub(crate) stack_overflow: bool,
    pub(crate) thread: [u8; NAME],
}

/// Makes the packet, once in a zygote, for all the processes that it makes.
pub(crate) fn prepare() {
    PACKET.get_or_init(|| {
        Packet::raw(
            kind::SIGNAL,
            TypeKey::from_bytes([0; 16]),
            "signal",
            &[0; LENGTH],
        )
    });
}

/// Sends it. It runs in a signal handler: it takes no lock and no memory.
pub(crate) fn tell(told: &Told) {
    if let Some(packet) = PACKET.get()
        && let Some(control) = process::own_control()
    {
        let _ = packet.send_in_place(&told.to_bytes(), control, Deadline::Now);
    }
}

/// Reads what was sent; `None` for anything else.
pub(crate) fn read(envelope: &Envelope) -> Option<SignalInfo> {
    let Body::Inline { bytes, at } = &envelope.body else {
        return None;
    };
    Told::from_bytes(bytes.get(*at..)?).map(Told::into_info)
}

impl Told {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut at = 0;
        let mut put = |word: &[u8]| {
            for byte in word {
                bytes[at] = *byte;
                at += 1;
            }
        };
        let flags = [
            self.sender.is_some(),
            self.user.is_some(),
            self.address.is_some(),
            self.call.is_some(),
            self.on_main_thread,
            self.stack_overflow,
            self.from_itself,
        ];
        let mut word = 0_u32;
        for (number, flag) in flags.into_iter().enumerate() {
            word |= u32::from(flag) << number;
        }
        put(&self.address.unwrap_or(0).to_ne_bytes());
        put(&self.signal.to_ne_bytes());
        put(&self.code.to_ne_bytes());
        for word in [
            self.sender.unwrap_or(0),
            self.user.unwrap_or(0),
            self.call.unwrap_or(0),
            word,
        ] {
            put(&word.to_ne_bytes());
        }
        put(&self.thread);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Told> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(word))
        };
        let flags = word(28)?;
        let if_set = |flag: u32| move |value: u32| (flags & (1 << flag) != 0).then_some(value);
        let address = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
        Some(Told {
            signal: word(8)?.cast_signed(),
            code: word(12)?.cast_signed(),
            sender: if_set(0)(word(16)?),
            user: if_set(1)(word(20)?),
            address: (flags & 4 != 0).then_some(address),
            call: if_set(3)(word(24)?),
            on_main_thread: flags & 16 != 0,
            stack_overflow: flags & 32 != 0,
            from_itself: flags & 64 != 0,
            thread: bytes.get(32..)?.try_into().ok()?,
        })
    }

    fn into_info(self) -> SignalInfo {
        let end = self.thread.iter().position(|byte| *byte == 0);
        let name = &self.thread[..end.unwrap_or(NAME)];
        let name = String::from_utf8_lossy(name).into_owned();
        let mut info = SignalInfo::new(self.signal, self.code, name);
        info.sender = self.sender.map(OsPid::new);
        info.from_itself = self.from_itself;
        info.user = self.user;
        info.address = self.address;
        info.call = self.call;
        info.on_main_thread = self.on_main_thread;
        info.stack_overflow = self.stack_overflow;
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        let full = Told {
            signal: 11,
            code: -6,
            sender: Some(7),
            user: Some(0),
            address: Some(0),
            call: Some(39),
            from_itself: true,
            on_main_thread: true,
            stack_overflow: true,
            thread: *b"a name, 16 bytes",
        };
        let one_each = [
            Told::default(),
            Told {
                sender: Some(1),
                ..Told::default()
            },
            Told {
                user: Some(1),
                ..Told::default()
            },
            Told {
                address: Some(u64::MAX),
                ..Told::default()
            },
            Told {
                call: Some(0),
                ..Told::default()
            },
            Told {
                on_main_thread: true,
                ..Told::default()
            },
            Told {
                stack_overflow: true,
                ..Told::default()
            },
            Told {
                from_itself: true,
                ..Told::default()
            },
        ];
        for told in one_each.into_iter().chain([full]) {
            assert_eq!(Told::from_bytes(&told.to_bytes()), Some(told));
        }
        assert_eq!(full.into_info().thread, "a name, 16 bytes");
    }

    #[test]
    fn what_is_too_short_or_too_long_is_none() {
        let bytes = Told::default().to_bytes();
        assert_eq!(Told::from_bytes(&bytes[1..]), None);
        assert_eq!(Told::from_bytes(&[0; LENGTH + 1]), None);
    }
}
