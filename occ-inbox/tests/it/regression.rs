//! One test for each fault that was found.

use std::time::Duration;

use occ_inbox::{Bytes, Event, SendError};
use occ_test_support::{LIMIT, within};

use crate::script::Script;
use crate::switchboard::Ended;
use crate::{assert_empty, drain, one_and_two, pid, put};

/// The one who was asked for died before the connection was made. The coordinator said that it had died, and
/// nothing else, and whoever had asked waited for ever.
#[test]
fn one_who_waits_for_a_connection_hears_that_the_other_has_died() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.connector().answer(|peer, _| vec![Event::Gone { peer }]);
        let error = one.send(pid(2), &1_u8).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
        // The same, told as an end to one who watches.
        one.connector().answer(|peer, _| {
            let message = occ_inbox::Message::about_end(peer, Ended(peer));
            vec![Event::Message(message)]
        });
        let error = one.try_send(pid(2), &1_u8).unwrap_err();
        assert!(matches!(error, SendError::NoProcess { .. }), "{error:?}");
        assert_eq!(drain::<Ended, _>(&mut one), [Ended(pid(2))]);
        assert_empty(&mut one);
    });
}

/// Every short message kept the memory of the longest that was ever sent.
#[test]
fn a_long_message_leaves_no_memory_behind() {
    occ_test_support::isolated!(|| {
        let (mut one, two) = one_and_two();
        let before = resident();
        let long = Bytes(vec![1; 64 << 20]);
        one.try_send(pid(2), &long).unwrap();
        drop((long, two));
        let after = resident();
        assert!(
            after < before + (16 << 20),
            "{before} bytes before, {after} after"
        );
    });
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident = pages.split_whitespace().nth(1).unwrap();
    resident.parse::<usize>().unwrap() * rustix::param::page_size()
}

/// A connection that is heard of at the very end of a receive: what came on it before was overlooked.
#[test]
fn what_came_on_a_new_connection_is_here_already() {
    let mut one = Script::inbox(1);
    for peer in 2..200 {
        let end = one.connector().connect(peer);
        put(&end, &peer);
        let found: Option<u64> = one.receive_timeout(Duration::ZERO).unwrap();
        assert_eq!(found, Some(peer));
    }
}
