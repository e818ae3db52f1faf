//! Who looks for a while before it sleeps receives just the same.

use std::thread;
use std::time::Duration;

use occ_inbox::{Event, Inbox, Message, Socket, Wired};
use occ_test_support::{LIMIT, takes, within};
use rustix::time::{ClockId, clock_gettime};

use crate::script::Script;
use crate::{pid, put};

/// Longer than anything that is waited for here, so that what it finds it finds by looking.
const LONG: Duration = Duration::from_secs(60);

fn wired(me: u64, peer: u64, socket: Socket) -> Inbox<Wired> {
    Inbox::new(pid(me), Wired::new([(pid(peer), socket)]).unwrap()).unwrap()
}

/// What this thread has used of its processor.
fn burnt() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

#[test]
fn questions_and_answers_come_in_order() {
    within(LIMIT, || {
        let (to_two, to_one) = Socket::pair().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut two = wired(2, 1, to_one);
                two.set_spin(LONG);
                for _ in 0..5_000 {
                    let number: u32 = two.receive().unwrap();
                    two.send(pid(1), &(number + 1)).unwrap();
                }
            });
            let mut one = wired(1, 2, to_two);
            one.set_spin(Duration::from_micros(50));
            for number in 0..5_000_u32 {
                one.send(pid(2), &number).unwrap();
                assert_eq!(one.receive::<u32>().unwrap(), number + 1);
            }
        });
    });
}

#[test]
fn whatever_comes_ends_the_look() {
    within(LIMIT, || {
        let mut one = Script::inbox(1);
        one.set_spin(LONG);
        let two = one.connector().connect(2);
        let three = one.connector().connect(3);
        put(&two, &2_u8);
        assert_eq!(one.receive::<u8>().unwrap(), 2);
        // Another than the last.
        thread::scope(|scope| {
            scope.spawn(|| put(&three, &3_u8));
            assert_eq!(one.receive::<u8>().unwrap(), 3);
        });
        one.connector()
            .say(Event::Message(Message::about_end(pid(9), "the end")));
        assert_eq!(
            one.receive_any().unwrap().system::<&str>(),
            Some(&"the end")
        );
        // The last one ends, and another still comes.
        drop(three);
        thread::scope(|scope| {
            scope.spawn(|| put(&two, &4_u8));
            assert_eq!(one.receive::<u8>().unwrap(), 4);
        });
    });
}

#[test]
fn a_limit_of_time_is_kept() {
    within(LIMIT, || {
        let (mut one, _two) = crate::one_and_two();
        for spin in [Duration::ZERO, Duration::from_millis(1), LONG] {
            one.set_spin(spin);
            let limit = Duration::from_millis(50);
            let nothing = takes(limit, || one.receive_timeout::<u8>(limit).unwrap());
            assert_eq!(nothing, None);
        }
    });
}

#[test]
fn who_waits_for_long_does_not_burn_a_processor() {
    within(LIMIT, || {
        let (mut one, _two) = crate::one_and_two();
        let mut waits = |spin| {
            one.set_spin(spin);
            let before = burnt();
            for _ in 0..40 {
                let limit = Duration::from_millis(10);
                assert_eq!(one.receive_timeout::<u8>(limit).unwrap(), None);
            }
            burnt() - before
        };
        let (adapts, control) = (waits(Duration::from_millis(1)), waits(LONG));
        // 1 ms, and half of it, and so on; and where nothing that is waited for is too long, all 400, or what others leave of them.
        assert!(adapts < Duration::from_millis(100), "{adapts:?}");
        assert!(control > adapts, "{control:?}, and {adapts:?}");
    });
}
