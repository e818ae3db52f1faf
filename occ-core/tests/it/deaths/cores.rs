//! Cores.

use super::*;

#[test]
fn a_core_that_was_dumped_is_told() {
    fn dumps(folder: String) {
        std::env::set_current_dir(folder).unwrap();
        limit(Resource::Core, 1 << 30, 1 << 30);
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
            .unwrap();
        raw::write_to_null();
    }
    isolated!(|| isolated_row(|process| {
        let folder = std::env::temp_dir().join(format!("occ-core-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let down = end_of(process, dumps, (folder.to_string_lossy().into_owned(),));
        std::fs::remove_dir_all(folder).unwrap();
        let ExitReason::Signal(signal) = down.reason else {
            panic!("{down}")
        };
        if !signal.core_dumped() {
            return skipped("this machine, or this user's limit, lets no core be dumped");
        }
        let line = ") touched address 0, by a null pointer [certain: told to its handler], core dumped after";
        assert!(down.to_string().contains(line), "{down}");
    }));
}
