//! What is asked for on the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::place;
use crate::report;
use crate::rows::{ROWS, Row};
use crate::stats::Scale;

const USAGE: &str = "usage: occ-bench [NAME...] [--json] [--quick]

  NAME     rows to measure; all of them without a name
  --json   one object a line on stdout: bench, unit, ours, raw, ratio, peers
  --quick  the least that shows that a row runs: its figures mean nothing

The status says whether the rows could be measured, never how fast anything was.";

struct Asked {
    rows: Vec<&'static Row>,
    json: bool,
    quick: bool,
}

pub(crate) fn main() -> ExitCode {
    let asked = match parse(std::env::args().skip(1)) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            let _ = writeln!(io::stdout(), "{USAGE}\n\n{}", list());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            let _ = writeln!(
                io::stderr(),
                "occ-bench: {mistake}\n\n{USAGE}\n\n{}",
                list()
            );
            return ExitCode::from(2);
        }
    };
    match measure(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "occ-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `None` when help is asked for.
fn parse(args: impl Iterator<Item = String>) -> Result<Option<Asked>, String> {
    let mut asked = Asked {
        rows: Vec::new(),
        json: false,
        quick: false,
    };
    for arg in args {
        match arg.as_str() {
            "--json" => asked.json = true,
            "--quick" => asked.quick = true,
            "--help" | "-h" => return Ok(None),
            option if option.starts_with('-') => return Err(format!("no option `{option}`")),
            name => match ROWS.iter().find(|row| row.name == name) {
                Some(row) => asked.rows.push(row),
                None => return Err(format!("no row `{name}`")),
            },
        }
    }
    if asked.rows.is_empty() {
        asked.rows = ROWS.iter().collect();
    }
    Ok(Some(asked))
}

fn list() -> String {
    let rows: Vec<String> = ROWS
        .iter()
        .map(|row| format!("  {:17} {}", row.name, row.what))
        .collect();
    format!("rows:\n{}", rows.join("\n"))
}

fn measure(asked: &Asked) -> anyhow::Result<()> {
    let scale = Scale::new(asked.quick);
    let cpus = place::Cpus::allowed()?;
    let mut out = io::stdout();
    if !asked.json {
        writeln!(out, "{}", report::heading())?;
    }
    for row in &asked.rows {
        let placement = (row.placement)(cpus);
        writeln!(
            io::stderr(),
            "{}: {placement}; {} rounds",
            row.name,
            scale.rounds
        )?;
        let measured = (row.measure)(scale, cpus).with_context(|| row.name)?;
        let line = if asked.json {
            report::json(row, &measured)?
        } else {
            report::line(row, &measured)
        };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}
