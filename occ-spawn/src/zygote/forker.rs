//! The zygote itself: what it does from its first line to its end.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use occ_proc::OsPid;
use occ_sck::{Assembler, Deadline, Envelope, Limits, MAX_DATAGRAM, Packet, Received, Socket};
use occ_yeshup::Parent;
use rustix::fs::{Mode, OFlags};

use super::Settings;
use super::start::Start;
use crate::boot;
use crate::descriptor::{Context, Descriptor, Encoded};
use crate::outcome::{End, ErrorReport, kind};
use crate::process::{self, Before};
use crate::sys::{self, ForkKind, ForkState};
use crate::title::Title;

/// How many of its children a zygote can still name.
const REMEMBERED: usize = 4096;

/// What a zygote does, from its first line to its end.
pub(super) fn main(context: Context) -> End {
    let control = context.control;
    match Forker::new(context) {
        Ok(forker) => forker.serve(),
        Err(why) => {
            boot::refuse(control, &why);
            End::words(ErrorReport {
                chain: vec![why],
                backtrace: None,
            })
        }
    }
}

struct Forker {
    requests: &'static Socket,
    parent: Parent,
    /// The standard input that the image was booted with.
    stdin: Option<OwnedFd>,
    fork: ForkState,
    forked: Forked,
    buffer: &'static mut [u8],
    before: Before,
}

impl Forker {
    #[inline(never)]
    fn new(mut context: Context) -> Result<Forker, String> {
        let control = context.control;
        let settings: Settings = context.take_args().map_err(|e| e.to_string())?;
        let parent = Parent::from_os_pid(settings.parent.get())
            .ok_or_else(|| format!("{} is no process", settings.parent))?;
        occ_yeshup::arm(parent).map_err(|e| e.to_string())?;
        boot::is_alone()?;

        // Everything that a process needs and that a fork passes on is done here, once; and what
        // initialisers have left in stdout's buffer is written now, or every process would.
        let _ = io::stdout().flush();
        let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 10).ok();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty())
            .map_err(|e| format!("/dev/null cannot be opened: {e}"))?;
        sys::duplicate_to(null.as_fd(), 0, false).map_err(|e| e.to_string())?;
        drop(null);
        if let Some(soft) = settings.nofile {
            let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            limit.current = Some(soft);
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
                .map_err(|e| e.to_string())?;
        }
        let fork = boot::fork_state()?;
        crate::panic::install_hook();
        sys::set_up_signals();
        sys::unblock_signals();
        if let Some(title) = Title::of("occ-zygote") {
            title.give();
        }
        crate::image::Image::own();
        sys::was_single_threaded();
        sys::map_own_record().map_err(|e| format!("no memory: {e}"))?;
        rehearse(control, settings.rehearsal, context.fds)?;
        Ok(Forker {
            requests: control,
            parent,
            stdin,
            fork,
            forked: Forked::new().map_err(|e| format!("no memory: {e}"))?,
            buffer: sys::unforked(MAX_DATAGRAM, 0).map_err(|e| format!("no memory: {e}"))?,
            before: Before::new(),
        })
    }

    fn serve(mut self) -> End {
        loop {
            let mut fds = Vec::new();
            let received = self
                .requests
                .receive(self.buffer, &mut fds, Deadline::Never);
            match received {
                Ok(Received::Datagram { len, .. }) => {
                    let envelope = Assembler::new(Limits::default()).push(&self.buffer[..len], fds);
                    match envelope {
                        Ok(Some(envelope)) if envelope.kind == kind::REQUEST => self.fork(envelope),
                        Ok(Some(envelope)) if envelope.kind == kind::WHICH => self.which(&envelope),
                        // Descriptors that came with anything else are closed, and their other ends tell.
                        _ => {}
                    }
                }
                Ok(Received::Closed) => return End::value(&()),
                // Descriptors were lost: whoever holds their other ends sees the end of them.
                Ok(Received::Nothing) | Err(occ_sck::ReceiveError::Frame(_)) => {}
                Err(error) => {
                    let chain = vec![error.to_string()];
                    return End::words(ErrorReport {
                        chain,
                        backtrace: None,
                    });
                }
            }
        }
    }

    fn which(&self, envelope: &Envelope) {
        let Ok(serial) = envelope.decode::<u64>() else {
            return;
        };
        let answer = (serial, self.forked.find(serial).map(OsPid::new));
        if let Ok(packet) = Packet::of(kind::WHICH, &answer) {
            let _ = packet.send_part(0, self.requests, &[], Deadline::Never);
        }
    }

    #[expect(unsafe_code, reason = "forks")]
    fn fork(&mut self, envelope: Envelope) {
        let Some(start) = Start::read(envelope) else {
            return;
        };
        if !self.before.make_ready(&start) {
            return;
        }
        let kind = if start.namespace {
            ForkKind::InNamespace
        } else {
            ForkKind::Sibling
        };
        // SAFETY: a zygote has one thread, and `fork` was made by it. The child goes on with none of what forks do not get.
        match unsafe { sys::fork(&self.fork, kind) } {
            Ok(None) => process::run(start, &self.before, self.parent, self.stdin.take()),
            Ok(Some(pid)) => self.forked.add(start.serial, pid),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                if let Ok(packet) = Packet::of(kind::FORK_FAILED, &errno) {
                    let _ = packet.send_part(0, &start.control, &[], Deadline::Now);
                }
            }
        }
    }
}

/// Who was forked for what, as far back as is remembered.
struct Forked {
    last: &'static mut [(u64, u32)],
    count: usize,
}

impl Forked {
    fn new() -> io::Result<Forked> {
        let last = sys::unforked(REMEMBERED, (0, 0))?;
        Ok(Forked { last, count: 0 })
    }

    fn add(&mut self, serial: u64, os_pid: u32) {
        self.last[self.count % REMEMBERED] = (serial, os_pid);
        self.count += 1;
    }

    /// The last that was forked for it.
    fn find(&self, serial: u64) -> Option<u32> {
        let oldest = self.count.saturating_sub(REMEMBERED);
        let mut places = (oldest..self.count).rev().map(|i| i % REMEMBERED);
        places.find_map(|place| {
            let (of, os_pid) = self.last[place];
            (of == serial).then_some(os_pid)
        })
    }
}

/// Does what every process would do for its first time, and what a fork passes on as done: rustix asks the kernel for the
/// size of a page, and the first thread local that has a destructor lets the dynamic linker look for a symbol.
fn rehearse(control: &'static Socket, rehearsal: u64, fds: Vec<OwnedFd>) -> Result<(), String> {
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {}
    }
    thread_local!(static LAST: Last = const { Last });
    LAST.with(|_| ());
    if rehearsal != 0 {
        let entry = Descriptor::find(rehearsal).map_err(|e| e.to_string())?;
        drop(entry.run(Context {
            control,
            args: Encoded::Here(Vec::new()),
            with_args: Vec::new(),
            preface: Vec::new(),
            fds,
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_was_forked_for_a_number_is_found_and_those_long_ago_are_not() {
        let mut forked = Forked::new().expect("memory");
        assert_eq!(forked.find(0), None);
        forked.add(7, 100);
        forked.add(7, 101);
        assert_eq!(forked.find(7), Some(101));
        for number in 1..REMEMBERED {
            forked.add(1000 + number as u64, 0);
        }
        assert_eq!(forked.find(7), Some(101));
        forked.add(8, 102);
        assert_eq!(forked.find(7), None);
        assert_eq!(forked.find(8), Some(102));
    }
}
