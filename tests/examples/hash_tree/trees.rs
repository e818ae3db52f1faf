//! Trees that programs trip over.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};

use crate::scratch::Scratch;

/// Names that are hard to print, to sort, to escape or to decode.
const NAMES: &[&[u8]] = &[
    b"plain",
    b"with space",
    b" leading and trailing ",
    b"new\nline",
    b"\n",
    b"back\\slash",
    b"\\",
    b"both\\\n\r",
    b"carriage\rreturn",
    b"\ttab",
    b"not utf-8 \xff\xfe",
    b"\x80",
    "größe λ 🌳".as_bytes(),
    b"-n",
    b"--help",
    b"-",
    b"*",
    b"$HOME",
    b"'single' \"double\"",
    b".hidden",
    b"...",
    b"~",
];

/// A scratch directory with a tree in `tree`, and links beside it.
pub(crate) fn odd() -> Scratch {
    let scratch = Scratch::new();
    let tree = scratch.join("tree");
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    // Names sort as whole paths do: "a-b" comes before "a/...", and "a0" after it.
    for dir in ["a", "a/deeper", "empty dir", "a/deeper/still"] {
        fs::create_dir(tree.join(dir)).unwrap();
    }
    for file in ["a-b", "a0", "a.txt", "a/z"] {
        fs::write(tree.join(file), file).unwrap();
    }
    fill(&tree.join("a/deeper"));
    fill(&tree.join("a/deeper/still"));
    for dir in [
        b"dir\nwith newline".as_slice(),
        b"dir \xff",
        b"-dir",
        b"dir\\",
    ] {
        let dir = tree.join(OsStr::from_bytes(dir));
        fs::create_dir(&dir).unwrap();
        fill(&dir);
    }
    fs::write(tree.join("large"), large()).unwrap();
    add_what_is_no_file(&tree);
    symlink("tree", scratch.join("link")).unwrap();
    scratch
}

/// So many small files in `tree`.
pub(crate) fn of(files: usize) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("tree")).unwrap();
    for number in 0..files {
        scratch.file(format!("tree/{number}"), number.to_string());
    }
    scratch
}

/// A tree of which one directory lies so deep that its path is longer than the kernel takes.
pub(crate) fn too_deep() -> Scratch {
    let scratch = of(3);
    let name = "d".repeat(250);
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, scratch.join("tree"), flags, Mode::empty()).unwrap();
    for _ in 0..20 {
        mkdirat(&dir, &name, Mode::RWXU).unwrap();
        dir = openat(&dir, &name, flags, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(&dir, "out of reach", flags, Mode::RUSR).unwrap();
    scratch
}

fn fill(dir: &Path) {
    for name in NAMES {
        let path = dir.join(OsStr::from_bytes(name));
        fs::write(&path, path.as_os_str().as_bytes()).unwrap();
    }
    fs::write(dir.join("empty"), "").unwrap();
}

/// 5 MiB, and a bit, that do not repeat at any power of two.
fn large() -> Vec<u8> {
    (0..5 * 1024 * 1024 + 7_u32)
        .map(|i| (i % 251) as u8)
        .collect()
}

fn add_what_is_no_file(tree: &Path) {
    symlink("plain", tree.join("link to a file")).unwrap();
    symlink("a", tree.join("link to a directory")).unwrap();
    symlink("..", tree.join("a/link up")).unwrap();
    symlink("nothing", tree.join("dangling")).unwrap();
    // Whoever opens a fifo to read it waits for a writer, and there is none.
    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        mknodat(CWD, tree.join(name), kind, Mode::RUSR, 0).unwrap();
    }
}
