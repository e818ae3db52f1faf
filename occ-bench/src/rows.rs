//! The rows, and what each is to reach.

use crate::place::{Cpus, Placement};
use crate::report::{Measured, Peers};
use crate::stats::Scale;
use crate::{fan_in, killing, one_way, round_trip, spares, spawning};

/// One figure of ours, with its raw limit.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// What is measured, for people.
    pub(crate) what: &'static str,
    pub(crate) reach: &'static [Reach],
    pub(crate) placement: fn(Cpus) -> Placement,
    pub(crate) measure: fn(Scale, Cpus) -> anyhow::Result<Measured>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    PerSecond,
}

/// A figure that ours is to be compared with, and how it is to come out.
pub(crate) enum Reach {
    /// At most so many times it.
    AtMost(f64, Against),
    /// At least so many times it.
    AtLeast(f64, Against),
}

pub(crate) enum Against {
    Raw,
    Peer(&'static str, fn(&Peers) -> Option<f64>),
}

use Against::{Peer, Raw};
use Reach::{AtLeast, AtMost};

pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "spawn_to_code",
        unit: Unit::Micros,
        what: "spawn to the first line of the function; raw: fork, _exit, waitid",
        reach: &[AtMost(1.5, Raw)],
        placement: spawning::place_one,
        measure: spawning::to_code,
    },
    Row {
        name: "spawn_down",
        unit: Unit::Micros,
        what: "spawn_monitor of an empty function to its Down; raw: fork, _exit, waitid",
        reach: &[
            AtMost(2.2, Raw),
            AtMost(0.7, Peer("command", |peers| peers.command)),
        ],
        placement: spawning::place_one,
        measure: spawning::down,
    },
    Row {
        name: "spawn_to_code_spare",
        unit: Unit::Micros,
        what: "spawn_to_code where a spare is ready; raw: fork, _exit, waitid",
        reach: &[AtMost(0.25, Raw)],
        placement: spawning::place_one,
        measure: spares::to_code,
    },
    Row {
        name: "spawn_down_spare",
        unit: Unit::Micros,
        what: "spawn_down where a spare is ready; raw: fork, _exit, waitid",
        reach: &[AtMost(1.5, Raw)],
        placement: spawning::place_one,
        measure: spares::down,
    },
    Row {
        name: "spawn_full",
        unit: Unit::Micros,
        what: "spawn_down with 15,000 others alive; raw: the same with none",
        reach: &[AtMost(1.5, Raw)],
        placement: spawning::place_one,
        measure: spawning::full,
    },
    Row {
        name: "kill_down",
        unit: Unit::Micros,
        what: "SIGKILL from outside to the Down; raw: kill, poll of a pidfd, waitid, and then a SEQPACKET message of 16 B",
        reach: &[AtMost(1.2, Raw)],
        placement: spawning::place_one,
        measure: killing::down,
    },
    Row {
        name: "round_trip_cross",
        unit: Unit::Micros,
        what: "16 B there and back, two processors; raw: blocking SEQPACKET",
        reach: &[AtMost(1.2, Raw)],
        placement: round_trip::place_cross,
        measure: round_trip::cross,
    },
    Row {
        name: "round_trip_same",
        unit: Unit::Micros,
        what: "16 B there and back, one processor; raw: blocking SEQPACKET",
        reach: &[AtMost(1.5, Raw)],
        placement: round_trip::place_same,
        measure: round_trip::same,
    },
    Row {
        name: "one_way_16",
        unit: Unit::PerSecond,
        what: "messages of 16 B, one direction; raw: blocking SEQPACKET",
        reach: &[
            AtLeast(0.8, Raw),
            AtLeast(1.5, Peer("ipc_channel", |peers| peers.ipc_channel)),
        ],
        placement: one_way::place,
        measure: one_way::small,
    },
    Row {
        name: "one_way_64k",
        unit: Unit::PerSecond,
        what: "messages of 64 KiB, one direction; raw: blocking SEQPACKET",
        reach: &[AtLeast(0.8, Raw)],
        placement: one_way::place,
        measure: one_way::large,
    },
    Row {
        name: "fan_in_50",
        unit: Unit::PerSecond,
        what: "messages of 16 B from 50 senders; raw: epoll over 50 SEQPACKET pairs",
        reach: &[AtLeast(0.7, Raw)],
        placement: fan_in::place,
        measure: fan_in::fifty,
    },
    Row {
        name: "spawn_rate",
        unit: Unit::PerSecond,
        what: "spawn_monitor to Down, 64 under way; raw: a bare fork server, 64 under way",
        reach: &[AtLeast(0.45, Raw)],
        placement: spawning::place_one,
        measure: spawning::rate,
    },
];
