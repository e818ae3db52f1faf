//! Programs that are built in unusual ways.

use std::process::Command;

use occ_test_support::{isolated, workshop};

const PROGRAM: &str = r#"
    use occ_spawn::{ExitReason, Spawner};

    fn add(a: i32, b: i32) -> i32 {
        a + b
    }
    fn thread() {
        let panic = || panic!("on a thread");
        let _ = std::thread::Builder::new().name("worker".to_owned()).spawn(panic).unwrap().join();
    }
    fn main() {
        println!("main");
        let spawner = Spawner::new().unwrap();
        let mut children = [
            spawner.spawn(add, (2, 3)).unwrap(),
            spawner.spawn(|| panic!("as asked"), ()).unwrap(),
            spawner.spawn(thread, ()).unwrap(),
            spawner.spawn(|| std::process::abort(), ()).unwrap(),
        ];
        for child in &mut children {
            let exit = child.wait().unwrap();
            println!("{:?} {}", exit.report.status.unwrap(), exit.reason);
            if let ExitReason::Panic(panic) = exit.reason && let Some(backtrace) = panic.backtrace {
                println!("{backtrace}");
            }
        }
    }"#;

/// What nothing else is built with at once: the panic hook is the last thing that runs, functions are merged and moved
/// between crates, and there are no symbols.
#[test]
fn a_program_with_panic_abort_fat_lto_and_no_symbols_works() {
    let profile = "[profile.dev]\npanic = \"abort\"\nlto = \"fat\"\nopt-level = 2\nstrip = true\ncodegen-units = 1\n";
    isolated!(|| {
        let program = workshop!("built", profile).build(PROGRAM).unwrap();
        let output = Command::new(&program)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[0], "main");
        assert!(lines[1].ends_with("returned a value of type i32"), "{text}");
        assert!(
            lines[2].contains("si_status: 6")
                && lines[2].contains("panicked: as asked at src/main.rs"),
            "{text}"
        );
        assert!(
            lines[3].contains("si_status: 6") && lines[3].ends_with("on thread worker"),
            "{text}"
        );
        assert!(lines[4].ends_with("was killed by SIGABRT"), "{text}");

        // Where there are no names, there are places.
        let output = Command::new(&program)
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("   0: image+0x").count(), 2, "{text}");
    });
}
