//! SEMANTICS.md names a test for each guarantee, ARCHITECTURE.md one for each kill point: every test that they name must
//! exist.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What stands between backquotes and is the place of a test: `path/to/file.rs::name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    quoted(text)
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

fn is_in(file: &str, test: &str) -> bool {
    read(file).contains(&format!("fn {test}()"))
}

#[test]
fn every_test_that_semantics_names_exists() {
    let text = read("SEMANTICS.md");
    let named = named(&text);
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let absent: Vec<_> = named
        .iter()
        .filter(|(file, test)| !is_in(file, test))
        .collect();
    assert!(
        absent.is_empty(),
        "named in SEMANTICS.md, and not there: {absent:?}"
    );
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let text = "| x | `tests/semantics.rs::no_such_test` | and `run` | `not a place` |";
    let named = named(text);
    assert_eq!(named, [("tests/semantics.rs", "no_such_test")]);
    assert!(!is_in(named[0].0, named[0].1));
    assert!(is_in(file!(), "a_test_that_does_not_exist_is_noticed"));
}

/// The names of all tests of the workspace.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            tests_in(&path, found);
        } else if name.ends_with(".rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let after = source.split("#[test]").skip(1);
            let names = after.filter_map(|text| text.split("fn ").nth(1)?.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

/// The rows of the tables of kill points: who dies and the tests that the row names.
fn kill_points(text: &str) -> Vec<(&str, Vec<&str>)> {
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Protocols and their kill points"));
    section
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| test |"))
        .map(|row| {
            let last = row.trim_end_matches(['|', ' ']).rsplit('|').next();
            let tests = quoted(last.unwrap_or_default())
                .filter(|name| name.matches('_').count() > 2 || name.contains("::"));
            (
                row,
                tests.filter_map(|name| name.rsplit("::").next()).collect(),
            )
        })
        .collect()
}

#[test]
fn a_kill_point_is_read_with_its_tests() {
    let text = "\n## Protocols and their kill points\n\n| step | test |\n|---|---|\n\
                | a `struct` dies | `occ-x`: `x::no_such_test_here`, `and_one_of_a_name` |\n";
    let rows = kill_points(text);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, ["no_such_test_here", "and_one_of_a_name"]);
}

#[test]
fn every_kill_point_is_a_test() {
    let mut all = BTreeSet::new();
    tests_in(root(), &mut all);
    assert!(all.len() > 500, "only {} tests", all.len());
    let text = read("ARCHITECTURE.md");
    let rows = kill_points(&text);
    assert!(rows.len() > 50, "only {} rows", rows.len());
    for (row, tests) in rows {
        let there = tests.iter().filter(|test| all.contains(**test)).count();
        let is_like_another = row.contains("the same");
        assert!(
            there == tests.len() && (there > 0 || is_like_another),
            "{row}"
        );
    }
}
