//! A build in which a panic aborts.

use super::*;

const ABORTS_ON_PANIC: &str = r#"
    use occ_core::{Down, SystemBuilder};

    fn on_a_thread() {
        let worker = std::thread::Builder::new().name("worker".to_owned());
        let _ = worker.spawn(|| panic!("on a thread")).unwrap().join();
    }
    fn caught() {
        let _ = std::panic::catch_unwind(|| panic!("not caught"));
    }
    fn main() {
        let mut system = SystemBuilder::new().start().unwrap();
        let process = system.process();
        for function in ["panics", "on a thread", "caught", "aborts"] {
            match function {
                "panics" => process.spawn_monitor(|| panic!("no more"), ()),
                "on a thread" => process.spawn_monitor(on_a_thread, ()),
                "caught" => process.spawn_monitor(caught, ()),
                _ => process.spawn_monitor(|| std::process::abort(), ()),
            }.unwrap();
            let down: Down = process.receive().unwrap();
            println!("{function}: {down}");
            let backtrace = down.report.panic.as_ref().and_then(|panic| panic.backtrace.as_ref());
            println!("{}", backtrace.map_or("none".to_owned(), |text| text.text().replace("\n", " ")));
        }
        system.stop();
    }"#;

/// The hook is the last thing of ours that runs there.
#[test]
fn in_a_build_that_aborts_on_panic_a_panic_is_told_as_one() {
    isolated!(|| {
        let profile = "[profile.dev]\npanic = \"abort\"\n";
        let program = workshop!("deaths", profile).build(ABORTS_ON_PANIC).unwrap();
        let output = Command::new(program)
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LIB_BACKTRACE")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let says = |number: usize, parts: &[&str]| {
            for part in parts {
                assert!(lines[number].contains(part), "{part:?}: {text}");
            }
        };
        assert_eq!(lines.len(), 8, "{text}");
        says(
            0,
            &[
                "panics: ",
                ") panicked: no more at src/main.rs:",
                " after 0.",
                " s, peak ",
            ],
        );
        says(1, &["user::main::{{closure}}", "src/main.rs:"]);
        says(
            2,
            &[
                "on a thread: ",
                ") panicked: on a thread at ",
                " on thread worker after ",
            ],
        );
        says(3, &["user::on_a_thread::{{closure}}"]);
        says(4, &["caught: ", ") panicked: not caught at "]);
        says(5, &["user::caught"]);
        // The control.
        says(
            6,
            &[
                "aborts: ",
                ") aborted [certain: told to its handler] after ",
            ],
        );
        says(7, &["none"]);
    });
}
