//! The rows, and what each is to reach.

use crate::place::{Cpus, Placement};
use crate::report::{Measured, Peers};
use crate::stats::Scale;
use crate::{connect, fairness, fan_in, killing, one_way, round_trip, selective, spares, spawning};

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
    /// Of 1.
    Share,
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
        reach: &[AtMost(1.1, Raw)],
        placement: round_trip::place_cross,
        measure: round_trip::cross,
    },
    Row {
        name: "round_trip_same",
        unit: Unit::Micros,
        what: "16 B there and back, one processor; raw: blocking SEQPACKET",
        reach: &[AtMost(1.3, Raw)],
        placement: round_trip::place_same,
        measure: round_trip::same,
    },
    Row {
        name: "round_trip_idle",
        unit: Unit::Micros,
        what: "16 B there and back, two processors, with a spin of 50 µs; raw: blocking SEQPACKET",
        reach: &[AtMost(0.2, Raw)],
        placement: round_trip::place_cross,
        measure: round_trip::idle,
    },
    Row {
        name: "one_way_16",
        unit: Unit::PerSecond,
        what: "messages of 16 B, one direction; raw: blocking SEQPACKET",
        reach: &[
            AtLeast(0.9, Raw),
            AtLeast(1.5, Peer("ipc_channel", |peers| peers.ipc_channel)),
        ],
        placement: one_way::place,
        measure: one_way::small,
    },
    Row {
        name: "one_way_64k",
        unit: Unit::PerSecond,
        what: "messages of 64 KiB, one direction; raw: blocking SEQPACKET",
        reach: &[AtLeast(0.9, Raw)],
        placement: one_way::place,
        measure: one_way::large,
    },
    Row {
        name: "one_way_1m",
        unit: Unit::PerSecond,
        what: "messages of 1 MiB, one direction; raw: SEQPACKET in parts of 64 KiB, blocking, put together in memory",
        reach: &[AtLeast(0.9, Raw)],
        placement: one_way::place,
        measure: one_way::huge,
    },
    Row {
        name: "fan_in_50",
        unit: Unit::PerSecond,
        what: "messages of 16 B from 50 senders; raw: epoll over 50 SEQPACKET pairs",
        reach: &[AtLeast(0.9, Raw)],
        placement: fan_in::place,
        measure: fan_in::fifty,
    },
    Row {
        name: "fan_in_1000",
        unit: Unit::PerSecond,
        what: "messages of 16 B from 1,000 senders; raw: epoll over 1,000 SEQPACKET pairs",
        reach: &[AtLeast(0.9, Raw)],
        placement: fan_in::place,
        measure: fan_in::thousand,
    },
    Row {
        name: "fairness",
        unit: Unit::Share,
        what: "the slowest of 10 senders when the fastest is through, one of which floods; raw: 1, all alike",
        reach: &[AtLeast(0.5, Raw)],
        placement: fairness::place,
        measure: fairness::among_ten,
    },
    Row {
        name: "selective_1",
        unit: Unit::Micros,
        what: "16 B there and back while another message waits in the inbox; raw: blocking SEQPACKET",
        reach: &[],
        placement: spawning::place_one,
        measure: selective::one,
    },
    Row {
        name: "selective_1k",
        unit: Unit::Micros,
        what: "the same while 1,000 wait; raw: selective_1",
        reach: &[AtMost(1.3, Raw)],
        placement: spawning::place_one,
        measure: selective::thousand,
    },
    Row {
        name: "selective_100k",
        unit: Unit::Micros,
        what: "the same while 100,000 wait; raw: selective_1",
        reach: &[AtMost(1.3, Raw)],
        placement: spawning::place_one,
        measure: selective::hundred_thousand,
    },
    Row {
        name: "connect",
        unit: Unit::Micros,
        what: "the first message to a new peer, until it has it; raw: a third process makes a pair and passes both ends on, and the message",
        reach: &[AtMost(1.5, Raw)],
        placement: spawning::place_one,
        measure: connect::first_message,
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
