//! What is by chance is so in each process, whatever the zygote has rehearsed (`held`).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use occ_core::SystemBuilder;
use occ_test_support::isolated;

use crate::{reason, value};

fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[test]
fn hashes_are_seeded_anew_in_each_process() {
    isolated!(|| {
        for spares in [0, 3] {
            let mut system = SystemBuilder::new().spares(spares).start().unwrap();
            let me = system.process();
            let mut seen: Vec<u64> = (0..5)
                .map(|_| {
                    let (_, monitor) = me.spawn_monitor(by_chance, ()).unwrap();
                    value(&reason(me, monitor))
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 5, "{seen:?}");
            system.stop();
        }
    });
}
