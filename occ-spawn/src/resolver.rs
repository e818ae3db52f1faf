//! Names for addresses: found by a process of the same image, which lives for as long as that takes.
//!
//! ```text
//! whoever shows a backtrace          helper
//! BOOT { frames } ─────────────────▶ reads what the compiler wrote about the image
//! ◀───────────────────────────────── BACKTRACE { text }, and is ended
//! ```
//!
//! The caller's own memory stays as it is, and a hang or a crash over what is in the image is the helper's alone: the caller
//! waits for so long and no longer.

use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use backtrace::{BacktraceFmt, BytesOrWideString, PrintFmt, SymbolName};
use occ_sck::{Deadline, Packet};

use crate::boot;
use crate::descriptor::{Context, Descriptor};
use crate::frames::{CUT, Frame, Frames};
use crate::image::Image;
use crate::outcome::{End, kind};
use crate::sys;
use crate::title::Title;

/// How long the helper may take. With gigabytes to read it takes seconds.
const LIMIT: Duration = Duration::from_secs(10);

const ENTRY: &Descriptor = &Descriptor::new(|| "backtrace", main);

/// Between these two a short backtrace begins and ends, as in `std`.
const BEGIN: &str = "__rust_end_short_backtrace";
const END: &str = "__rust_begin_short_backtrace";

/// The part of `std` that walks the stack for an error.
const WALKER: &str = "std::backtrace";

/// The frames with names; `None` where no helper can be had, or it does not answer.
pub(crate) fn ask(frames: &Frames) -> Option<String> {
    let mut args = Vec::new();
    occ_sck::encode_into(frames, &mut args).ok()?;
    let helper = boot::launch(ENTRY, args, &[]).ok()?;
    let answer = boot::receive_one(&helper.socket, Deadline::after(LIMIT));
    helper.end();
    let answer = answer.ok()?;
    (answer.kind == kind::BACKTRACE).then(|| answer.decode().ok())?
}

/// What the helper does.
fn main(mut context: Context) -> End {
    if let Some(title) = Title::of("occ-backtrace") {
        title.give();
    }
    // Whoever asked has the addresses, and nobody reads what is said here.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let frames: Frames = context.take_args().ok()?;
        let packet = Packet::of(kind::BACKTRACE, &text_of(&frames)).ok()?;
        let deadline = Deadline::after(LIMIT);
        packet.send_whole(context.control, &[], deadline).ok()
    }));
    End::value(&())
}

/// A function that an address lies in. There are more where one was inlined into another.
struct Symbol {
    name: Vec<u8>,
    file: Option<PathBuf>,
    line: Option<u32>,
    column: Option<u32>,
}

/// A frame, and what is known there.
type Line = (Frame, Option<Symbol>);

fn text_of(frames: &Frames) -> String {
    let bases = bases_of(&frames.objects);
    let mut lines = Vec::new();
    for frame in &frames.frames {
        let symbols = address_of(*frame, &bases).map(symbols_at);
        let symbols = symbols.unwrap_or_default();
        if symbols.is_empty() {
            lines.push((*frame, None));
        }
        lines.extend(symbols.into_iter().map(|symbol| (*frame, Some(symbol))));
    }
    let named = Named {
        frames,
        lines: if frames.full { &lines } else { short(&lines) },
        folder: std::env::current_dir().ok(),
    };
    named.to_string()
}

/// What a short backtrace has of it.
fn short(lines: &[Line]) -> &[Line] {
    let is_in = |name: &'static str| move |line: &Line| is_in(line, name);
    let begin = match lines.iter().position(is_in(BEGIN)) {
        // Before the mark stands what made a panic of it.
        Some(mark) => mark + 1,
        // An error has none, and first what walked the stack for it.
        None => {
            let walked = lines.iter().take_while(|line| is_in(WALKER)(line));
            walked.count()
        }
    };
    let lines = lines.get(begin..).unwrap_or_default();
    let end = lines.iter().position(is_in(END));
    &lines[..end.unwrap_or(lines.len())]
}

fn is_in((_, symbol): &Line, name: &str) -> bool {
    symbol.as_ref().is_some_and(|symbol| {
        let whole = format!("{:#}", SymbolName::new(&symbol.name));
        whole.contains(name)
    })
}

/// Where the objects are in this process, by their names.
fn bases_of(objects: &[String]) -> Vec<Option<usize>> {
    let mut bases = vec![None; objects.len()];
    sys::each_object(&mut |name, bias, _| {
        for (object, base) in objects.iter().zip(&mut bases) {
            if name.to_bytes() == object.as_bytes() {
                *base = Some(bias);
            }
        }
    });
    bases
}

/// Where in this process is what the frame names.
fn address_of(frame: Frame, bases: &[Option<usize>]) -> Option<usize> {
    match frame {
        Frame::Image(offset) => Some(Image::address_at(offset)),
        Frame::Object(number, offset) => {
            let base = (*bases.get(usize::from(number))?)?;
            Some(base.wrapping_add(offset as usize))
        }
        Frame::Nowhere(_) => None,
    }
}

fn symbols_at(address: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    backtrace::resolve(ptr::without_provenance_mut(address), |symbol| {
        if let Some(name) = symbol.name() {
            symbols.push(Symbol {
                name: name.as_bytes().to_vec(),
                file: symbol.filename().map(Path::to_owned),
                line: symbol.lineno(),
                column: symbol.colno(),
            });
        }
    });
    symbols
}

/// Writes them as `std` does.
struct Named<'a> {
    frames: &'a Frames,
    lines: &'a [Line],
    folder: Option<PathBuf>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.frames.full;
        let style = if full {
            PrintFmt::Full
        } else {
            PrintFmt::Short
        };
        // The formatter may live longer than what it is called with.
        let folder = self.folder.clone();
        let mut path = move |f: &mut fmt::Formatter<'_>, file: BytesOrWideString<'_>| {
            write_path(f, &file.into_path_buf(), folder.as_deref(), full)
        };
        let mut out = BacktraceFmt::new(f, style, &mut path);
        for (frame, symbol) in self.lines {
            let place: *mut c_void = ptr::without_provenance_mut(frame.place() as usize);
            let Some(symbol) = symbol else {
                let name = frame.name(self.frames);
                let name = Some(SymbolName::new(name.as_bytes()));
                out.frame()
                    .print_raw_with_column(place, name, None, None, None)?;
                continue;
            };
            let file = symbol.file.as_ref();
            out.frame().print_raw_with_column(
                place,
                Some(SymbolName::new(&symbol.name)),
                file.map(|file| BytesOrWideString::Bytes(file.as_os_str().as_encoded_bytes())),
                symbol.line,
                symbol.column,
            )?;
        }
        let last = self.lines.last().map(|(frame, _)| frame);
        if self.frames.is_cut() && last == self.frames.frames.last() {
            writeln!(out.formatter(), "{CUT}")?;
        }
        out.finish()
    }
}

/// What lies in the working directory is written from there on.
fn write_path(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    folder: Option<&Path>,
    full: bool,
) -> fmt::Result {
    if !full
        && let Some(folder) = folder
        && let Ok(rest) = path.strip_prefix(folder)
    {
        return write!(f, "./{}", rest.display());
    }
    write!(f, "{}", path.display())
}
