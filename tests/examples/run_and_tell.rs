//! A script as a process, told of by the example.

use occ_test_support::isolated;

use crate::program;

#[test]
fn how_a_script_ends_is_told_with_what_it_complained_of() {
    isolated!(|| {
        for (script, ended) in [
            ("echo no >&2; exit 3", "exited with code 3 after"),
            ("echo no >&2; exit 0", "after"),
            (
                "echo no >&2; kill -9 $$",
                "killed by SIGKILL, sender unknown",
            ),
            (
                "echo no >&2; sleep 1000 & exit 4",
                "exited with code 4 after",
            ),
        ] {
            let ran = program::run(program::example("run_and_tell").arg(script));
            let told = String::from_utf8(ran.stdout).unwrap();
            let mut lines = told.lines();
            let line = lines.next().unwrap();
            assert!(line.starts_with("script <0.2> (pid "), "{line}");
            assert!(line.contains(ended), "{script}: {line}");
            assert_eq!(lines.collect::<Vec<_>>(), ["  no"], "{script}");
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        }
    });
}
