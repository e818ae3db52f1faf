//! Memory that forks do not get.
//!
//! A page that two processes share after a fork is copied for the one that writes first, and is the other's alone from then on. So what a
//! zygote writes for each process would be a page of each of them, which never looks at it. What it has here is copied for nobody.
#![expect(unsafe_code, reason = "maps memory")]

use std::io;
use std::ptr;

/// So many times `value`, for as long as the process. A fork must not touch them: there is nothing at that place.
#[doc(alias = "MADV_DONTFORK")]
pub(crate) fn unforked<T: Copy>(count: usize, value: T) -> io::Result<&'static mut [T]> {
    let size = count * size_of::<T>();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    let memory = unsafe { libc::mmap(ptr::null_mut(), size, prot, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(memory, size, libc::MADV_DONTFORK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let first = memory.cast::<T>();
    for i in 0..count {
        // SAFETY: within the mapping, which is aligned to a page.
        unsafe { first.wrapping_add(i).write(value) };
    }
    // SAFETY: all of it is initialised, nobody else knows of it, and it is never unmapped.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, count) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of the mapping that this is in.
    fn flags(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("/proc/self/smaps");
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let holds = |line: &str| {
            let range = line.split(' ').next()?.split_once('-')?;
            Some((number(range.0)?..number(range.1)?).contains(&address))
        };
        let rest = maps.lines().skip_while(|line| holds(line) != Some(true));
        let mut flags = rest.filter_map(|line| line.strip_prefix("VmFlags:"));
        flags.next().expect("the mapping").to_owned()
    }

    #[test]
    fn forks_do_not_get_it() {
        let memory = unforked(3, (7_u64, 8_u32)).expect("memory");
        assert_eq!(memory, [(7, 8); 3]);
        let flags = flags(memory.as_ptr().addr());
        assert!(flags.split(' ').any(|flag| flag == "dc"), "{flags}");
    }
}
