use std::fs::File;
use std::io::{Read, Write, pipe};
use std::os::fd::AsFd;

use occ_test_support::dead::how;
use occ_test_support::pass::{Pass, inherited};
use occ_test_support::{LIMIT, isolated, role, test_path};

#[test]
fn role_writes_to_what_it_was_passed() {
    if role::is(test_path!()) {
        File::from(inherited("OUT")).write_all(b"hello").unwrap();
    }
}

#[test]
fn a_child_takes_what_it_was_passed() {
    isolated!(|| {
        let (mut reader, writer) = pipe().unwrap();
        let pass = Pass::new(writer.into());
        let mut command = role::command("pass::role_writes_to_what_it_was_passed");
        pass.to("OUT", &mut command);
        let mut child = command.spawn().unwrap();
        drop(pass);
        let mut text = String::new();
        // The end of file comes although the command is still there.
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(how(&mut child, LIMIT).success());
    });
}

#[test]
fn an_fd_that_was_dropped_before_the_spawn_is_an_error_there() {
    isolated!(|| {
        let (_reader, writer) = pipe().unwrap();
        let pass = Pass::new(writer.into());
        let mut command = role::command("pass::role_writes_to_what_it_was_passed");
        pass.to("OUT", &mut command);
        drop(pass);
        assert!(command.spawn().is_err());
    });
}

#[test]
fn role_starts_a_grandchild_that_looks_for_it() {
    if role::is(test_path!()) {
        let taken = inherited("OUT");
        let refused = super::panic_of(|| drop(inherited("OUT")));
        assert!(refused.contains("was taken before"), "{refused}");
        let mut grandchild = role::command("pass::role_takes_what_did_not_come_along")
            .spawn()
            .unwrap();
        assert!(how(&mut grandchild, LIMIT).success());
        drop(taken);
    }
}

#[test]
fn role_takes_what_did_not_come_along() {
    if role::is(test_path!()) {
        let refused = super::panic_of(|| drop(inherited("OUT")));
        assert!(
            refused.contains("is not what the parent passed"),
            "{refused}"
        );
    }
}

#[test]
fn it_is_taken_once_and_does_not_reach_a_grandchild() {
    isolated!(|| {
        let (reader, writer) = pipe().unwrap();
        let pass = Pass::new(writer.into());
        let mut command = role::command("pass::role_starts_a_grandchild_that_looks_for_it");
        pass.to("OUT", &mut command);
        assert!(how(&mut command.spawn().unwrap(), LIMIT).success());
        drop((reader, pass.as_fd()));
    });
}

#[test]
fn what_nobody_passed_cannot_be_taken() {
    let refused = super::panic_of(|| drop(inherited("OCC_NOBODY_PASSED_THIS")));
    assert!(refused.contains("nothing was passed"), "{refused}");
}
