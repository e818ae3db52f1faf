//! What holds here, asked by many at once.

use occ_core::{Containment, LifetimeGuarantee};
use occ_test_support::isolated;

#[test]
fn what_holds_here_is_the_same_for_all_who_look_at_once() {
    isolated!(|| {
        let has = || LifetimeGuarantee::here().has(Containment::ControlGroup);
        let alone = has();
        let looks = move || (0..200).filter(|_| has() != alone).count();
        let all: Vec<_> = (0..4).map(|_| std::thread::spawn(looks)).collect();
        let wrong: usize = all.into_iter().map(|look| look.join().unwrap()).sum();
        assert_eq!(wrong, 0);
    });
}
