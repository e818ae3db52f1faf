//! What the dead said.

use super::*;

#[test]
fn a_report_is_told_if_the_kernel_confirms_it() {
    for (kind, status, told) in [
        (kind::VALUE, code(0), "code 0 with a report of kind 21"),
        (kind::ERROR, code(1), "code 1 with a report of kind 22"),
        (kind::FAILURE, code(1), "code 1 with a report of kind 23"),
        (kind::PANIC, code(101), "code 101 with a report of kind 24"),
        (
            kind::PANIC,
            signal(libc::SIGABRT),
            "signal 6 with a report of kind 24",
        ),
        (kind::VALUE, signal(SIGKILL), "signal 9"),
        (kind::VALUE, code(1), "code 1"),
        (kind::ERROR, code(0), "code 0"),
        (kind::PANIC, code(3), "code 3"),
    ] {
        let mut s = System::with([2]);
        s.monitor(HOST, 1, 2);
        s.says(2, kind, &"words".to_owned());
        assert_eq!(
            s.ends(2, status),
            ["close 2".to_owned(), format!("1: down 1, 2 {told}")]
        );
    }
}

#[test]
fn a_report_that_could_not_be_heard_is_told_as_lost_unless_a_signal_says_it_all() {
    for (status, told) in [
        (code(0), "code 0 with a report that is lost"),
        (code(1), "code 1 with a report that is lost"),
        (signal(SIGKILL), "signal 9"),
    ] {
        let mut s = System::with([2]);
        s.monitor(HOST, 1, 2);
        assert_eq!(s.handle(Event::SaidUnheard { process: 2 }), [""; 0]);
        assert_eq!(
            s.ends(2, status),
            ["close 2".to_owned(), format!("1: down 1, 2 {told}")]
        );
    }
}

#[test]
fn only_an_abnormal_end_that_nobody_watches_is_told_to_the_host() {
    for (watched, status, told) in [
        (false, code(0), None),
        (false, code(1), Some("abnormal: 2 code 1")),
        (false, signal(SIGKILL), Some("abnormal: 2 signal 9")),
        (true, code(1), Some("1: down 1, 2 code 1")),
    ] {
        let mut s = System::with([2]);
        if watched {
            s.monitor(HOST, 1, 2);
        }
        let expected: Vec<&str> = ["close 2"].into_iter().chain(told).collect();
        assert_eq!(s.ends(2, status), expected);
    }
}
