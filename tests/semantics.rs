//! SEMANTICS.md names a test for each guarantee, ARCHITECTURE.md one for each kill point: every test that they name must
//! exist.
#![cfg(test)]

use std::collections::BTreeMap;
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

/// All tests of the workspace, by name: the files that they are in.
type Tests = BTreeMap<String, Vec<PathBuf>>;

fn tests_in(folder: &Path, found: &mut Tests) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            tests_in(&path, found);
        } else if name.ends_with(".rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let after = source.split("#[test]").skip(1);
            for name in after.filter_map(|text| text.split("fn ").nth(1)?.split('(').next()) {
                found
                    .entry(name.to_owned())
                    .or_default()
                    .push(path.with_extension(""));
            }
        }
    }
}

/// Whether `named`, as `module::of_a_test`, is one of `tests`, in a file of that module.
fn is_among(tests: &Tests, named: &str) -> bool {
    let (modules, name) = named.rsplit_once("::").unwrap_or(("", named));
    let is_of_it = |file: &PathBuf| {
        let parts = || file.strip_prefix(root()).into_iter().flatten();
        let modules = modules.split("::").filter(|module| !module.is_empty());
        modules
            .into_iter()
            .all(|module| parts().any(|part| part == module))
    };
    tests
        .get(name)
        .is_some_and(|files| files.iter().any(is_of_it))
}

/// The rows of the tables of kill points, which are those that end with a test: the row and the tests that it names.
fn kill_points(text: &str) -> Vec<(&str, Vec<&str>)> {
    let tables = text.split("\n\n").filter(|table| {
        let head = table.lines().next().unwrap_or_default();
        head.starts_with("| ") && head.ends_with("| test |")
    });
    tables
        .flat_map(|table| table.lines().skip(2))
        .map(|row| {
            let last = row.trim_end_matches(['|', ' ']).rsplit('|').next();
            let tests = quoted(last.unwrap_or_default())
                .filter(|name| name.matches('_').count() > 2 || name.contains("::"));
            (row, tests.collect())
        })
        .collect()
}

#[test]
fn a_kill_point_is_read_with_its_tests() {
    let text = "# Here\n\n| step | who |\n|---|---|\n| a | `no::kill_point_at_all` |\n\n\
                | step | test |\n|---|---|\n\
                | a `struct` dies | `occ-x`: `x::no_such_test_here`, `and_one_of_a_name` |\n";
    let rows = kill_points(text);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].1, ["x::no_such_test_here", "and_one_of_a_name"]);
}

#[test]
fn a_test_of_another_module_is_not_the_one_that_is_named() {
    let mut all = Tests::new();
    tests_in(root(), &mut all);
    let name = "a_test_of_another_module_is_not_the_one_that_is_named";
    assert!(is_among(&all, name));
    assert!(is_among(&all, &format!("semantics::{name}")));
    assert!(!is_among(&all, &format!("room::{name}")));
    assert!(!is_among(&all, &format!("{name}_either")));
}

#[test]
fn every_kill_point_is_a_test() {
    let mut all = Tests::new();
    tests_in(root(), &mut all);
    assert!(all.len() > 500, "only {} tests", all.len());
    let text = read("ARCHITECTURE.md");
    let rows = kill_points(&text);
    assert!(rows.len() > 150, "only {} rows", rows.len());
    for (row, tests) in rows {
        let there = tests.iter().filter(|test| is_among(&all, test)).count();
        let is_like_another = row.contains("the same");
        assert!(
            there == tests.len() && (there > 0 || is_like_another),
            "{row}"
        );
    }
}
