//! Each row and each command runs and reports. How fast anything is, no test says.

#![cfg(test)]

mod commands;

use std::process::{Command, Output};

use occ_test_support::{LIMIT, within};
use serde_json::Value;

const ROWS: [&str; 20] = [
    "spawn_to_code",
    "spawn_down",
    "spawn_to_code_spare",
    "spawn_down_spare",
    "spawn_full",
    "kill_down",
    "round_trip_cross",
    "round_trip_same",
    "round_trip_idle",
    "one_way_16",
    "one_way_64k",
    "one_way_1m",
    "fan_in_50",
    "fan_in_1000",
    "fairness",
    "selective_1",
    "selective_1k",
    "selective_100k",
    "connect",
    "spawn_rate",
];

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_occ-bench"));
    command.args(args);
    within(LIMIT, move || command.output().unwrap())
}

fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .collect()
}

#[test]
fn every_row_gives_one_object_a_line() {
    let output = bench(&["--quick", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = lines(&output)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["bench"].as_str())
        .collect();
    assert_eq!(names, ROWS);
    for row in &rows {
        let [ours, raw, ratio] =
            ["ours", "raw", "ratio"].map(|field| row[field].as_f64().expect("a number"));
        if row["unit"] == "share" {
            // One who had no chance to begin has none of it.
            assert!((0.0..=1.0).contains(&ours) && raw == 1.0, "{row}");
        } else {
            assert!(ours > 0.0 && raw > 0.0, "{row}");
        }
        // All three are rounded to a thousandth.
        assert!(
            (ratio - ours / raw).abs() <= 0.001 + ratio * 0.001 / ours.min(raw).max(0.001),
            "{row}"
        );
        let unit = row["unit"].as_str();
        assert!(matches!(unit, Some("µs" | "1/s" | "share")), "{row}");
    }
    for (name, peers) in [
        ("spawn_down", &["command", "procspawn"][..]),
        ("round_trip_cross", &["ipc_channel"]),
        ("one_way_16", &["ipc_channel"]),
        ("fan_in_50", &[]),
    ] {
        let row = rows.iter().find(|row| row["bench"] == name).unwrap();
        let named: Vec<&str> = row["peers"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(named, peers, "{row}");
    }
}

#[test]
fn a_named_row_is_a_line_of_the_table() {
    let output = bench(&["--quick", "kill_down"]);
    assert!(output.status.success(), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[1].starts_with("kill_down ") && lines[1].contains("≤ 1.2"),
        "{lines:?}"
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("kill_down: all on processor "), "{told}");
}

#[test]
fn an_unknown_row_is_an_error_that_lists_the_rows() {
    let output = bench(&["--quick", "spawn_sideways"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("`spawn_sideways`"), "{told}");
    assert!(ROWS.iter().all(|row| told.contains(row)), "{told}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
