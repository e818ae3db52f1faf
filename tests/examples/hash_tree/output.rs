//! The output, byte for byte.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use occ_test_support::isolated;
use rustix::pipe::{PipeFlags, pipe_with};

use super::trees;
use super::{closing_line, ended_by, hash_tree};
use crate::program::{self, sha256sum};

#[test]
fn the_output_is_that_of_sha256sum_however_many_workers_there_are() {
    isolated!(|| {
        let scratch = trees::odd();
        let expected = sha256sum(scratch.path(), "tree");
        let files = expected.iter().filter(|byte| **byte == b'\n').count();
        assert!(files > 100, "{files}");
        let cases: [&[&str]; 5] = [&[], &["-j", "1"], &["-j", "2"], &["-j", "7"], &["-j", "40"]];
        for options in cases {
            let ran = hash_tree(scratch.path(), [&["tree"], options].concat());
            assert!(ran.stdout == expected, "{options:?}: {ran:?}");
            assert_eq!(ran.code, Some(0), "{options:?}");
            assert_eq!(closing_line(&ran).0, files, "{options:?}");
        }
    });
}

#[test]
fn what_is_named_is_walked_as_find_walks_it() {
    isolated!(|| {
        let scratch = trees::odd();
        // Each with whether there is anything to print: else all that is compared might be nothing.
        let cases: &[(&[u8], bool)] = &[
            (b"tree", true),
            (b"tree/", true),
            (b"tree//", true),
            (b"./tree", true),
            (b"tree/.", true),
            (b"tree/a/..", true),
            (b".", true),
            (b"tree/dir\nwith newline", true),
            (b"tree/dir \xff/", true),
            (b"tree/plain", true),
            (b"tree/both\\\n\r", true),
            (b"link", false),
            (b"link/", true),
            (b"link//", true),
            (b"tree/link to a file", false),
            (b"tree/dangling", false),
            (b"tree/fifo", false),
            (b"tree/socket", false),
            (b"tree/empty dir", false),
            (b"tree/empty", true),
            (b"/dev/null", false),
        ];
        for (dir, something) in cases {
            let dir = OsStr::from_bytes(dir);
            let expected = sha256sum(scratch.path(), dir);
            assert_eq!(!expected.is_empty(), *something, "{dir:?}");
            let ran = hash_tree(scratch.path(), [dir]);
            assert!(ran.stdout == expected, "{dir:?}: {ran:?}");
            assert_eq!(ran.code, Some(0), "{dir:?}: {ran:?}");
        }
    });
}

#[test]
fn a_dir_that_begins_with_a_dash_follows_two_of_them() {
    isolated!(|| {
        let scratch = trees::odd();
        let at = scratch.join("tree");
        let ran = hash_tree(&at, ["--", "-dir"]);
        // find would take it for an option; so it is asked for the same place by another name.
        let expected = String::from_utf8_lossy(&sha256sum(&at, "./-dir")).replace("./-dir", "-dir");
        assert!(!expected.is_empty());
        assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
        assert_eq!(ran.code, Some(0));
    });
}

#[test]
fn a_tree_without_files_needs_no_worker() {
    isolated!(|| {
        let scratch = trees::of(0);
        let ran = hash_tree(scratch.path(), ["tree"]);
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), b"".as_slice()));
        assert_eq!(
            ran.stderr,
            "hash_tree: 0 files; no worker was needed, and none was killed\n"
        );
    });
}

#[test]
fn there_are_no_more_workers_than_files() {
    isolated!(|| {
        let scratch = trees::of(3);
        let ran = hash_tree(scratch.path(), ["tree", "-j", "1000"]);
        assert_eq!(
            ran.stderr,
            "hash_tree: 3 files; 3 workers ended: 3 by value\n"
        );
    });
}

#[test]
fn more_workers_than_the_system_has_room_for_are_as_many_as_it_has() {
    isolated!(|| {
        let scratch = trees::of(300);
        let expected = sha256sum(scratch.path(), "tree");
        // First the system has no room for so many, and then the boss no descriptors to talk to them.
        let cases = [
            ("-n 160", "the system has room for "),
            ("-Sn 40", "no file descriptor is left"),
        ];
        for (limit, why) in cases {
            let program = program::example("hash_tree");
            let mut limited = Command::new("sh");
            limited
                .args(["-c", &format!(r#"ulimit {limit} && exec "$0" "$@""#)])
                .arg(program.get_program())
                .args(["tree", "-j", "200", "--chaos", "1"])
                .current_dir(scratch.path());
            let ran = program::run(&mut limited);
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert_eq!(ran.stdout, expected);
            let warning = format!("hash_tree: fewer workers than asked for: {why}");
            assert!(ran.stderr.starts_with(&warning), "{ran:?}");
            assert!(ended_by(&ran, "SIGKILL") >= 10, "{ran:?}");
        }
    });
}

#[test]
fn whoever_stops_reading_the_output_hears_no_complaint() {
    isolated!(|| {
        let scratch = trees::of(300);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reader);
        // It ends with workers alive, and some of them just killed; nobody complains about that, either.
        for seed in [None, Some("1"), Some("2"), Some("3"), Some("4"), Some("5")] {
            let mut command = program::example("hash_tree");
            command.args(seed.map(|_| "--chaos")).args(seed).arg("tree");
            command.current_dir(scratch.path());
            command.stdout(writer.try_clone().unwrap());
            let ran = program::run(&mut command);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        }
    });
}

#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    isolated!(|| {
        let scratch = trees::of(3);
        let mut command = program::example("hash_tree");
        command.arg("tree").current_dir(scratch.path());
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let ran = program::run(&mut command);
        assert_eq!(ran.code, Some(1));
        let said = "hash_tree: cannot write the output: No space left on device (os error 28)\n";
        assert_eq!(ran.stderr, said);
    });
}
