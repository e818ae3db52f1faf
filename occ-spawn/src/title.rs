//! What ps(1), top(1) and the kernel's log call a process.

use std::ffi::CString;

use crate::boot::MARKER;

/// What a process of ours has for argv\[0\], once it has been recognised. What its program was called comes after it.
pub(crate) const PROCESS: &[u8; MARKER.len()] = b"occasional-proc";

/// Bytes that the kernel keeps of a name (`PR_SET_NAME`, prctl(2)).
const LONGEST: usize = 15;

/// The name of a process, which else would be called `exe`: by the link that it was started by.
pub(crate) struct Title(CString);

impl Title {
    /// That of a process that runs `function`.
    pub(crate) fn of(function: &str) -> Option<Title> {
        CString::new(short(function)).ok().map(Title)
    }

    /// This name, as far as there is room for it.
    pub(crate) fn exactly(name: &str) -> Option<Title> {
        CString::new(&name[..name.floor_char_boundary(LONGEST)])
            .ok()
            .map(Title)
    }

    /// Gives it to the calling process, which does its work without one as well.
    #[doc(alias = "PR_SET_NAME")]
    pub(crate) fn give(&self) {
        let _ = rustix::thread::set_name(&self.0);
    }
}

/// The last name in the path of a function that somebody has given, as far as there is room for it.
fn short(function: &str) -> &str {
    let mut last = "";
    let mut start = 0;
    // Within angle brackets stand types, with paths of their own.
    let mut depth = 0_usize;
    let mut before = b' ';
    for (i, byte) in function.bytes().enumerate() {
        match byte {
            b'<' | b':' if depth == 0 => {
                last = given(&function[start..i]).unwrap_or(last);
                start = i + 1;
            }
            // An arrow closes nothing.
            b'>' if before != b'-' => start = i + 1,
            _ => {}
        }
        match byte {
            b'<' => depth += 1,
            b'>' if before != b'-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = byte;
    }
    let name = given(&function[start..]).unwrap_or(last);
    &name[..name.floor_char_boundary(LONGEST)]
}

fn given(name: &str) -> Option<&str> {
    (!name.is_empty() && !name.starts_with('{')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_name_is_the_last_of_the_path() {
        for (function, name) in [
            ("hello::say_hello", "say_hello"),
            ("say_hello", "say_hello"),
            ("a::b::a_function_with_a_long_name", "a_function_with"),
            ("a::main::{{closure}}", "main"),
            ("a::main::{{closure}}::{{closure}}", "main"),
            ("a::worker<alloc::vec::Vec<u8>>", "worker"),
            ("a::worker<fn() -> b::c>::{{closure}}", "worker"),
            ("<a::Server<u8> as a::Run>::run", "run"),
            ("a::größe_des_ganzen", "größe_des_gan"),
            ("{{closure}}", ""),
            ("", ""),
        ] {
            assert_eq!(short(function), name, "{function}");
        }
    }
}
