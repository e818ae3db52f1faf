//! The command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::thread::available_parallelism;

use occ_test_support::isolated;

use super::parts::options::{self, Command, Options};
use super::{hash_tree, trees};

#[test]
fn a_mistake_is_explained_with_the_usage_and_status_2() {
    isolated!(|| {
        let scratch = trees::of(3);
        let cases: &[(&[&str], &str)] = &[
            (&[], "DIR is missing"),
            (&["-j", "2"], "DIR is missing"),
            (&["--"], "DIR is missing"),
            (&["tree", "-j"], "-j: a number is missing"),
            (
                &["tree", "-j", "0"],
                "-j 0: at least one process must do the work",
            ),
            (&["tree", "-j", "x"], "-j x: not a number that fits"),
            (&["tree", "-j", "-1"], "-j -1: not a number that fits"),
            (
                &["tree", "-j", "99999999999999999999"],
                "-j 99999999999999999999: not a number",
            ),
            (&["tree", "--chaos"], "--chaos: a number is missing"),
            (&["--chaos", "tree"], "--chaos tree: not a number that fits"),
            (&["tree", "--chaos", ""], "--chaos : not a number that fits"),
            (&["tree", "--verbose"], "--verbose: no such option"),
            (&["-x", "tree"], "-x: no such option"),
            (&["tree", "tree"], "tree: one DIR is enough"),
        ];
        for (args, mistake) in cases {
            let ran = hash_tree(scratch.path(), *args);
            assert_eq!(
                (ran.code, ran.stdout.as_slice()),
                (Some(2), b"".as_slice()),
                "{args:?}"
            );
            assert!(
                ran.stderr.starts_with(&format!("hash_tree: {mistake}")),
                "{ran:?}"
            );
            assert!(
                ran.stderr.ends_with(&format!("\n{}\n", options::USAGE)),
                "{ran:?}"
            );
        }
    });
}

#[test]
fn help_is_printed_to_stdout() {
    isolated!(|| {
        let scratch = trees::of(0);
        let cases: [&[&str]; 3] = [&["--help"], &["-h"], &["tree", "--help"]];
        for args in cases {
            let ran = hash_tree(scratch.path(), args);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
            let expected = format!("{}\n\n{}\n", options::USAGE, options::HELP);
            assert_eq!(String::from_utf8_lossy(&ran.stdout), expected);
        }
    });
}

#[test]
fn options_may_stand_anywhere_and_the_last_of_a_kind_counts() {
    let cores = available_parallelism().unwrap().get();
    let bytes = |text: &[u8]| text.to_vec();
    assert_eq!(parsed(&[b"d"]), (bytes(b"d"), cores, None));
    assert_eq!(parsed(&[b"-j", b"3", b"d"]), (bytes(b"d"), 3, None));
    let all: [&[u8]; 7] = [b"d", b"--chaos", b"7", b"-j", b"3", b"-j", b"4"];
    assert_eq!(parsed(&all), (bytes(b"d"), 4, Some(7)));
    assert_eq!(
        parsed(&[b"-j", b"2", b"--", b"-j"]),
        (bytes(b"-j"), 2, None)
    );
    assert_eq!(parsed(&[b"--", b"--"]), (bytes(b"--"), cores, None));
    for dir in [b"-".as_slice(), b"", b"\xff\n"] {
        assert_eq!(parsed(&[dir]), (bytes(dir), cores, None));
    }
}

/// DIR, workers and seed.
fn parsed(args: &[&[u8]]) -> (Vec<u8>, usize, Option<u64>) {
    let given = args.iter().map(|arg| OsString::from_vec(arg.to_vec()));
    let command = options::parse(given).unwrap();
    let Command::Hash(Options {
        dir,
        workers,
        chaos,
    }) = command
    else {
        panic!("{args:?} is no call for help");
    };
    (dir, workers, chaos)
}
