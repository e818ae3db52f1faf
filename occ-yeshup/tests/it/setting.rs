//! The setting itself, as the kernel reads it back.

use occ_test_support::{Signal, isolated};
use occ_yeshup::{Parent, arm, disarm, is_armed};
use rustix::process::set_parent_process_death_signal;

fn our_parent() -> Parent {
    Parent::from_os_pid(std::os::unix::process::parent_id()).unwrap()
}

#[test]
fn it_is_off_then_on_then_off() {
    isolated!(|| {
        std::thread::spawn(|| {
            assert!(!is_armed().unwrap(), "a thread starts without it");
            for _ in 0..2 {
                arm(our_parent()).unwrap();
                assert!(is_armed().unwrap());
            }
            for _ in 0..2 {
                disarm().unwrap();
                assert!(!is_armed().unwrap());
            }
        })
        .join()
        .unwrap();
    });
}

#[test]
fn another_signal_is_not_armed() {
    isolated!(|| {
        set_parent_process_death_signal(Some(Signal::TERM)).unwrap();
        assert!(!is_armed().unwrap());
        arm(our_parent()).unwrap();
        assert!(is_armed().unwrap());
        disarm().unwrap();
    });
}

#[test]
fn what_is_no_pid_is_no_parent() {
    assert_eq!(Parent::from_os_pid(0), None);
    assert_eq!(Parent::from_os_pid(u32::MAX), None);
    assert_eq!(Parent::from_os_pid(i32::MAX.unsigned_abs() + 1), None);
    assert_eq!(
        Parent::from_os_pid(std::process::id()),
        Some(Parent::current())
    );
}
