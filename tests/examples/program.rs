//! The examples as programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;
use std::{env, fs};

use occ_test_support::{LIMIT, tree::Token, within};

/// The program of an example. `cargo test` builds it; `cargo test --test examples` does not, so it is built here if
/// it is missing or older than its sources.
pub(crate) fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    // target/PROFILE/deps/this, and target/PROFILE/examples/that.
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    let newest = sources(name)
        .iter()
        .filter_map(|source| changed(source))
        .max();
    if changed(&program) < newest {
        build(name, profile);
    }
    Command::new(program)
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file)
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// The file of the example, or those in its directory.
fn sources(name: &str) -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    match fs::read_dir(examples.join(name)) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => vec![examples.join(name).with_extension("rs")],
    }
}

fn build(name: &str, profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", profile.parent().unwrap());
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(
        cargo.status().unwrap().success(),
        "cargo could not build {name}"
    );
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs it to its end, after which nothing that it started may be left. To be called in an isolated test.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = within(LIMIT, || command.output().unwrap());
    let left = Token::own().processes();
    assert!(left.is_empty(), "{command:?} left {left:?}");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Ran {
        code: status.code(),
        stdout,
        stderr,
    }
}

/// What `find DIR -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum` prints in the directory `at`.
pub(crate) fn sha256sum(at: &Path, dir: impl AsRef<OsStr>) -> Vec<u8> {
    let output = Command::new("sh")
        .args([
            "-c",
            r#"find "$1" -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum"#,
            "sh",
        ])
        .arg(dir)
        .current_dir(at)
        .output()
        .unwrap();
    output.stdout
}
