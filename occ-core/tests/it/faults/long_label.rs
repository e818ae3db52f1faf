//! A label that does not fit into a request.

use super::SOON;
use crate::{stay, system};
use occ_core::Builder;
use occ_test_support::{isolated, within};

#[test]
fn a_label_of_any_length_is_no_hang() {
    isolated!(|| is_made(100_000));
}

/// The control: it is cut.
#[test]
fn a_label_of_fewer_bytes_than_a_datagram_is_no_hang() {
    isolated!(|| is_made(60_000));
}

fn is_made(length: usize) {
    let mut system = system();
    let me = system.process();
    let builder = Builder::new().label("x".repeat(length));
    let made = within(SOON, || me.spawn_monitor_with(&builder, stay, ()));
    drop(made);
    system.stop();
}
