use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use occ_test_support::dead::{Watch, gone, how};
use occ_test_support::{LIMIT, Signal, isolated};

/// Lives until its stdin is closed.
fn cat() -> Child {
    Command::new("cat").stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn how_tells_the_status_and_the_signal() {
    isolated!(|| {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        assert_eq!(how(&mut child, LIMIT).code(), Some(3));

        let mut child = cat();
        Watch::of(child.id()).signal(Signal::TERM);
        assert_eq!(how(&mut child, LIMIT).signal(), Some(15));
    });
}

#[test]
fn a_zombie_is_gone_and_stays_to_be_reaped() {
    isolated!(|| {
        let mut child = cat();
        let watch = Watch::of(child.id());
        assert!(watch.is_alive());
        drop(child.stdin.take());
        watch.wait_gone(LIMIT);
        assert!(!watch.is_alive());
        gone(child.id(), LIMIT);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn a_process_that_was_reaped_is_gone_and_takes_no_signal() {
    isolated!(|| {
        let mut child = cat();
        let watch = Watch::of(child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        watch.wait_gone(LIMIT);
        watch.signal(Signal::KILL);
        gone(child.id(), LIMIT);
        assert_eq!(watch.pid(), child.id());
    });
}

#[test]
fn one_that_lives_is_not_gone() {
    isolated!(|| {
        let mut child = cat();
        let failure = super::panic_of(|| gone(child.id(), super::SHORT));
        assert!(
            failure.contains(&format!("process {} ", child.id())),
            "{failure}"
        );
        assert!(failure.contains("still lives"), "{failure}");
        child.kill().unwrap();
        how(&mut child, LIMIT);
    });
}
