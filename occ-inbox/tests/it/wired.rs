//! A connector for connections that are there already.

use std::time::Duration;

use occ_inbox::{Inbox, SendError, Socket, Wired};
use occ_test_support::{LIMIT, takes, within};

use crate::pid;

#[test]
fn those_who_are_wired_talk_and_nobody_else_is_there() {
    occ_test_support::isolated!(|| within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        let mut one = Inbox::new(pid(1), Wired::new([(pid(2), to_two)]).unwrap()).unwrap();
        let mut two = Inbox::new(pid(2), Wired::new([(pid(1), to_one)]).unwrap()).unwrap();

        one.send(pid(2), &"hello".to_string()).unwrap();
        assert_eq!(two.receive::<String>().unwrap(), "hello");
        let message = two.receive_any_timeout(Duration::ZERO).unwrap();
        assert!(message.is_none());

        for _ in 0..3 {
            let error = one.send(pid(3), &1_u8).unwrap_err();
            assert!(
                matches!(error, SendError::NoProcess { to } if to == pid(3)),
                "{error:?}"
            );
        }
        one.send(pid(2), &2_u8).unwrap();
        assert_eq!(two.receive::<u8>().unwrap(), 2);

        one.send(pid(2), &3_u8).unwrap();
        drop(one);
        assert_eq!(two.receive::<u8>().unwrap(), 3);
        let error = two.send(pid(1), &4_u8).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
    }));
}

#[test]
fn an_inbox_without_connections_waits_until_the_limit() {
    within(LIMIT, || {
        let mut alone = Inbox::new(pid(1), Wired::new([]).unwrap()).unwrap();
        let limit = Duration::from_millis(100);
        assert_eq!(
            takes(limit, || alone.receive_timeout::<u8>(limit).unwrap()),
            None
        );
    });
}
