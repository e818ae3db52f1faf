//! What is counted where others can read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use occ_inbox::{Event, Fd, Inbox, Message, ReceiveError, SendError, Socket, Tallies};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::pid;
use crate::script::Script;
use crate::switchboard::Ended;

/// For processes 1 and 2.
#[derive(Debug, Default)]
pub(crate) struct Counts([[AtomicU64; 2]; 3]);

impl Tallies for Counts {
    fn sent(&self, index: u32) {
        self.0[index as usize][0].fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self, index: u32, messages: u64) {
        self.0[index as usize][1].fetch_add(messages, Ordering::Relaxed);
    }
}

impl Counts {
    /// What was sent to the process, and what it has received.
    fn of(&self, index: usize) -> [u64; 2] {
        [0, 1].map(|which| self.0[index][which].load(Ordering::Relaxed))
    }
}

fn two() -> (Arc<Counts>, Inbox<Script>, Inbox<Script>) {
    let counts = Arc::new(Counts::default());
    let [mut one, mut two] = [1, 2].map(|serial| {
        let mut script = Script::new();
        script.tallies = Some((Arc::clone(&counts), serial));
        Inbox::new(pid(u64::from(serial)), script).unwrap()
    });
    let (ours, theirs) = Socket::pair().unwrap();
    for (inbox, peer, socket) in [(&mut one, 2, ours), (&mut two, 1, theirs)] {
        inbox.connector().say(Event::Connected {
            peer: pid(u64::from(peer)),
            socket,
            tally: Some(peer),
        });
    }
    (counts, one, two)
}

#[test]
fn what_is_sent_is_counted_when_the_kernel_has_it_and_what_is_received_when_its_receiver_has() {
    let (counts, mut one, mut two) = two();
    let null = std::fs::File::open("/dev/null").unwrap();
    one.send(pid(2), &1_u8).unwrap();
    one.send(pid(2), &vec![7_u8; 100_000]).unwrap();
    one.try_send(pid(2), &vec![7_u8; 100_000]).unwrap();
    one.send(pid(2), &Fd(null)).unwrap();
    let handle = one.handle().unwrap();
    handle.send(pid(2), &2_u8).unwrap();
    assert_eq!(counts.of(2), [5, 0]);
    assert_eq!(two.receive::<Vec<u8>>().unwrap().len(), 100_000);
    assert_eq!(counts.of(2), [5, 1]);
    // That it has arrived is not yet that it is received.
    assert_eq!(two.tick().unwrap(), 4);
    assert_eq!(counts.of(2), [5, 1]);
    assert_eq!(two.receive::<u8>().unwrap(), 1);
    two.retain(|message| message.is::<u8>());
    assert_eq!(counts.of(2), [5, 4]);
    assert_eq!(two.flush().unwrap(), 1);
    assert_eq!(counts.of(2), [5, 5]);
    two.send(pid(2), &3_u8).unwrap();
    two.send(pid(1), &3_u8).unwrap();
    assert_eq!([counts.of(1), counts.of(2)], [[1, 0], [6, 5]]);
    two.receive::<u8>().unwrap();
    assert_eq!(counts.of(2), [6, 6]);
}

#[test]
fn what_is_not_sent_is_not_counted_nor_is_what_the_system_says() {
    let (counts, mut one, mut two) = two();
    let mut sent = 0;
    let full = loop {
        match one.try_send(pid(2), &1_u64) {
            Ok(()) => sent += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(full, SendError::Full { .. }), "{full}");
    assert!(one.send(pid(9), &1_u8).is_err());
    assert_eq!(counts.of(2), [sent, 0]);
    let said = Message::about_end(pid(9), Ended(pid(9)));
    two.connector().say(Event::Message(said));
    assert_eq!(two.receive::<Ended>().unwrap().0, pid(9));
    assert_eq!(counts.of(2), [sent, 0]);
    two.receive::<u64>().unwrap();
    assert_eq!(counts.of(2), [sent, 1]);
}

/// How many messages are lost with a connection nobody knows. They were not received; and where it was made on our wish, there were
/// none.
#[test]
fn what_is_lost_with_a_connection_is_not_counted_as_received() {
    for thrown_away in [false, true] {
        let (counts, mut one, mut two) = two();
        let peer = Some(pid(9));
        two.connector().say(Event::NoDescriptor { peer });
        if thrown_away {
            assert_eq!(two.flush().unwrap(), 1);
        } else {
            let lost = two.receive_timeout::<u8>(Duration::ZERO).unwrap_err();
            assert!(
                matches!(lost, ReceiveError::NoDescriptor { from } if from == peer),
                "{lost:?}"
            );
        }
        one.send(pid(2), &1_u8).unwrap();
        assert_eq!(counts.of(2), [1, 0]);
        two.receive::<u8>().unwrap();
        assert_eq!(counts.of(2), [1, 1]);
    }
}

/// A message alone counts, whatever is lost of it.
#[test]
fn a_message_that_is_lost_is_counted_as_received_when_that_is_told() {
    occ_test_support::isolated!(|| {
        let (counts, mut one, mut two) = two();
        one.send(pid(2), &1_u8).unwrap();
        two.receive::<u8>().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        one.send(pid(2), &Fd(null.try_clone().unwrap())).unwrap();
        let exhausted: Vec<_> = {
            let mut limit = getrlimit(Resource::Nofile);
            limit.current = Some(200);
            setrlimit(Resource::Nofile, limit).unwrap();
            std::iter::from_fn(|| null.try_clone().ok()).collect()
        };
        let lost = two.receive_timeout::<Fd<std::fs::File>>(Duration::ZERO);
        assert!(lost.is_err(), "{lost:?}");
        drop(exhausted);
        assert_eq!(counts.of(2), [2, 2]);
    });
}
