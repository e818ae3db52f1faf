//! What is no fault, and what is which.

use super::*;

const INDEX: u64 = 4;

fn judge() -> Judge {
    let mut judge = Judge::default();
    judge.open(INDEX, 2);
    judge
}

fn right() -> Verdict {
    Verdict {
        messages: 10,
        bytes: 100,
        by_handle: 3,
        is_right: true,
        ..Verdict::default()
    }
}

fn counts(judge: &Judge) -> [u64; 4] {
    let Totals {
        faults,
        wrong,
        doubled,
        missing,
        ..
    } = judge.totals;
    [faults.sum(), wrong, doubled, missing]
}

#[test]
fn a_sender_is_done_when_all_are_told_and_no_sooner() {
    let mut judge = judge();
    judge.told(INDEX, true, &"killed");
    judge.verdict(INDEX, 1, &right());
    assert!(!judge.is_done() && !judge.is_closed(INDEX));
    let interrupted = Verdict {
        was_interrupted: true,
        ..right()
    };
    judge.verdict(INDEX, 0, &interrupted);
    assert!(judge.is_done() && judge.is_closed(INDEX));
    let expected = Totals {
        ended: 1,
        interrupted: 1,
        messages: 20,
        bytes: 200,
        by_handle: 6,
        ..Totals::default()
    };
    assert_eq!(judge.totals, expected);
    assert_eq!(judge.totals.count_faults(), 0);
    judge.give_up();
    assert_eq!(counts(&judge), [0; 4]);
}

#[test]
fn every_fault_of_a_message_counts_and_is_told() {
    for fault in 0..5 {
        let mut numbers = [0; 5];
        numbers[fault] = 3;
        let [torn, lost, doubled, out_of_order, stray] = numbers;
        let faults = Faults {
            torn,
            lost,
            doubled,
            out_of_order,
            stray,
        };
        let mut judge = judge();
        judge.verdict(INDEX, 0, &Verdict { faults, ..right() });
        assert_eq!(judge.totals.faults, faults);
        assert_eq!(judge.totals.count_faults(), 3);
        assert!(judge.notes[0].contains("sender 4, receiver 0"));
    }
    let mut judge = judge();
    judge.strays(1, 0);
    assert_eq!(judge.totals.count_faults(), 0);
    judge.strays(1, 2);
    assert_eq!(judge.totals.count_faults(), 2);
}

#[test]
fn a_wrong_descriptor_counts_and_is_told() {
    let mut judge = judge();
    let gifts = Gifts {
        parcels: 1,
        came: 3,
        wrong: 2,
        thrown_away: 4,
    };
    judge.verdict(INDEX, 1, &Verdict { gifts, ..right() });
    judge.verdict(INDEX, 0, &Verdict { gifts, ..right() });
    assert_eq!(judge.totals.count_faults(), 4);
    assert!(judge.notes[0].contains("sender 4, receiver 1: 2 descriptors"));
    let expected = Gifts {
        parcels: 2,
        came: 6,
        wrong: 4,
        thrown_away: 8,
    };
    assert_eq!(judge.totals.gifts, expected);
}

#[test]
fn another_end_than_it_had_is_wrong() {
    let mut judge = judge();
    judge.told(INDEX, false, &"returned");
    let wrong = Verdict {
        is_right: false,
        ..right()
    };
    judge.verdict(INDEX, 1, &wrong);
    assert_eq!(counts(&judge), [0, 2, 0, 0]);
    assert_eq!(judge.totals.count_faults(), 2);
}

#[test]
fn an_end_that_is_told_again_is_doubled_before_and_after_all_are_told() {
    let mut judge = judge();
    judge.told(INDEX, true, &"killed");
    judge.told(INDEX, true, &"killed");
    judge.verdict(INDEX, 0, &right());
    judge.verdict(INDEX, 0, &right());
    assert_eq!(counts(&judge), [0, 0, 2, 0]);
    judge.verdict(INDEX, 1, &right());
    assert!(judge.is_done());
    judge.verdict(INDEX, 1, &right());
    judge.told(INDEX, true, &"killed");
    assert_eq!(counts(&judge), [0, 0, 4, 0]);
    // What was told twice was not received twice.
    assert_eq!(judge.totals.messages, 20);
    assert_eq!(judge.totals.count_faults(), 4);
}

#[test]
fn what_is_not_told_is_missing() {
    let mut judge = judge();
    judge.verdict(INDEX, 1, &right());
    judge.give_up();
    assert_eq!(counts(&judge), [0, 0, 0, 2]);
    assert_eq!(judge.totals.count_faults(), 2);
    assert!(judge.is_done() && judge.notes[0].contains("not told"));
}
