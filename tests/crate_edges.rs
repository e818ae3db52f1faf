//! Which crate may depend on which, and on what else. An edge that is not listed here is a decision that
//! has not been made: ARCHITECTURE.md is where it is argued.
#![cfg(test)]

use std::process::Command;

use serde::Deserialize;

/// What a published crate may depend on, for itself; tests may use any third party.
struct Rule {
    name: &'static str,
    ours: &'static [&'static str],
    theirs: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        name: "occ-proc",
        ours: &[],
        theirs: &["rustix", "serde"],
    },
    Rule {
        name: "occ-yeshup",
        ours: &["occ-proc"],
        theirs: &["rustix", "libc"],
    },
    Rule {
        name: "occ-sck",
        ours: &[],
        theirs: &["rustix", "libc", "serde"],
    },
    Rule {
        name: "occ-spawn",
        ours: &["occ-proc", "occ-yeshup", "occ-sck"],
        theirs: &["rustix", "libc", "anyhow", "backtrace", "postcard", "serde"],
    },
    Rule {
        name: "occ-inbox",
        ours: &["occ-sck"],
        theirs: &["rustix", "postcard", "serde", "crossbeam-channel"],
    },
    Rule {
        name: "occ-core",
        ours: &[
            "occ-spawn",
            "occ-inbox",
            "occ-sck",
            "occ-yeshup",
            "occ-proc",
        ],
        theirs: &["rustix", "libc", "postcard", "serde"],
    },
    // Its own edges are checked to point to published crates; see `check`.
    Rule {
        name: FACADE,
        ours: &[],
        theirs: &[],
    },
];

const FACADE: &str = "occasional";

/// Unpublished, and free to depend on anything.
const FREE: &[&str] = &[TEST_SUPPORT, "occ-bench"];

/// What tests of every crate may use.
const TEST_SUPPORT: &str = "occ-test-support";

/// Free everywhere.
const ANYWHERE: &[&str] = &["thiserror"];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    /// Empty for a package that is not published.
    publish: Option<Vec<String>>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null`, `"dev"` or `"build"`.
    kind: Option<String>,
}

/// Every edge that no rule allows, a line each.
fn forbidden(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| check(package, packages))
        .collect()
}

fn check(package: &Package, packages: &[Package]) -> Vec<String> {
    let name = package.name.as_str();
    if FREE.contains(&name) {
        return match package.publish.as_deref() {
            Some([]) => Vec::new(),
            _ => vec![format!(
                "{name} is free to depend on anything, so it must not be published"
            )],
        };
    }
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        return vec![format!("{name} has no rule")];
    };
    let published = |other: &str| {
        packages
            .iter()
            .any(|package| package.name == other && package.publish.as_deref() != Some(&[]))
    };
    let allowed = |dependency: &Dependency| {
        let other = dependency.name.as_str();
        let dev = dependency.kind.as_deref() == Some("dev");
        if rule.ours.contains(&other) || ANYWHERE.contains(&other) {
            return true;
        }
        if packages.iter().any(|package| package.name == other) {
            name == FACADE && published(other) || dev && other == TEST_SUPPORT
        } else {
            dev || rule.theirs.contains(&other)
        }
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| !allowed(dependency))
        .map(|dependency| {
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            format!("{name} -> {} ({kind})", dependency.name)
        })
        .collect()
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        metadata
            .packages
            .iter()
            .any(|package| package.name == FACADE),
        "{metadata:?}"
    );

    let forbidden = forbidden(&metadata.packages);
    assert!(
        forbidden.is_empty(),
        "edges that no rule allows:\n{}",
        forbidden.join("\n")
    );
}

/// A package as cargo describes it, with dependencies given as `name` or `kind name`.
fn package(name: &str, published: bool, dependencies: &[&str]) -> Package {
    let dependency = |text: &&str| match text.split_once(' ') {
        Some((kind, name)) => Dependency {
            name: name.to_owned(),
            kind: Some(kind.to_owned()),
        },
        None => Dependency {
            name: (*text).to_owned(),
            kind: None,
        },
    };
    Package {
        name: name.to_owned(),
        publish: if published { None } else { Some(Vec::new()) },
        dependencies: dependencies.iter().map(dependency).collect(),
    }
}

/// What is found in a workspace in which all is as it may be, except that `changed` looks like this.
fn found_with(changed: Package) -> Vec<String> {
    let as_allowed = RULES.iter().map(|rule| {
        package(
            rule.name,
            true,
            &[rule.ours, rule.theirs, ANYWHERE].concat(),
        )
    });
    let free = FREE
        .iter()
        .map(|name| package(name, false, &["occasional", "tokio"]));
    let mut packages: Vec<_> = as_allowed.chain(free).collect();
    packages.retain(|package| package.name != changed.name);
    packages.push(changed);
    forbidden(&packages)
}

#[test]
fn what_the_rules_list_is_allowed() {
    assert!(
        found_with(package(
            "occ-sck",
            true,
            &["rustix", "dev proptest", "dev occ-test-support"]
        ))
        .is_empty()
    );
    assert!(found_with(package(FACADE, true, &["occ-core", "occ-sck", "thiserror"])).is_empty());
}

#[test]
fn every_kind_of_forbidden_edge_is_found() {
    let cases = [
        (
            package("occ-sck", true, &["occ-core"]),
            "occ-sck -> occ-core (normal)",
        ),
        (
            package("occ-sck", true, &["occ-inbox"]),
            "occ-sck -> occ-inbox (normal)",
        ),
        (
            package("occ-sck", true, &["dev occ-core"]),
            "occ-sck -> occ-core (dev)",
        ),
        (
            package("occ-sck", true, &["build occ-core"]),
            "occ-sck -> occ-core (build)",
        ),
        (
            package("occ-sck", true, &["occ-test-support"]),
            "occ-sck -> occ-test-support (normal)",
        ),
        (
            package("occ-sck", true, &["dev occ-bench"]),
            "occ-sck -> occ-bench (dev)",
        ),
        (
            package("occ-sck", true, &["anyhow"]),
            "occ-sck -> anyhow (normal)",
        ),
        (
            package("occ-sck", true, &["build cc"]),
            "occ-sck -> cc (build)",
        ),
        (
            package(FACADE, true, &["serde"]),
            "occasional -> serde (normal)",
        ),
        (
            package(FACADE, true, &["occ-bench"]),
            "occasional -> occ-bench (normal)",
        ),
        (package("occ-new", true, &[]), "occ-new has no rule"),
        (
            package("occ-bench", true, &[]),
            "occ-bench is free to depend on anything, so it must not be published",
        ),
    ];
    for (changed, expected) in cases {
        assert_eq!(found_with(changed), [expected]);
    }
}
