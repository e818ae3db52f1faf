//! What is no fault, and what is which.

use super::*;
use crate::chaos::plan::Way;

const INDEX: u64 = 5;

fn pid(serial: u64) -> Pid {
    Pid {
        node: 0,
        incarnation: 1,
        serial,
    }
}

fn act(way: Way, when: When) -> Act {
    Act {
        index: INDEX,
        way,
        number: 3,
        when,
    }
}

/// A process that two watch, one of them twice.
fn judge(act: Act) -> Judge {
    let mut judge = Judge::new("<0.1>".to_owned());
    judge.open(act, pid(2));
    judge.expect(INDEX, pid(3), 1);
    judge.expect(INDEX, pid(4), 2);
    judge
}

fn right(act: &Act) -> Told {
    expected(act, "<0.1>")
}

fn faults(judge: &Judge) -> [u64; 4] {
    let mut sum = Tally::default();
    judge.tallies.iter().for_each(|tally| sum.add(*tally));
    [sum.wrong, sum.missing, sum.doubled, sum.early]
}

fn seen(judge: &mut Judge, from: u64, nth: u8, told: &Told) {
    judge.seen(pid(from), INDEX, nth, told, Heard::default());
}

#[test]
fn a_case_is_closed_when_all_are_told_and_no_sooner() {
    let act = act(Way::RawCode, When::After(1));
    let (mut judge, told) = (judge(act), right(&act));
    judge.own(INDEX, &told);
    seen(&mut judge, 3, 0, &told);
    seen(&mut judge, 4, 1, &told);
    assert!(!judge.open.is_empty());
    seen(&mut judge, 4, 0, &told);
    assert!(judge.open.is_empty());
    assert_eq!(faults(&judge), [0; 4]);
    assert_eq!(judge.tallies[Way::RawCode as usize].reports, 4);
}

#[test]
fn one_that_comes_again_is_doubled_before_and_after_the_case_is_closed() {
    let act = act(Way::Value, When::AtOnce);
    let (mut judge, told) = (judge(act), right(&act));
    seen(&mut judge, 3, 0, &told);
    seen(&mut judge, 3, 0, &told);
    assert_eq!(faults(&judge), [0, 0, 1, 0]);
    judge.lose(pid(4));
    judge.own(INDEX, &told);
    assert!(judge.open.is_empty());
    seen(&mut judge, 3, 0, &told);
    judge.own(INDEX, &told);
    assert_eq!(faults(&judge), [0, 0, 3, 0]);
}

#[test]
fn what_does_not_come_is_missing_unless_its_watcher_has_died() {
    let act = act(Way::Panic, When::AtOnce);
    let (mut judge, told) = (judge(act), right(&act));
    judge.lose(pid(3));
    judge.own(INDEX, &told);
    seen(&mut judge, 4, 0, &told);
    assert_eq!(judge.give_up(), []);
    assert_eq!(faults(&judge), [0, 1, 0, 0]);
    assert!(judge.faults[0].contains("missing"), "{:?}", judge.faults);
    // Its own end was not told either: it may live.
    let mut judge = self::judge(act);
    assert_eq!(judge.give_up(), [pid(2)]);
    assert_eq!(faults(&judge), [0, 4, 0, 0]);
}

#[test]
fn another_end_than_planned_is_wrong() {
    let act = act(Way::RawCode, When::After(1));
    let mut judge = judge(act);
    let mut told = right(&act);
    told.fate = Fate::Code(4);
    judge.own(INDEX, &told);
    // One who is sure to have watched in time is told more than this.
    told = right(&act);
    told.fate = Fate::NoProcess;
    seen(&mut judge, 3, 0, &told);
    assert_eq!(faults(&judge), [2, 0, 0, 0]);
}

#[test]
fn no_process_is_right_for_one_who_may_have_come_late() {
    let act = act(Way::RawCode, When::AtOnce);
    let (mut judge, mut told) = (judge(act), right(&act));
    told.fate = Fate::NoProcess;
    seen(&mut judge, 3, 0, &told);
    assert_eq!(faults(&judge), [0; 4]);
    // Nobody comes sooner than the one who made it.
    judge.own(INDEX, &told);
    assert_eq!(faults(&judge), [1, 0, 0, 0]);
}

#[test]
fn an_end_that_is_told_before_the_last_message_is_early() {
    let act = act(Way::RawCode, When::Sending(3));
    let told = right(&act);
    for (numbers, early) in [(&[1, 2, 3][..], 0), (&[1, 2], 1), (&[1, 3, 2], 1)] {
        let mut judge = judge(act);
        for number in numbers {
            judge.hear(INDEX, *number);
        }
        judge.own(INDEX, &told);
        assert_eq!(faults(&judge), [0, 0, 0, early], "{numbers:?}");
        judge.hear(INDEX, 4);
        assert_eq!(faults(&judge), [0, 0, 0, early + 1], "{numbers:?}");
    }
}
