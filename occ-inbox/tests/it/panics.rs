//! A panic in the middle of a receive loses nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use occ_inbox::{Inbox, Message};

use crate::script::Script;
use crate::{drain, one_and_two, put};

const NOW: Duration = Duration::ZERO;

fn panics<R>(inbox: &mut Inbox<Script>, receive: impl FnOnce(&mut Inbox<Script>) -> R) {
    // The default hook would print where it was.
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| receive(inbox)));
    std::panic::set_hook(quiet);
    assert!(result.is_err());
}

/// The hook belongs to the process, so these are one test.
#[test]
fn a_panicking_matcher_loses_nothing() {
    occ_test_support::isolated!(|| {
        let (mut one, two) = one_and_two();
        // Some in memory, the rest in the kernel.
        for number in 0..100_u32 {
            put(&two, &number);
            if number == 30 {
                assert!(one.receive_timeout::<String>(NOW).unwrap().is_none());
            }
        }
        for at in [0, 1, 30, 31, 50, 99] {
            let accept = |number: &u32| {
                if *number == at {
                    panic!("at {at}")
                } else {
                    false
                }
            };
            panics(&mut one, |one| one.receive_where(accept));
            panics(&mut one, |one| one.receive_where_timeout(NOW, accept));
            let pick = |message: &Message| accept(&message.decode().unwrap()).then_some(());
            panics(&mut one, |one| one.receive_map(pick));
            panics(&mut one, |one| one.receive_map_timeout(NOW, pick));
        }
        assert_eq!(drain::<u32, _>(&mut one), (0..100).collect::<Vec<_>>());
    });
}

/// What had been refused before is not thrown away either: whoever panics has not come to the end of what it was about to say.
#[test]
fn a_panic_in_retain_throws_nothing_away_and_keeps_the_order() {
    occ_test_support::isolated!(|| {
        let (mut one, two) = one_and_two();
        (0..100_u32).for_each(|number| put(&two, &number));
        assert_eq!(one.tick().unwrap(), 100);
        let mut looked = 0;
        panics(&mut one, |one| {
            one.retain(|_| {
                looked += 1;
                assert!(looked < 50, "enough");
                looked % 3 > 0
            });
        });
        assert_eq!(drain::<u32, _>(&mut one), (0..100).collect::<Vec<_>>());
    });
}

/// A type whose `Deserialize` panics is a fault of the type's; it is met once, as any message that cannot be
/// decoded.
#[test]
fn a_panic_while_decoding_costs_that_message_only() {
    #[derive(Debug, serde::Serialize)]
    struct Trap(u8);
    impl<'de> serde::Deserialize<'de> for Trap {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Trap, D::Error> {
            let number = u8::deserialize(deserializer)?;
            assert!(number != 1, "trapped");
            Ok(Trap(number))
        }
    }
    occ_test_support::isolated!(|| {
        let (mut one, two) = one_and_two();
        for number in 0..3 {
            put(&two, &Trap(number));
        }
        assert_eq!(one.receive::<Trap>().unwrap().0, 0);
        panics(&mut one, |one| one.receive::<Trap>());
        assert_eq!(one.receive::<Trap>().unwrap().0, 2);
        crate::assert_empty(&mut one);
    });
}
