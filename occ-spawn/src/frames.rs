//! Where a thread was, as numbers: what a dying process can say at once of where it was.
//!
//! To find the names takes a process that has not done it before some 60 ms, most of it to read what the compiler wrote about the
//! image; to walk the stack takes a hundredth of a millisecond. So the dying process sends how far each return address lies
//! from the start of what it lies in, which is the same wherever that is mapped, and whoever shows it asks for names
//! (`resolver.rs`).

use std::fmt;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::image::Image;
use crate::sys;

/// Most frames that are told. Of a recursion without end the innermost are.
const MOST: usize = 256;

/// In place of those that are not.
pub(crate) const CUT: &str = "      [... and those that called it ...]";

/// Most objects that are named, and most bytes of a name: all of it is to fit one datagram, together with what a panic said.
const OBJECTS: usize = 32;
const NAME: usize = 256;

/// Where a thread was, innermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frames {
    /// Show all, and where they lie: as `RUST_BACKTRACE=full`.
    pub(crate) full: bool,
    /// The names of what the frames lie in, but for the program's own image.
    pub(crate) objects: Vec<String>,
    pub(crate) frames: Vec<Frame>,
}

/// A return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// In the program's own image, so far from its start.
    Image(u64),
    /// In another object, by its place in the list, so far from what the linker calls its base.
    Object(u16, u64),
    /// In nothing that the linker knows.
    Nowhere(u64),
}

impl Frames {
    /// Where the calling thread is, for a panic, if `RUST_BACKTRACE` asks for it; as `std` reads it.
    pub(crate) fn of_panic() -> Option<Frames> {
        let how = std::env::var_os("RUST_BACKTRACE")?;
        if how == "0" {
            return None;
        }
        let mut addresses = [0; MOST];
        let count = sys::return_addresses(&mut addresses);
        Some(Frames::of_addresses(&addresses[..count], how == "full"))
    }

    /// Where an error was made, if a backtrace of it was asked for and its addresses can be had; the process has nothing
    /// more to do.
    ///
    /// `std` walks the stack when an error is made, and looks for names when that is to be shown. It gives the addresses as text alone,
    /// and after it has looked for names. So it is asked where it can open no file.
    pub(crate) fn of_backtrace(backtrace: &std::backtrace::Backtrace) -> Option<Frames> {
        let text = without_files(|| format!("{backtrace:#}"))?;
        let addresses = addresses_in(&text);
        if addresses.is_empty() {
            return None;
        }
        let how = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"]
            .iter()
            .find_map(std::env::var_os);
        let full = how.is_some_and(|how| how == "full");
        Some(Frames::of_addresses(&addresses, full))
    }

    /// True when there may be more than are told.
    pub(crate) fn is_cut(&self) -> bool {
        self.frames.len() >= MOST
    }

    fn of_addresses(addresses: &[usize], full: bool) -> Frames {
        let mut objects = Vec::new();
        let frames = addresses.iter().take(MOST);
        let frames = frames
            .map(|address| place(*address, &mut objects))
            .collect();
        Frames {
            full,
            objects,
            frames,
        }
    }
}

/// Runs `body` where no file can be opened; `None` where that cannot be had.
fn without_files<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    if !sys::was_single_threaded() {
        return sys::without_files(body);
    }
    // A thread costs more, and nobody else is here to miss anything.
    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    none.current = Some(0);
    setrlimit(Resource::Nofile, none).ok()?;
    let result = body();
    let _ = setrlimit(Resource::Nofile, before);
    Some(result)
}

/// What an address lies in, and how far from its start.
fn place(address: usize, objects: &mut Vec<String>) -> Frame {
    if Image::own().is_code(address) {
        return Frame::Image(Image::offset_of(address));
    }
    let mut found = Frame::Nowhere(address as u64);
    sys::each_object(&mut |name, bias, headers| {
        let holds = headers.iter().any(|header| {
            let start = bias.wrapping_add(header.p_vaddr as usize);
            header.p_type == libc::PT_LOAD
                && (start..start.wrapping_add(header.p_memsz as usize)).contains(&address)
        });
        if !holds || name.is_empty() {
            return;
        }
        let mut name = name.to_string_lossy().into_owned();
        name.truncate(name.floor_char_boundary(NAME));
        let known = objects.iter().position(|object| *object == name);
        let number = known.unwrap_or(objects.len());
        if number == OBJECTS {
            return;
        }
        if known.is_none() {
            objects.push(name);
        }
        found = Frame::Object(number as u16, address.wrapping_sub(bias) as u64);
    });
    found
}

/// The addresses in what `std` writes of a backtrace when all is asked for: `   3:     0x5601c0ffee00 - a name`.
fn addresses_in(text: &str) -> Vec<usize> {
    let address = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let _: usize = number.trim().parse().ok()?;
        let (address, _) = rest.split_once(" - ")?;
        usize::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()
    };
    let all = text.lines().filter_map(address);
    all.filter(|address| *address != 0).collect()
}

impl Frame {
    /// How far it lies from the start of what it lies in.
    pub(crate) fn place(self) -> u64 {
        match self {
            Frame::Image(place) | Frame::Object(_, place) | Frame::Nowhere(place) => place,
        }
    }

    /// As it is written where no name is found: `image+0x1234`.
    pub(crate) fn name(self, frames: &Frames) -> String {
        match self {
            Frame::Image(offset) => format!("image+{offset:#x}"),
            Frame::Object(number, offset) => {
                let path = frames.objects.get(usize::from(number));
                let name = path.and_then(|path| path.rsplit('/').next());
                format!("{}+{offset:#x}", name.unwrap_or("?"))
            }
            Frame::Nowhere(address) => format!("{address:#x}"),
        }
    }
}

/// Without names.
impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, frame) in self.frames.iter().enumerate() {
            writeln!(f, "{number:4}: {}", frame.name(self))?;
        }
        if self.is_cut() {
            writeln!(f, "{CUT}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_std_writes_of_a_backtrace_has_its_addresses() {
        let backtrace = std::backtrace::Backtrace::force_capture();
        let addresses = addresses_in(&format!("{backtrace:#}"));
        let image = Image::own();
        assert!(addresses.len() > 3, "{backtrace:#}");
        assert!(image.is_code(addresses[0]) && image.is_code(addresses[1]));
    }

    #[test]
    fn lines_of_another_kind_have_none() {
        let text = "   0:     0x10 - a::b\n                   at ./src/a.rs:3:4\n                         - c\n   1:  \
                    0x0 - <unknown>\n 2: short\nx: 0x5 - y\n";
        assert_eq!(addresses_in(text), [16]);
        assert!(addresses_in("").is_empty());
    }

    #[test]
    fn an_address_is_told_by_what_it_lies_in() {
        let ours = lines_of_another_kind_have_none as fn() as usize;
        let of_libc = libc::getpid as unsafe extern "C" fn() -> libc::pid_t as usize;
        let frames = Frames::of_addresses(&[ours, of_libc, 5], false);
        assert_eq!(frames.frames[0], Frame::Image(Image::offset_of(ours)));
        assert_eq!(frames.frames[2], Frame::Nowhere(5));
        let text = frames.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("   0: image+0x"), "{text}");
        if let Frame::Object(..) = frames.frames[1] {
            assert!(lines[1].starts_with("   1: libc.so.6+0x"), "{text}");
        }
        assert_eq!(lines[2], "   2: 0x5");
    }

    #[test]
    fn no_more_than_so_many_are_told() {
        let frames = Frames::of_addresses(&[1; MOST + 1], true);
        assert_eq!(frames.frames.len(), MOST);
        let text = frames.to_string();
        assert!(
            text.ends_with("[... and those that called it ...]\n"),
            "{text}"
        );
    }
}
