//! SEMANTICS.md names a test for each guarantee: every test that it names must exist.
#![cfg(test)]

use std::path::Path;

/// What stands between backquotes and is the place of a test: `path/to/file.rs::name`.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect()
}

fn is_in(root: &Path, file: &str, test: &str) -> bool {
    let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    source.contains(&format!("fn {test}()"))
}

#[test]
fn every_test_that_semantics_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SEMANTICS.md")).unwrap();
    let named = named(&text);
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let absent: Vec<_> = named
        .iter()
        .filter(|(file, test)| !is_in(root, file, test))
        .collect();
    assert!(
        absent.is_empty(),
        "named in SEMANTICS.md, and not there: {absent:?}"
    );
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = "| x | `tests/semantics.rs::no_such_test` | and `run` | `not a place` |";
    let named = named(text);
    assert_eq!(named, [("tests/semantics.rs", "no_such_test")]);
    assert!(!is_in(root, named[0].0, named[0].1));
    assert!(is_in(
        root,
        file!(),
        "a_test_that_does_not_exist_is_noticed"
    ));
}
