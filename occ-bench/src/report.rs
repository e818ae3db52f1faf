//! What was measured, as a line for people or for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::rows::{Against, Reach, Row, Unit};

/// The figures of a row, in its unit.
pub(crate) struct Measured {
    pub(crate) ours: f64,
    pub(crate) raw: f64,
    pub(crate) peers: Peers,
}

/// The peers that do the same work as the row.
#[derive(Default, Serialize)]
pub(crate) struct Peers {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
    pub(crate) command: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
    pub(crate) procspawn: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rounded")]
    pub(crate) ipc_channel: Option<f64>,
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.ours / self.raw
    }
}

#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    unit: &'a str,
    ours: f64,
    raw: f64,
    ratio: f64,
    peers: &'a Peers,
}

pub(crate) fn json(row: &Row, measured: &Measured) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&Line {
        bench: row.name,
        unit: unit(row.unit),
        ours: round(measured.ours),
        raw: round(measured.raw),
        ratio: round(measured.ratio()),
        peers: &measured.peers,
    })?)
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Micros => "µs",
        Unit::PerSecond => "1/s",
        Unit::Share => "share",
    }
}

/// To a thousandth: what lies below is noise.
fn round(figure: f64) -> f64 {
    (figure * 1_000.0).round() / 1_000.0
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn rounded<S: serde::Serializer>(figure: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    figure.map(round).serialize(serializer)
}

pub(crate) fn heading() -> String {
    format!(
        "{:17} {:>12} {:>12} {:>6}  reach",
        "row", "ours", "raw", "ratio"
    )
}

pub(crate) fn line(row: &Row, measured: &Measured) -> String {
    let Measured { ours, raw, .. } = measured;
    let (ours, raw) = (figure(row.unit, *ours), figure(row.unit, *raw));
    let mut line = format!(
        "{:17} {ours:>12} {raw:>12} {:>6.2}",
        row.name,
        measured.ratio()
    );
    for reach in row.reach {
        let _ = write!(line, "  {}", judged(reach, row.unit, measured));
    }
    line
}

fn figure(unit: Unit, figure: f64) -> String {
    match unit {
        Unit::Micros => format!("{figure:.1} µs"),
        Unit::PerSecond => format!("{figure:.0} /s"),
        Unit::Share => format!("{figure:.2}"),
    }
}

/// A reach, and whether it is met. A peer's is told with the peer's own figure.
fn judged(reach: &Reach, unit: Unit, measured: &Measured) -> String {
    let (sign, factor, against) = match reach {
        Reach::AtMost(factor, against) => ("≤", factor, against),
        Reach::AtLeast(factor, against) => ("≥", factor, against),
    };
    let (of, base) = match against {
        Against::Raw => (String::new(), Some(measured.raw)),
        Against::Peer(name, of) => {
            let base = of(&measured.peers);
            let figure = base.map_or_else(|| "?".to_owned(), |base| figure(unit, base));
            (format!(" × {name} ({figure})"), base)
        }
    };
    let met = base.is_some_and(|base| match reach {
        Reach::AtMost(factor, _) => measured.ours <= factor * base,
        Reach::AtLeast(factor, _) => measured.ours >= factor * base,
    });
    let met = if met { "met" } else { "MISSED" };
    format!("{sign} {factor}{of}: {met}")
}
