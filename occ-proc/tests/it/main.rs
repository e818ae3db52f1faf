//! What occ-proc says of processes that live: of this one, of others, of those that end meanwhile, and of those that
//! keep whoever looks at them waiting.
#![cfg(test)]

mod command_line;
mod descriptors;
mod missing;
mod races;
mod sockets;
mod trees;

use std::process::{Child, Command, Stdio};

use occ_proc::{Change, Diff, OsPid, Snapshot};

fn own() -> Snapshot {
    Snapshot::of(OsPid::own()).unwrap()
}

/// What has changed in this process since.
fn since(before: &Snapshot) -> Diff {
    before.diff(&own())
}

#[track_caller]
fn assert_same(before: &Snapshot) {
    let diff = since(before);
    assert!(diff.is_empty(), "{diff}");
}

/// A program that lives until it is told to end.
struct Cat(Child);

impl Cat {
    fn new() -> Cat {
        let cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Cat(cat.unwrap())
    }

    fn os_pid(&self) -> OsPid {
        OsPid::new(self.0.id())
    }

    /// It has started for sure: it has answered.
    fn started(mut self) -> Cat {
        use std::io::{Read, Write};
        self.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        self.0
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut [0])
            .unwrap();
        self
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// The descriptors that were opened, and no other change.
#[track_caller]
fn opened(diff: &Diff) -> Vec<occ_proc::Fd> {
    let fds = diff.changes().iter().map(|change| match change {
        Change::Opened { fd, .. } => fd.clone(),
        other => panic!("{other}"),
    });
    fds.collect()
}
