//! What does not compile, and whether the compiler says whose fault it is and what to do.
//!
//! Each case is a package of its own that depends on this one, because a check that is made when code is
//! generated is seen by a build alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Builds a package whose `main.rs` is `source`.
fn build(name: &str, source: &str) -> Output {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-errors");
    let package = all.join(name);
    fs::create_dir_all(package.join("src")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Not a member of anybody's workspace, and with the versions that everything else is tested with.
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\noccasional = {{ path = {root:?} }}\nanyhow = \"1\"\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\n[profile.dev]\ndebug = false\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let prelude = "#![allow(unused)]\nuse occasional::*;\nuse serde::{Deserialize, Serialize};\n\n";
    fs::write(package.join("src/main.rs"), format!("{prelude}{source}")).unwrap();

    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--offline",
            "--quiet",
            "--color=never",
            "--manifest-path",
        ])
        .arg(package.join("Cargo.toml"))
        // One for all, so that what they share is built once.
        .arg("--target-dir")
        .arg(all.join("target"));
    // What cargo tells the tests of this package is not meant for another one.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(key);
        }
    }
    let output = cargo.output().unwrap();
    if output.status.success() {
        return Command::new(all.join("target/debug").join(name))
            .output()
            .unwrap();
    }
    output
}

/// What the compiler says to `body` as the body of a function.
#[track_caller]
fn error(name: &str, items: &str, body: &str) -> String {
    let source =
        format!("{items}\n\nfn main() -> anyhow::Result<()> {{\n    {body}\n    Ok(())\n}}\n");
    let output = build(name, &source);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it compiles:\n{source}");
    assert!(said.contains("error"), "{said}");
    said
}

/// All of these are in what the compiler says.
#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// The control: with nothing wrong the package builds and runs.
#[test]
fn what_is_right_builds_and_runs() {
    let source = r#"
#[derive(Debug, Serialize, Deserialize)]
struct Own(String);

fn child(to: Pid, own: Own, number: u8) -> Result<(), std::io::Error> {
    send(to, (own, number)).map_err(std::io::Error::other)
}

fn parent() -> anyhow::Result<String> {
    spawn(child, (self_pid(), Own("text".to_string()), 1))?;
    spawn(|| {}, ())?;
    let (own, number): (Own, u8) = receive()?;
    Ok(format!("{} {number}", own.0))
}

fn main() -> Result<(), RunError> {
    let text: String = run(parent, ())?;
    println!("{text}");
    Ok(())
}
"#;
    let output = build("control", source);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "text 1\n");
}

/// OC-18, OC-19
#[test]
fn what_is_no_function_is_named() {
    for (name, call) in [
        (
            "not-callable-run",
            "let _: () = run(\"main\".to_string(), ())?;",
        ),
        ("not-callable-spawn", "spawn(5_u8, ())?;"),
        ("not-callable-spawn-monitor", "spawn_monitor(5_u8, ())?;"),
    ] {
        let culprit = if name == "not-callable-run" {
            "`String`"
        } else {
            "`u8`"
        };
        let message = format!("error[E0277]: {culprit} cannot be run as a process");
        says(&error(name, "", call), &[&message]);
    }
}

/// OC-20, OC-21, OC-22
#[test]
fn too_few_and_too_many_arguments_are_named() {
    let three = "fn three(_: u8, _: u8, _: u8) {}";
    for (name, call, found) in [
        ("too-few-run", "run(three, (1_u8, 2_u8))?;", "(u8, u8)"),
        ("none-run", "run(three, ())?;", "()"),
        (
            "too-many-run",
            "run(three, (1_u8, 2_u8, 3_u8, 4_u8))?;",
            "(u8, u8, u8, u8)",
        ),
        ("too-few-spawn", "spawn(three, (1_u8,))?;", "(u8,)"),
        (
            "too-many-spawn",
            "spawn(three, (1_u8, 2_u8, 3_u8, 4_u8))?;",
            "(u8, u8, u8, u8)",
        ),
    ] {
        let said = error(name, three, call);
        says(
            &said,
            &["mismatched types", "`(u8, u8, u8)`", &format!("`{found}`")],
        );
    }
    let seven = "fn seven(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}";
    let said = error(
        "seven",
        seven,
        "spawn(seven, (1_u8, 2_u8, 3_u8, 4_u8, 5_u8, 6_u8, 7_u8))?;",
    );
    says(
        &said,
        &["cannot be the arguments of a process", "up to six"],
    );
}

#[test]
fn an_argument_of_another_type_is_named() {
    let said = error(
        "other-type",
        "fn greet(_: String) {}",
        "spawn(greet, (5_u8,))?;",
    );
    says(&said, &["expected `String`, found `u8`"]);
    let said = error(
        "no-tuple",
        "fn greet(_: String) {}",
        "spawn(greet, \"x\".to_string())?;",
    );
    says(
        &said,
        &[
            "expected `(String,)`, found `String`",
            "(\"x\".to_string(),)",
        ],
    );
}

#[test]
fn a_borrowed_string_is_named_with_the_remedy() {
    let greet = "fn greet(_: String) {}";
    let said = error("borrowed-argument", greet, "spawn(greet, (\"bob\",))?;");
    says(
        &said,
        &["expected `String`, found `&str`", "\"bob\".to_string()"],
    );

    // Where nothing says that a `String` is wanted, it is a lifetime that does not fit, and of that the
    // compiler speaks in its own words.
    for (name, items, call) in [
        (
            "borrowed-parameter",
            "fn greet(_: &'static str) {}",
            "spawn(greet, (\"bob\",))?;",
        ),
        ("borrowed-message", "", "send(self_pid(), \"hello\")?;"),
        ("borrowed-receive", "", "let _: &'static str = receive()?;"),
    ] {
        says(
            &error(name, items, call),
            &["`&str` must implement `Deserialize"],
        );
    }
}

#[test]
fn a_closure_that_captures_is_named_with_the_remedy() {
    let remedy = "spawn(|x| ..., (x,))";
    let said = error(
        "captures-copy",
        "",
        "let n = 5_u8; spawn(move || { n; }, ())?;",
    );
    says(
        &said,
        &["this function captures variables of its caller", remedy],
    );

    let said = error(
        "captures-copy-run",
        "",
        "let n = 5_u8; run(move || { n; }, ())?;",
    );
    says(
        &said,
        &["this function captures variables of its caller", remedy],
    );

    let said = error(
        "captures-pointer",
        "fn a() {}",
        "let f: fn() = a; spawn(f, ())?;",
    );
    says(
        &said,
        &["this function captures variables of its caller", remedy],
    );

    let text = "let name = String::new(); spawn(move || drop(name.clone()), ())?;";
    let said = error("captures-owned", "", text);
    says(
        &said,
        &["a closure may capture nothing: pass what it needs as arguments"],
    );

    let said = error(
        "captures-borrowed",
        "",
        "let n = 5_u8; spawn(|| { let _ = &n; }, ())?;",
    );
    says(
        &said,
        &["this function captures variables of its caller", remedy],
    );
}

#[test]
fn a_value_that_cannot_be_sent_is_named_with_the_remedy() {
    let opaque = "struct Opaque;\nfn take(_: Opaque) {}\nfn give() -> Opaque { Opaque }\n\
                  fn try_give() -> anyhow::Result<Opaque> { Ok(Opaque) }";
    let native = "consider adding `#[derive(serde::Serialize)]` to your `Opaque` type";
    let ours = "derive `serde::Serialize` and `serde::Deserialize`";
    for (name, call, remedy) in [
        ("opaque-argument", "spawn(take, (Opaque,))?;", native),
        ("opaque-message", "send(self_pid(), Opaque)?;", ours),
        ("opaque-exit", "occasional::exit(Opaque);", ours),
        ("opaque-result", "spawn(give, ())?;", ours),
        ("opaque-ok", "spawn(try_give, ())?;", native),
    ] {
        says(&error(name, opaque, call), &["`Opaque", remedy]);
    }
    let said = error("opaque-receive", opaque, "let _: Opaque = receive()?;");
    says(
        &said,
        &["`Opaque` cannot be received", "derive `serde::Deserialize`"],
    );
}

#[test]
fn an_error_that_is_none_is_named_with_the_remedy() {
    let items = "struct NoError;\nfn fail() -> Result<(), NoError> { Err(NoError) }";
    let said = error("no-error", items, "spawn(fail, ())?;");
    says(
        &said,
        &[
            "`NoError` cannot be the error of a process",
            "implement `std::error::Error`",
        ],
    );
}

/// It could be meant as a value, and as an error.
#[test]
fn a_result_that_could_be_sent_has_to_say_what_it_is() {
    let items = "fn fail() -> Result<(), String> { Err(String::new()) }";
    for (name, call) in [
        ("ambiguous-spawn", "spawn(fail, ())?;"),
        ("ambiguous-monitor", "spawn_monitor(fail, ())?;"),
    ] {
        says(
            &error(name, items, call),
            &["`AnyhowResultOrValue`", "`Result<(), String>"],
        );
    }
    // Where the value is known, it is the error that is wrong.
    says(
        &error("ambiguous-run", items, "let _: () = run(fail, ())?;"),
        &["`String` cannot be the error of a process"],
    );
}

#[test]
fn a_down_cannot_be_sent() {
    let said = error(
        "send-down",
        "",
        "let down: Down = receive()?; send(self_pid(), down)?;",
    );
    says(
        &said,
        &["`occasional::Down` cannot be sent to another process"],
    );
}

#[test]
fn what_an_address_does_not_take_cannot_be_sent_there() {
    let items = "#[derive(Serialize, Deserialize)]\nstruct Job(u8);\nfn worker(inbox: Inbox<Job>, n: u8) {}";
    let said = error(
        "addr-other-type",
        items,
        "spawn_addr(worker, (1,))?.send(1_u8)?;",
    );
    says(&said, &["mismatched types", "expected `Job`, found `u8`"]);
    let said = error(
        "addr-inbox-sent",
        items,
        "send(self_pid(), Inbox::<Job>::current()?)?;",
    );
    says(
        &said,
        &["`occasional::Inbox<Job>` cannot be sent to another process"],
    );
    let said = error(
        "addr-without-inbox",
        "fn worker(n: u8) {}",
        "spawn_addr(worker, (1,))?;",
    );
    says(
        &said,
        &["expected tuple `(u8,)`", "found tuple `(Inbox<_>, "],
    );
    let said = error(
        "addr-thread",
        items,
        "let inbox = Inbox::<Job>::current()?; std::thread::spawn(move || inbox.receive());",
    );
    says(&said, &["cannot be sent between threads safely"]);
}

#[test]
fn a_result_that_is_not_what_run_is_asked_for_is_named() {
    let said = error(
        "run-type",
        "fn number() -> u8 { 1 }",
        "let _: String = run(number, ())?;",
    );
    says(&said, &["expected `String`, found `u8`"]);
}

#[test]
fn a_system_stays_with_its_thread() {
    let said = error(
        "system-send",
        "",
        "let system = start()?; std::thread::spawn(move || system.stop());",
    );
    says(&said, &["cannot be sent between threads safely"]);
}

/// What is wrong with an arm of `receive!` is told at that arm.
#[test]
fn a_mistake_in_an_arm_of_receive_is_told_at_the_arm() {
    let items = "#[derive(Serialize, Deserialize)]\nstruct Greet { from: Pid, name: String }\nstruct Unsendable;";
    for (name, arm, says_so) in [
        (
            "arm-without-type",
            "Greet { from, name } => 0,",
            "(an arm of receive is PATTERN: TYPE => EXPRESSION)",
        ),
        (
            "arm-without-body",
            "Greet { from, name }: Greet,",
            "(an arm of receive is PATTERN: TYPE => EXPRESSION)",
        ),
        (
            "arm-with-another-arrow",
            "Greet { from, name }: Greet -> 0,",
            "(an arm of receive is PATTERN: TYPE => EXPRESSION)",
        ),
        (
            "guard-before-the-type",
            "Greet { name, .. } if name.is_empty(): Greet => 0,",
            "(an arm of receive with a guard is PATTERN: TYPE if GUARD => EXPRESSION)",
        ),
        (
            "after-in-the-middle",
            "after std::time::Duration::ZERO => 0,",
            "(the last arm of receive may be after LIMIT => EXPRESSION)",
        ),
        (
            "arm-of-another-type",
            "Greet { from, name }: u8 => 0,",
            "mismatched types",
        ),
        (
            "arm-of-no-field",
            "Greet { surname, .. }: Greet => 0,",
            "does not have a field named `surname`",
        ),
        (
            "arm-not-receivable",
            "Unsendable: Unsendable => 0,",
            "`Unsendable` cannot be received",
        ),
        (
            "guard-that-is-no-condition",
            "Greet { name, .. }: Greet if name.len() => 0,",
            "mismatched types",
        ),
        (
            "body-of-another-type",
            "Greet { name, .. }: Greet => name,",
            "mismatched types",
        ),
        (
            "body-with-an-unknown-name",
            "Greet { name, .. }: Greet => from.serial as i32,",
            "cannot find value `from`",
        ),
    ] {
        let body = format!(
            "let _: i32 = receive! {{\n        1: u8 => 1,\n        {arm}\n        _: Down => 2,\n    }}?;"
        );
        let said = error(name, items, &body);
        // Before the items are four lines and after them two; the arm is the third of the body.
        says(&said, &[says_so, "src/main.rs:12:"]);
    }

    for (name, after, says_so) in [
        (
            "after-of-another-type",
            "after std::time::Duration::ZERO => \"nothing\",",
            "expected `i32`, found `&str`",
        ),
        (
            "after-a-number",
            "after 5 => 0,",
            "expected `Duration`, found integer",
        ),
        (
            "after-without-a-value",
            "after std::time::Duration::ZERO,",
            "(the last arm of receive may be after LIMIT => EXPRESSION)",
        ),
    ] {
        let body =
            format!("let _: i32 = receive! {{\n        n: i32 => n,\n        {after}\n    }}?;");
        let said = error(name, items, &body);
        says(&said, &[says_so, "src/main.rs:12:"]);
    }
    let alone = "let _: i32 = receive! { after std::time::Duration::ZERO => 1 }?;";
    says(
        &error("after-alone", items, alone),
        &["goes before after LIMIT"],
    );
}
