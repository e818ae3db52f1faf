use std::os::unix::process::ExitStatusExt;

use occ_test_support::{LIMIT, isolated, role, test_path, within};

#[test]
fn what_is_in_time_returns_its_value() {
    assert_eq!(within(LIMIT, || 42), 42);
}

#[test]
fn a_panic_in_time_is_that_panic() {
    assert_eq!(
        super::panic_of(|| within(LIMIT, || panic!("its own"))),
        "its own"
    );
}

#[test]
fn role_hangs() {
    if role::is(test_path!()) {
        within(super::SHORT, || {
            loop {
                std::thread::park();
            }
        });
    }
}

#[test]
fn a_hang_aborts_and_says_which_test_hung() {
    isolated!(|| {
        let output = role::command("deadline::role_hangs").output().unwrap();
        assert_eq!(output.status.signal(), Some(6));
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(
            shown.contains("deadline::role_hangs: not finished within 20ms"),
            "{shown}"
        );
    });
}
