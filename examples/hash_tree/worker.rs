//! What a worker does, and what the boss and a worker say to each other.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use occasional::{Pid, receive, send};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file.
pub(crate) type Digest = [u8; 32];

/// What became of a file: its digest, or why there is none.
pub(crate) type Outcome = Result<Digest, String>;

/// Bytes that are read at a time.
const CHUNK: usize = 128 * 1024;

/// What the boss tells a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Hash(Job),
    Stop,
}

/// A file to hash.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which file.
    pub(crate) number: usize,
    /// Where it is.
    pub(crate) path: Vec<u8>,
    /// Stop at this moment, say [`Holding`], and wait to be killed.
    pub(crate) hold: Option<Moment>,
}

/// When a worker is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    /// Nothing is done yet.
    BeforeHashing,
    /// All is done, and nobody knows.
    BeforeAnswering,
}

/// What a worker answers to a job.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) number: usize,
    pub(crate) outcome: Outcome,
}

/// What a worker says that holds a job and waits to be killed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Holding;

/// A worker: a function that runs as a process of its own. It ends with the number of files that it hashed.
pub(crate) fn work(boss: Pid) -> anyhow::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    serve(boss, |path| sha256(path, &mut buffer))
}

/// Does what the boss says until it says stop.
pub(crate) fn serve(
    boss: Pid,
    mut hash: impl FnMut(&Path) -> io::Result<Digest>,
) -> anyhow::Result<u64> {
    let mut hashed = 0;
    loop {
        let job = match receive()? {
            Order::Hash(job) => job,
            Order::Stop => return Ok(hashed),
        };
        hold(boss, &job, Moment::BeforeHashing)?;
        let outcome = hash(Path::new(OsStr::from_bytes(&job.path)));
        hold(boss, &job, Moment::BeforeAnswering)?;
        let outcome = outcome.map_err(|error| error.to_string());
        send(
            boss,
            Done {
                number: job.number,
                outcome,
            },
        )?;
        hashed += 1;
    }
}

/// Waits to be killed, if this is the moment. The kill is certain to hit a worker that holds a job, because nothing
/// else gets it out of here.
fn hold(boss: Pid, job: &Job, moment: Moment) -> anyhow::Result<()> {
    if job.hold != Some(moment) {
        return Ok(());
    }
    send(boss, Holding)?;
    loop {
        std::thread::park();
    }
}

/// Hashes a regular file.
fn sha256(path: &Path, buffer: &mut [u8]) -> io::Result<Digest> {
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Opens what was a regular file when the tree was listed. What has become a pipe meanwhile would block an ordinary
/// open for ever; a regular file does not care.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no longer a regular file"))
    }
}
