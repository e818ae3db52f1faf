//! Lists the files of a tree: those that `find DIR -type f` names, named as it names them.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::Context;

use super::line::shown;
use super::summary::Unreadable;

/// What is in a tree.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The regular files, by the bytes of their paths.
    pub(crate) files: Vec<Vec<u8>>,
    /// What could not be looked into.
    pub(crate) unreadable: Vec<Unreadable>,
}

/// Lists the regular files in `dir`, or `dir` if it is one itself.
///
/// Symbolic links are not followed. A `dir` that ends with a slash is what the link points to: the kernel says so.
pub(crate) fn list(dir: &[u8]) -> anyhow::Result<Listing> {
    let found = fs::symlink_metadata(path(dir))
        .with_context(|| String::from_utf8_lossy(&shown(dir)).into_owned())?;
    let mut listing = Listing::default();
    let mut dirs = Vec::new();
    listing.add(dir.to_vec(), found.file_type(), &mut dirs);
    while let Some(dir) = dirs.pop() {
        if let Err(error) = listing.add_all_in(&dir, &mut dirs) {
            listing.miss(dir, &error);
        }
    }
    listing.files.sort_unstable();
    listing.unreadable.sort_unstable();
    Ok(listing)
}

impl Listing {
    fn add(&mut self, name: Vec<u8>, kind: FileType, dirs: &mut Vec<Vec<u8>>) {
        if kind.is_file() {
            self.files.push(name);
        } else if kind.is_dir() {
            dirs.push(name);
        }
    }

    fn add_all_in(&mut self, dir: &[u8], dirs: &mut Vec<Vec<u8>>) -> io::Result<()> {
        for entry in fs::read_dir(path(dir))? {
            let entry = entry?;
            let name = join(dir, &entry);
            match entry.file_type() {
                Ok(kind) => self.add(name, kind, dirs),
                Err(error) => self.miss(name, &error),
            }
        }
        Ok(())
    }

    fn miss(&mut self, path: Vec<u8>, error: &io::Error) {
        self.unreadable.push(Unreadable {
            path,
            reason: error.to_string(),
        });
    }
}

/// As find does: a slash between the two unless there is one.
fn join(dir: &[u8], entry: &DirEntry) -> Vec<u8> {
    let slash: &[u8] = if dir.ends_with(b"/") { b"" } else { b"/" };
    [dir, slash, &entry.file_name().into_vec()].concat()
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
