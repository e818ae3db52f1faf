//! A program whose execution takes long.

use std::time::Instant;

use super::{SOON, until};
use crate::{raw, system};
use occ_core::Builder;
use occ_test_support::{isolated, tree, within};

/// A function that asks for a program, and is not told of it yet.
fn asks_for(program: String) {
    crate::me(|me| drop(me.spawn_exe(&Builder::new(), &program)));
    raw::stay()
}

#[test]
fn a_system_stops_while_a_program_is_slow_to_be_executed() {
    isolated!(|| {
        let path = std::env::temp_dir().join(format!("occ-slow-{}", std::process::id()));
        std::fs::copy("/bin/true", &path).unwrap();
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        // Whoever opens it waits for the end of the lease: some 45 seconds.
        assert!(raw::lease(&file));
        let mut system = system();
        let coordinator = system.coordinator().get();
        let me = system.process();
        me.spawn(asks_for, (path.to_string_lossy().into_owned(),))
            .unwrap();
        until(|| me.processes().unwrap().len() == 3);
        until(|| tree::children(coordinator).len() == 3);
        std::fs::remove_file(&path).unwrap();
        let start = Instant::now();
        within(SOON, || system.stop());
        eprintln!("{:?}", start.elapsed());
    });
}
