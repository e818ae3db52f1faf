//! A backtrace as whoever was told of it has it: addresses, until somebody wants to read it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::frames::Frames;
use crate::resolver;

/// Where a panic happened, or an error was made.
///
/// A process that ends sends addresses, and no more: to find their names costs it more than all of its end. They are found when
/// this is first written, by another process of the same image, so that a server keeps nothing of what that has to
/// read; it takes a moment, and at most ten seconds. Where such a process cannot be had (no descriptors, no /proc, a
/// program that was replaced on disk) the addresses are written as they are: `image+0x1234`.
#[derive(Clone)]
pub struct Backtrace(Arc<Inner>);

struct Inner {
    told: Told,
    text: OnceLock<String>,
}

/// What a process tells of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Frames(Frames),
    /// With names already.
    Text(String),
}

impl Told {
    /// The backtrace of an error, if one was asked for.
    pub(crate) fn of_error(error: &anyhow::Error) -> Option<Told> {
        let backtrace = error.backtrace();
        if backtrace.status() != std::backtrace::BacktraceStatus::Captured {
            return None;
        }
        let frames = Frames::of_backtrace(backtrace);
        Some(frames.map_or_else(|| Told::Text(backtrace.to_string()), Told::Frames))
    }
}

impl Backtrace {
    pub(crate) fn new(told: Told) -> Backtrace {
        let text = OnceLock::new();
        Backtrace(Arc::new(Inner { told, text }))
    }

    /// In words, one or two lines a frame, the innermost first. Found once for this value and all its clones.
    pub fn text(&self) -> &str {
        match &self.0.told {
            Told::Text(text) => text,
            Told::Frames(frames) => self
                .0
                .text
                .get_or_init(|| resolver::ask(frames).unwrap_or_else(|| frames.to_string())),
        }
    }
}

/// As [`Backtrace::text`].
impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Without names, which nobody looks for here.
impl fmt::Debug for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.told {
            Told::Frames(frames) => write!(f, "Backtrace({} frames)", frames.frames.len()),
            Told::Text(text) => write!(f, "Backtrace({} bytes)", text.len()),
        }
    }
}
