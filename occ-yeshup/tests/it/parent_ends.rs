//! The parent ends in every way there is: an armed child goes with it, one that is not armed stays.

use std::os::unix::process::ExitStatusExt;

use occ_test_support::dead::how;
use occ_test_support::{LIMIT, Signal, isolated, stress};

use crate::family::{Arming, ENDS, start};

/// YE-1
#[test]
fn armed_child_dies_when_parent_is_terminated() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::ByItself]);
        members[0].signal(Signal::TERM);
        assert_eq!(how(&mut parent, LIMIT).signal(), Some(15));
        members[1].assert_dies();
    });
}

/// YE-1, the control.
#[test]
fn child_that_is_not_armed_survives_the_termination_of_its_parent() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::Not]);
        members[0].signal(Signal::TERM);
        assert_eq!(how(&mut parent, LIMIT).signal(), Some(15));
        members[1].assert_survived();
    });
}

/// Without those that stop, those that are ignored, and those that Rust's runtime catches.
const DEADLY: [Signal; 14] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ILL,
    Signal::TRAP,
    Signal::FPE,
    Signal::KILL,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::TERM,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::SYS,
];

#[test]
fn armed_child_dies_by_whatever_signal_its_parent_is_killed() {
    isolated!(|| {
        for signal in DEADLY {
            for arming in [Arming::ByItself, Arming::ByCommand] {
                let (mut parent, members) = start(None, &[arming]);
                members[0].signal(signal);
                assert_eq!(
                    how(&mut parent, LIMIT).signal(),
                    Some(signal.as_raw()),
                    "{arming:?}"
                );
                members[1].assert_dies();
            }
        }
    });
}

#[test]
fn child_that_is_not_armed_survives_whatever_signal_its_parent_is_killed_by() {
    isolated!(|| {
        for signal in DEADLY {
            let (mut parent, members) = start(None, &[Arming::Not]);
            members[0].signal(signal);
            assert_eq!(how(&mut parent, LIMIT).signal(), Some(signal.as_raw()));
            members[1].assert_survived();
        }
    });
}

#[test]
fn armed_child_dies_however_its_parent_ends_by_itself() {
    isolated!(|| {
        for end in ENDS {
            for arming in [Arming::ByItself, Arming::ByCommand] {
                let (mut parent, members) = start(Some(end), &[arming]);
                members[0].ask_to_end();
                how(&mut parent, LIMIT);
                members[1].assert_dies();
            }
        }
    });
}

#[test]
fn child_that_is_not_armed_survives_however_its_parent_ends_by_itself() {
    isolated!(|| {
        for end in ENDS {
            let (mut parent, members) = start(Some(end), &[Arming::Not]);
            members[0].ask_to_end();
            how(&mut parent, LIMIT);
            members[1].assert_survived();
        }
    });
}

#[test]
fn child_that_disarmed_survives() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::Undone]);
        members[0].signal(Signal::KILL);
        how(&mut parent, LIMIT);
        members[1].assert_survived();
    });
}

#[test]
fn a_line_in_which_each_is_armed_dies_as_a_whole() {
    isolated!(|| {
        for _ in 0..stress::times(5) {
            let (mut parent, members) = start(
                None,
                &[Arming::ByItself, Arming::ByCommand, Arming::ByItself],
            );
            members[0].signal(Signal::KILL);
            how(&mut parent, LIMIT);
            for member in &members[1..] {
                member.assert_dies();
            }
        }
    });
}
