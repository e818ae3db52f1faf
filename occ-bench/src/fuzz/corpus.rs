//! The corpus: valid traffic, and what has been of interest since, in files of the repository.

use std::path::Path;

use anyhow::{Context, ensure};
use occasional::Pid;
use serde::{Deserialize, Serialize};

use super::nothing;
use super::traffic::{Symbols, Traffic, parse};

/// Who is who where something is fuzzed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The one who sends.
    pub(crate) me: Pid,
    /// The one who has started all.
    pub(crate) host: Pid,
}

impl Names {
    fn symbols(self) -> anyhow::Result<Symbols> {
        let encoded = |value: &dyn Fn(&mut Vec<u8>) -> Result<(), occ_sck::EncodeError>| {
            let mut bytes = Vec::new();
            value(&mut bytes)?;
            anyhow::Ok(bytes)
        };
        let pid = |pid: Pid| encoded(&|bytes| occ_sck::encode_into(&pid, bytes));
        Ok(Symbols::from([
            ("me", pid(self.me)?),
            ("host", pid(self.host)?),
            // The next ones, if they are there.
            (
                "next",
                pid(Pid {
                    serial: self.me.serial + 1,
                    ..self.me
                })?,
            ),
            (
                "nobody",
                pid(Pid {
                    serial: u64::MAX,
                    ..self.me
                })?,
            ),
            (
                "function",
                encoded(&|bytes| occ_sck::encode_into(&nothing::ENTRY.offset(), bytes))?,
            ),
        ]))
    }
}

/// All files of a folder of the corpus, in the order of their names.
pub(crate) fn read(folder: &str, names: Names) -> anyhow::Result<Vec<Traffic>> {
    let symbols = names.symbols()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(folder);
    let place = || folder.display().to_string();
    let files = std::fs::read_dir(&folder).with_context(place)?;
    let mut files: Vec<_> = files
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", place());
    let read = |file: &std::path::PathBuf| {
        let name = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(name)?;
        let traffic = parse(&text, &symbols).with_context(name)?;
        ensure!(!traffic.is_empty(), "{}: no datagram", name());
        Ok(traffic)
    };
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use occ_core::protocol::Request;
    use occ_sck::{Assembler, Envelope};
    use occ_spawn::entry::kind;

    use super::*;
    use crate::fuzz::cuts::without_heads;
    use crate::fuzz::types;

    fn names() -> Names {
        let pid = |serial| Pid {
            node: 0,
            incarnation: 300,
            serial,
        };
        Names {
            me: pid(5),
            host: pid(1),
        }
    }

    /// What comes out of what is not mutated: of streams, without their heads.
    fn envelopes(traffic: &Traffic) -> Vec<Envelope> {
        let traffic = &without_heads(traffic).unwrap_or_else(|| traffic.clone());
        let mut assembler = Assembler::default();
        let mut all = Vec::new();
        for datagram in traffic {
            let fds = datagram.gifts.iter().map(|gift| gift.open().unwrap());
            match assembler.push(&datagram.bytes, fds.collect()) {
                Ok(whole) => all.extend(whole),
                Err(_) => break,
            }
        }
        all
    }

    /// The format of a message, or of a request, may change: then what was valid is no more, and little is found with it.
    #[test]
    fn what_is_called_valid_is() {
        for folder in ["frames", "control", "streams"] {
            let place = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("corpus")
                .join(folder);
            let mut valid = 0;
            for entry in std::fs::read_dir(place).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if !name.starts_with("valid-") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let traffic = parse(&text, &names().symbols().unwrap()).unwrap();
                assert_eq!(without_heads(&traffic).is_some(), folder == "streams");
                let envelopes = envelopes(&traffic);
                assert!(!envelopes.is_empty(), "{name}");
                for envelope in &envelopes {
                    let of = types::of_key(&envelope.key.to_bytes()).unwrap();
                    (of.decode_from)(envelope).unwrap_or_else(|error| panic!("{name}: {error:?}"));
                }
                let datagrams = envelopes.iter().map(Envelope::len).sum::<u64>();
                let sent: u64 = traffic
                    .iter()
                    .map(|datagram| datagram.bytes.len() as u64)
                    .sum();
                assert!(folder != "control" || datagrams <= sent, "{name}");
                valid += 1;
            }
            assert!(valid > 0, "{folder}");
        }
    }

    /// Every request that there is, and every report.
    #[test]
    fn the_corpus_of_a_process_has_all_that_one_says() {
        let all: Vec<Envelope> = read("control", names())
            .unwrap()
            .iter()
            .flat_map(envelopes)
            .collect();
        let mut seen = [false; 8];
        for request in all.iter().filter_map(|envelope| envelope.decode().ok()) {
            let which = match request {
                Request::Spawn { .. } => 0,
                Request::Monitor { .. } => 1,
                Request::Demonitor { .. } => 2,
                Request::Connect { .. } => 3,
                Request::Processes { .. } => 4,
                Request::OsPid { .. } => 5,
                Request::Terminate { .. } => 6,
                Request::Kill { .. } => 7,
            };
            seen[which] = true;
        }
        assert_eq!(seen, [true; 8]);
        for kind in [kind::VALUE, kind::ERROR, kind::FAILURE, kind::PANIC] {
            assert!(all.iter().any(|envelope| envelope.kind == kind), "{kind}");
        }
    }
}
