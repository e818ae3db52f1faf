//! A stop while the zygote is stopped.

use super::{SOON, until};
use crate::{raw, stay, system};
use occ_test_support::{isolated, within};

fn asks_when_told(gate: String) {
    crate::wait(gate);
    crate::me(|me| drop(me.spawn(stay, ())));
    raw::stay()
}

#[test]
fn a_system_stops_while_its_zygote_is_stopped() {
    isolated!(|| {
        let mut system = system();
        let zygote = crate::zygote(&system);
        let me = system.process();
        let gate = crate::Gate::new();
        me.spawn(asks_when_told, (gate.address(),)).unwrap();
        raw::signal(zygote, libc::SIGSTOP);
        until(|| crate::Stat::of(zygote).unwrap().state == 'T');
        let _open = gate.open();
        until(|| me.processes().unwrap().len() == 3);
        within(SOON, || system.stop());
    });
}
