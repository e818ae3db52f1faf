//! Workers are killed while they hold a file, and the output is the same.

use occ_test_support::{isolated, stress};

use super::parts::chaos::Chaos;
use super::trees;
use super::{closing_line, ended_by, hash_tree};
use crate::program::sha256sum;

#[test]
fn kills_change_nothing_in_the_output() {
    isolated!(|| {
        let scratch = trees::odd();
        let expected = sha256sum(scratch.path(), "tree");
        for seed in 0..stress::times(8) {
            let workers = ["1", "2", "5", "100"][seed % 4];
            let seed = seed.to_string();
            let ran = hash_tree(scratch.path(), ["--chaos", &seed, "-j", workers, "tree"]);
            assert!(ran.stdout == expected, "{seed}: {ran:?}");
            assert_eq!(ran.code, Some(0), "{seed}");
            assert_eq!(ended_by(&ran, "SIGKILL"), 10, "{seed}: {ran:?}");
            assert!(ended_by(&ran, "value") >= 1, "{seed}: {ran:?}");
            assert_eq!(closing_line(&ran).1.len(), 2, "{seed}: {ran:?}");
        }
    });
}

/// The control: it is the option that kills.
#[test]
fn without_chaos_every_worker_ends_with_a_value() {
    isolated!(|| {
        let scratch = trees::of(600);
        let ran = hash_tree(scratch.path(), ["tree", "-j", "3"]);
        assert_eq!(closing_line(&ran), (600, vec![("value".to_owned(), 3)]));
    });
}

#[test]
fn there_are_ten_kills_at_least_and_one_per_fifty_files() {
    for (files, kills) in [(1, 10), (2, 10), (499, 10), (500, 10), (501, 11), (600, 12)] {
        assert_eq!(planned(3, files).len(), kills, "{files} files");
    }
    isolated!(|| {
        for (files, kills) in [(1, 10), (2, 10), (501, 11), (600, 12)] {
            let scratch = trees::of(files);
            let expected = sha256sum(scratch.path(), "tree");
            for seed in ["0", "1", "18446744073709551615"] {
                let ran = hash_tree(scratch.path(), ["tree", "--chaos", seed]);
                assert_eq!(ran.stdout, expected, "{files} files, seed {seed}");
                assert_eq!(closing_line(&ran).0, files);
                assert_eq!(ended_by(&ran, "SIGKILL"), kills, "{files} files: {ran:?}");
            }
        }
    });
}

#[test]
fn where_there_is_no_file_nobody_is_killed() {
    isolated!(|| {
        let scratch = trees::of(0);
        let ran = hash_tree(scratch.path(), ["tree", "--chaos", "1"]);
        assert_eq!((ran.code, ran.stdout.as_slice()), (Some(0), b"".as_slice()));
        assert_eq!(
            ran.stderr,
            "hash_tree: 0 files; no worker was needed, and none was killed\n"
        );
    });
}

#[test]
fn a_seed_says_who_is_killed() {
    assert_eq!(planned(1, 5000), planned(1, 5000));
    assert_ne!(planned(1, 5000), planned(2, 5000));
    assert_eq!(planned(1, 0), []);
}

/// Every kill, by file.
fn planned(seed: u64, files: usize) -> Vec<(usize, String)> {
    let mut chaos = Chaos::new(seed, files);
    let mut kills = Vec::new();
    for number in 0..files {
        while let Some(moment) = chaos.take(number) {
            kills.push((number, format!("{moment:?}")));
        }
    }
    kills
}
