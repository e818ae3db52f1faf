//! What is asked for on the command line.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use crate::commands::{self, Command};
use crate::place;
use crate::report;
use crate::rows::{ROWS, Row};
use crate::stats::Scale;

const USAGE: &str = "usage: occ-bench [NAME...] [--json] [--quick]
       occ-bench COMMAND NUMBER... [--quick]

  NAME     rows to measure; all of them without a name
  --json   one object a line on stdout: bench, unit, ours, raw, ratio, peers
  --quick  the least that shows that it runs: its figures mean nothing, and fail nothing

Of rows the status says whether they could be measured, never how fast anything was; of a command, whether all was as it
should be.";

enum Asked {
    Help,
    Rows {
        rows: Vec<&'static Row>,
        json: bool,
        quick: bool,
    },
    Command {
        command: Command,
        quick: bool,
    },
}

pub(crate) fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match parse(&args) {
        Ok(Asked::Help) => {
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
        Ok(Asked::Rows { rows, json, quick }) => measure(&rows, json, Scale::new(quick)),
        Ok(Asked::Command { command, quick }) => command.run(quick),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "occ-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[&str]) -> Result<Asked, String> {
    if args.iter().any(|arg| matches!(*arg, "--help" | "-h")) {
        return Ok(Asked::Help);
    }
    let quick = args.contains(&"--quick");
    let words: Vec<&str> = args
        .iter()
        .copied()
        .filter(|arg| *arg != "--quick")
        .collect();
    if let Some(command) = Command::parse(&words) {
        let command = command?;
        return Ok(Asked::Command { command, quick });
    }
    let (mut rows, mut json) = (Vec::new(), false);
    for word in words {
        match word {
            "--json" => json = true,
            option if option.starts_with('-') => return Err(format!("no option `{option}`")),
            name => match ROWS.iter().find(|row| row.name == name) {
                Some(row) => rows.push(row),
                None => return Err(format!("no row and no command `{name}`")),
            },
        }
    }
    if rows.is_empty() {
        rows = ROWS.iter().collect();
    }
    Ok(Asked::Rows { rows, json, quick })
}

fn list() -> String {
    let rows: Vec<String> = ROWS
        .iter()
        .map(|row| format!("  {:17} {}", row.name, row.what))
        .collect();
    format!(
        "rows:\n{}\n\ncommands:\n{}",
        rows.join("\n"),
        commands::LIST
    )
}

fn measure(rows: &[&Row], json: bool, scale: Scale) -> anyhow::Result<()> {
    let cpus = place::Cpus::allowed()?;
    let mut out = io::stdout();
    if !json {
        writeln!(out, "{}", report::heading())?;
    }
    for row in rows {
        let placement = (row.placement)(cpus);
        writeln!(
            io::stderr(),
            "{}: {placement}; {} rounds",
            row.name,
            scale.rounds
        )?;
        let measured = (row.measure)(scale, cpus).with_context(|| row.name)?;
        let line = if json {
            report::json(row, &measured)?
        } else {
            report::line(row, &measured)
        };
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}
