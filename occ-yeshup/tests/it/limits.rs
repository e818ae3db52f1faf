//! What the kernel does not do, and what it does to the unwary. These tests hold our documentation to it.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use occ_test_support::alive::alive;
use occ_test_support::dead::how;
use occ_test_support::{LIMIT, Signal, isolated, within};
use occ_yeshup::{CommandExt, Parent, arm, is_armed};
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_uid;

use crate::family::{Arming, start};

#[test]
fn a_grandchild_that_is_not_armed_survives_an_armed_child() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::ByItself, Arming::Not]);
        members[0].signal(Signal::KILL);
        how(&mut parent, LIMIT);
        members[1].assert_dies();
        members[2].assert_survived();
    });
}

#[test]
fn a_child_that_armed_on_a_thread_that_ended_survives() {
    isolated!(|| {
        let (mut parent, members) = start(None, &[Arming::OnAThread]);
        members[0].signal(Signal::KILL);
        how(&mut parent, LIMIT);
        members[1].assert_survived();
    });
}

fn cat() -> Command {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::piped());
    cat
}

/// Whether it still echoes.
fn assert_echoes(cat: &mut Child) {
    cat.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let mut echo = [0];
    within(LIMIT, || cat.stdout.as_mut().unwrap().read_exact(&mut echo)).unwrap();
    assert_eq!(echo, *b"x");
}

#[test]
fn a_child_dies_when_the_thread_that_started_it_ends_though_the_process_lives_on() {
    isolated!(|| {
        let (end, until) = mpsc::channel::<()>();
        let (hand_over, children) = mpsc::channel();
        let starter = std::thread::spawn(move || {
            let unarmed = cat().spawn().unwrap();
            let armed = cat().die_with_parent().spawn().unwrap();
            hand_over.send((armed, unarmed)).unwrap();
            let _ = until.recv();
        });
        let (mut armed, mut unarmed) = children.recv().unwrap();
        assert_echoes(&mut armed);

        drop(end);
        starter.join().unwrap();
        assert_eq!(how(&mut armed, LIMIT).signal(), Some(9));
        // The kernel goes through all children of a thread at once, so it has passed this one by.
        assert_echoes(&mut unarmed);
        drop(unarmed.stdin.take());
        assert!(how(&mut unarmed, LIMIT).success());
    });
}

#[test]
fn a_child_lives_while_the_thread_that_started_it_does() {
    isolated!(|| {
        let mut armed = cat().die_with_parent().spawn().unwrap();
        // Another thread that started an armed child ends; that is none of this one's business.
        let mut other = std::thread::spawn(|| cat().die_with_parent().spawn().unwrap())
            .join()
            .unwrap();
        assert_eq!(how(&mut other, LIMIT).signal(), Some(9));
        assert_echoes(&mut armed);
        drop(armed.stdin.take());
        assert!(how(&mut armed, LIMIT).success());
    });
}

#[test]
fn a_change_of_user_disarms() {
    isolated!(|| {
        if !geteuid().is_root() {
            occ_test_support::skipped("needs root");
            return;
        }
        // rustix changes the user of the one thread only.
        std::thread::spawn(|| {
            arm(Parent::from_os_pid(std::os::unix::process::parent_id()).unwrap()).unwrap();
            assert!(is_armed().unwrap());
            set_thread_uid(Uid::from_raw(NOBODY)).unwrap();
            assert!(!is_armed().unwrap());
        })
        .join()
        .unwrap();
    });
}

const NOBODY: u32 = 65534;

#[test]
fn a_command_that_changes_its_user_is_armed_after_it() {
    isolated!(|| {
        if !geteuid().is_root() {
            occ_test_support::skipped("needs root");
            return;
        }
        let spawn = || cat().uid(NOBODY).die_with_parent().spawn().unwrap();
        let mut armed = std::thread::spawn(spawn).join().unwrap();
        assert_eq!(how(&mut armed, LIMIT).signal(), Some(9));
        assert!(!alive(armed.id()));
    });
}
