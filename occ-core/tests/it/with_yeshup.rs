//! A program that has both: processes of a system, and commands whose whole tree is guarded. Each starts the program's image again, and
//! is caught before `main`.

use std::process::Command;

use occ_test_support::tree::Token;
use occ_test_support::{LIMIT, isolated, within, workshop};

const HAS_BOTH: &str = r#"
    use std::process::Command;
    use occ_core::{Down, SystemBuilder};
    use occ_yeshup::CommandExt;

    fn guarded(code: i32) -> i32 {
        let script = format!("setsid sleep 1000 & exit {code}");
        let status = Command::new("sh").args(["-c", &script]).guard_tree().status().unwrap();
        status.code().unwrap()
    }
    fn main() {
        println!("main {}", guarded(3));
        let mut system = SystemBuilder::new().start().unwrap();
        let process = system.process();
        for code in [4, 5] {
            process.spawn_monitor(guarded, (code,)).unwrap();
            let down: Down = process.receive().unwrap();
            let occ_core::ExitReason::Value(value) = &down.reason else { panic!("{down}") };
            println!("process {}", value.get::<i32>().unwrap());
        }
        println!("main {}", guarded(6));
        system.stop();
    }"#;

#[test]
fn a_program_may_have_processes_and_guarded_commands() {
    const YESHUP: &str = concat!(
        "[dependencies.occ-yeshup]\npath = \"",
        env!("CARGO_MANIFEST_DIR"),
        "/../occ-yeshup\"\n"
    );
    isolated!(|| {
        let program = workshop!("with_yeshup", YESHUP).build(HAS_BOTH).unwrap();
        let output = within(LIMIT, || Command::new(program).output().unwrap());
        let text = String::from_utf8(output.stdout).unwrap();
        let expected = "main 3\nprocess 4\nprocess 5\nmain 6\n";
        assert_eq!(
            text,
            expected,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success());
        Token::own().wait_none_left(LIMIT);
    });
}
