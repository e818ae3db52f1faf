//! A value of a GiB passes, and neither side needs much more memory than the value itself.

use occ_sck::{Bytes, Channel, Limits, Socket};
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::{LIMIT, dead, isolated, memory, role, stress, test_path};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// What a side may have besides the value: the packet, pieces on their way, what the allocator keeps, the program.
const BESIDES: usize = 64 * MIB;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum What {
    /// One piece.
    Bytes,
    /// The same, in a memory file.
    InFile,
    /// Many of some size.
    Texts,
}

const ALL: [What; 3] = [What::Bytes, What::InFile, What::Texts];

impl What {
    fn mib(self) -> usize {
        match self {
            What::Bytes => stress::times(1024),
            What::InFile => stress::times(512),
            What::Texts => stress::times(256),
        }
    }
}

fn texts(mib: usize) -> Vec<String> {
    (0..mib * 1024)
        .map(|number| format!("{number:1000}"))
        .collect()
}

fn receives<T: DeserializeOwned + 'static>(channel: &mut Channel) -> T {
    channel.receive().unwrap().unwrap()
}

#[test]
fn role_receiver() {
    if !role::is(test_path!()) {
        return;
    }
    let mut channel = Channel::new(
        Socket::from(inherited("SOCKET")),
        Limits { message: 1 << 40 },
    );
    let what: What = receives(&mut channel);
    let mib = what.mib();
    let len = match what {
        What::Bytes | What::InFile => {
            let bytes: Bytes = receives(&mut channel);
            assert!(
                bytes
                    .chunks(MIB)
                    .enumerate()
                    .all(|(at, mib)| mib[at % MIB] == at as u8)
            );
            bytes.len()
        }
        What::Texts => {
            let texts: Vec<String> = receives(&mut channel);
            assert_eq!(texts.last().unwrap().trim(), (mib * 1024 - 1).to_string());
            texts.iter().map(String::len).sum()
        }
    };
    channel
        .send(&(len, memory::peak(std::process::id())))
        .unwrap();
}

#[test]
fn role_sender() {
    if !role::is(test_path!()) {
        return;
    }
    let mut channel = Channel::new(Socket::from(inherited("SOCKET")), Limits::default());
    let mut test = Channel::new(Socket::from(inherited("TEST")), Limits::default());
    let what: What = receives(&mut test);
    channel.send(&what).unwrap();
    let mib = what.mib();
    match what {
        What::Bytes | What::InFile => {
            let mut bytes = vec![0; mib * MIB];
            for (at, mib) in bytes.chunks_mut(MIB).enumerate() {
                mib.fill(at as u8);
            }
            let value = Bytes(bytes);
            match what {
                What::InFile => channel.send_timeout(&value, LIMIT).unwrap(),
                _ => channel.send(&value).unwrap(),
            }
        }
        What::Texts => channel.send(&texts(mib)).unwrap(),
    }
    let (len, theirs): (usize, usize) = receives(&mut channel);
    test.send(&(len, memory::peak(std::process::id()), theirs))
        .unwrap();
}

#[test]
fn huge_message_is_bounded() {
    isolated!(|| {
        for what in ALL {
            let (one, two) = Socket::pair().unwrap();
            let (mut test, sender_test) = Channel::pair().unwrap();
            let mut receiver = role::command("huge::role_receiver");
            let two = Pass::new(two.into());
            two.to("SOCKET", &mut receiver);
            let mut receiver = receiver.spawn().unwrap();
            drop(two);
            let mut sender = role::command("huge::role_sender");
            let (one, sender_test) = (
                Pass::new(one.into()),
                Pass::new(sender_test.into_socket().unwrap().into()),
            );
            one.to("SOCKET", &mut sender);
            sender_test.to("TEST", &mut sender);
            let mut sender = sender.spawn().unwrap();
            drop((one, sender_test));

            test.send(&what).unwrap();
            let (len, sender_peak, receiver_peak): (usize, usize, usize) = receives(&mut test);
            for child in [&mut sender, &mut receiver] {
                assert!(dead::how(child, LIMIT).success());
            }
            let (value, mib) = (len, |bytes: usize| bytes / MIB);
            // A text has its place in the list, and what the allocator notes of it.
            let value = match what {
                What::Texts => value + value / 1000 * (24 + 8),
                _ => value,
            };
            for (who, peak) in [("sender", sender_peak), ("receiver", receiver_peak)] {
                let seen = format!("{what:?}: {who} had {} of {} MiB", mib(peak), mib(value));
                assert!(peak <= value + BESIDES, "{seen}");
                // What is measured counts the value.
                assert!(peak >= len, "{seen}");
            }
        }
    });
}
