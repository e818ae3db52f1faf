//! Who is put to the test.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::corpus::{self, Names};
use super::mutate::mutated;
use super::traffic::{Traffic, on_stream};
use super::{cuts, frames, peer, streams};
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    Decoders,
    Peer,
    Streams,
    Control,
}

/// Puts an input to it: the way in which it was taken or refused, or what is wrong.
pub(crate) type Examine = fn(&Traffic) -> Result<String, String>;

impl Target {
    pub(crate) const ALL: [Target; 4] = [
        Target::Decoders,
        Target::Peer,
        Target::Streams,
        Target::Control,
    ];

    /// Inputs in a batch. A long batch has fewer starts; of a short one there is less to be tried again.
    pub(crate) fn inputs(self) -> u64 {
        match self {
            Target::Decoders => 2_000,
            Target::Peer | Target::Streams => 500,
            Target::Control => 300,
        }
    }

    /// Those of the coordinator are told by a process of their own.
    pub(crate) fn examine(self) -> Option<Examine> {
        match self {
            Target::Decoders => Some(frames::examine),
            Target::Peer => Some(peer::examine),
            Target::Streams => Some(streams::examine),
            Target::Control => None,
        }
    }

    /// What its inputs are made of.
    pub(crate) fn corpus(self, names: Names) -> anyhow::Result<Vec<Traffic>> {
        match self {
            Target::Decoders | Target::Peer => corpus::read("frames", names),
            Target::Control => corpus::read("control", names),
            Target::Streams => {
                // Whatever is a frame is one in a stream.
                let frames = corpus::read("frames", names)?;
                let framed = frames.into_iter().map(|traffic| on_stream(&traffic));
                let mut all = corpus::read("streams", names)?;
                all.extend(framed);
                Ok(all)
            }
        }
    }

    pub(crate) fn input(self, corpus: &[Traffic], random: &mut Random) -> Traffic {
        match self {
            Target::Streams => cuts::mutated(corpus, random),
            _ => mutated(corpus, random),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Decoders => "decoders",
            Target::Peer => "peer",
            Target::Streams => "streams",
            Target::Control => "control",
        })
    }
}
