//! What an inbox says of what waits in it.

use std::time::Duration;

use occ_inbox::{Bytes, Event, Message};
use occ_test_support::{LIMIT, within};

use crate::script::Script;
use crate::{pid, put};

#[test]
fn it_counts_by_type_and_by_sender_and_names_the_oldest() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        let [two, three] = [2, 3].map(|peer| one.connector().connect(peer));
        let nothing = one.info().unwrap();
        assert_eq!((nothing.messages, nothing.bytes), (0, 0));
        assert_eq!((nothing.types.len(), nothing.oldest), (0, None));
        assert_eq!(
            nothing
                .peers
                .iter()
                .map(|peer| peer.pid)
                .collect::<Vec<_>>(),
            [pid(2), pid(3)]
        );

        put(&three, &Bytes(vec![0; 1000]));
        one.tick().unwrap();
        let before = std::time::Instant::now();
        put(&two, &1_u8);
        put(&two, &2_u8);
        put(&three, &3_u8);
        one.connector()
            .say(Event::Message(Message::about_end(pid(9), "the end")));
        let info = one.info().unwrap();
        assert_eq!((info.messages, info.bytes), (5, 1002 + 3));
        let types: Vec<_> = info
            .types
            .iter()
            .map(|of| (of.type_name.as_str(), of.messages, of.bytes))
            .collect();
        assert_eq!(
            types,
            [
                ("u8", 3, 3),
                ("&str", 1, 0),
                ("occ_sck::bytes::Bytes", 1, 1002)
            ]
        );
        let peers: Vec<_> = info
            .peers
            .iter()
            .map(|peer| (peer.pid, peer.messages, peer.in_kernel, peer.paused))
            .collect();
        assert_eq!(peers, [(pid(2), 2, 0, false), (pid(3), 2, 0, false)]);
        let oldest = info.oldest.unwrap();
        assert_eq!(oldest.from, pid(3));
        assert_eq!(oldest.type_name, "occ_sck::bytes::Bytes");
        // The clock is exact to a tick, at most 10 ms.
        assert!(oldest.age + Duration::from_millis(10) >= before.elapsed());

        // It has looked, and taken nothing.
        one.receive::<u8>().unwrap();
        assert_eq!(one.info().unwrap().messages, 4);
        assert_eq!(one.flush().unwrap(), 4);
        assert_eq!(one.info().unwrap().messages, 0);
    });
}

#[test]
fn it_says_who_is_not_read_and_how_much_that_one_has_waiting() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        let two = one.connector().connect(2);
        one.set_limits(occ_inbox::InboxLimits {
            messages: 2,
            ..occ_inbox::InboxLimits::default()
        });
        for number in 0..5_u8 {
            put(&two, &number);
        }
        let info = one.info().unwrap();
        assert_eq!(info.messages, 2);
        let [peer] = info.peers.try_into().unwrap();
        assert!(peer.paused);
        assert!(peer.in_kernel > 3 * 40, "{}", peer.in_kernel);
        assert_eq!(peer.messages, 2);
    });
}

/// It is for people, and what is sent is nobody else's: neither the values nor the memory that they were received in.
#[test]
fn what_is_printed_of_an_inbox_its_handles_and_its_messages_is_short_and_has_no_value_in_it() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        let two = one.connector().connect(2);
        for _ in 0..100 {
            put(&two, &"secret".repeat(100));
        }
        assert_eq!(one.tick().unwrap(), 100);
        let handle = one.handle().unwrap();
        let message = one.receive_any().unwrap();
        for printed in [
            format!("{one:?}"),
            format!("{handle:?}"),
            format!("{message:?}"),
        ] {
            assert!(!printed.contains("115, 101, 99, 114"), "{printed}");
            assert!(printed.len() < 1000, "{printed}");
        }
    });
}

/// What has come before is received one by one, without a way through the queue. What comes meanwhile has been there from the next
/// receive on, at the latest, also where that takes another.
#[test]
fn what_waits_behind_others_that_are_received_is_as_old_as_it_is() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        let two = one.connector().connect(2);
        one.receive_timeout::<u8>(Duration::ZERO).unwrap();
        let limit = Duration::from_millis(50);
        for number in 0..3_u8 {
            put(&two, &number);
        }
        // It waits for room, and takes in what comes meanwhile.
        let three = one.connector().connect(3);
        while one.try_send(pid(3), &[0_u64; 32]).is_ok() {}
        assert!(one.send_timeout(pid(3), &[0_u64; 32], limit).is_err());
        assert_eq!(one.receive::<u8>().unwrap(), 0);
        one.send(pid(1), &3_u8).unwrap();
        assert_eq!(one.receive::<u8>().unwrap(), 1);
        let here = std::time::Instant::now();
        while here.elapsed() < limit {
            std::thread::yield_now();
        }
        assert_eq!(one.receive::<u8>().unwrap(), 2);
        let oldest = one.info().unwrap().oldest.unwrap();
        // The clock is exact to a tick, at most 10 ms.
        let age = oldest.age + Duration::from_millis(10);
        assert!(age >= limit, "{age:?}");
        assert_eq!(one.receive::<u8>().unwrap(), 3);
        drop(three);
    });
}
