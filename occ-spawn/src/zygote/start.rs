//! A request, as it is read: by the zygote for a new process, and by a spare.

use std::os::fd::OwnedFd;

use occ_sck::{Blob, Envelope, Socket};

use super::request::{Rest, Wire};
use crate::descriptor::Encoded;
use crate::options::plan::{NotBegun, Plan, Step};
use crate::outcome::kind;

/// A request as the zygote hands it to the new process.
pub(crate) struct Start {
    pub(crate) serial: u64,
    pub(crate) function: u64,
    pub(crate) keep_stdin: bool,
    pub(crate) mark: Option<u64>,
    pub(crate) control: Socket,
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) args: Vec<u8>,
    pub(crate) preface: Vec<u8>,
    pub(crate) blob: Option<(OwnedFd, u64)>,
    /// Where they begin in it.
    pub(crate) args_at: u64,
    pub(crate) plan: u64,
    executes: bool,
    pub(crate) namespace: bool,
    pub(crate) joins: Vec<OwnedFd>,
    pub(crate) given: Vec<OwnedFd>,
    pub(crate) with_args: Vec<OwnedFd>,
    pub(crate) spare: bool,
    pub(crate) likely: u64,
}

impl Start {
    /// `None` for a request that is not one; its sockets are closed, and their other ends tell.
    pub(super) fn read(envelope: Envelope) -> Option<Start> {
        let wire: Wire = envelope.decode().ok()?;
        let mut fds = envelope.fds.into_iter();
        let control = Socket::from(fds.next()?);
        let socket = if wire.has_socket {
            Some(fds.next()?)
        } else {
            None
        };
        let blob = match wire.blob {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        let joins: Vec<OwnedFd> = fds.by_ref().take(wire.joins as usize).collect();
        let given: Vec<OwnedFd> = fds.by_ref().take(wire.given as usize).collect();
        let with_args: Vec<OwnedFd> = fds.collect();
        let came = [joins.len(), given.len(), with_args.len()];
        if came != [wire.joins, wire.given, wire.with_args].map(|count| count as usize) {
            return None;
        }
        Some(Start {
            serial: wire.serial,
            function: wire.function,
            keep_stdin: wire.keep_stdin,
            mark: wire.mark,
            control,
            socket,
            args: wire.args.0,
            preface: wire.preface.0,
            blob,
            args_at: 0,
            plan: wire.plan,
            executes: wire.executes,
            namespace: wire.namespace,
            joins,
            given,
            with_args,
            spare: wire.spare,
            likely: wire.likely,
        })
    }

    /// The options, which stand before the arguments. It may be called before the descriptors of others are closed: it reads
    /// nothing but a memory file.
    pub(crate) fn take_plan(&mut self) -> Result<Option<Box<Plan>>, NotBegun> {
        let wrong = |why: String| NotBegun {
            step: Step::Orders,
            what: format!("({why})"),
            errno: libc::EBADMSG,
        };
        // Whoever waits for a program to be executed must not wait for a function, which may never end.
        let disagree = || {
            wrong(
                "it is said to execute a program, and is told none, or the other way round"
                    .to_owned(),
            )
        };
        if self.plan == 0 {
            return if self.executes {
                Err(disagree())
            } else {
                Ok(None)
            };
        }
        let here = self
            .blob
            .as_ref()
            .map_or(self.args.len() as u64, |(_, len)| *len);
        if self.plan > here {
            return Err(wrong(format!(
                "{} bytes of options, and {here} in all",
                self.plan
            )));
        }
        let len = usize::try_from(self.plan).unwrap_or(usize::MAX);
        let plan = if let Some((fd, in_all)) = self.blob.take() {
            let blob = Blob::from_fd(fd, in_all).map_err(|error| wrong(error.to_string()))?;
            let mut plan = Vec::new();
            blob.read_at(0, &mut plan, len)
                .map_err(|error| wrong(error.to_string()))?;
            self.args_at = self.plan;
            self.blob = Some((blob.into(), in_all));
            plan
        } else {
            let args = self.args.split_off(len);
            std::mem::replace(&mut self.args, args)
        };
        let plan: Box<Plan> = occ_sck::decode(&plan).map_err(|error| wrong(error.to_string()))?;
        if plan.program.is_some() != self.executes {
            return Err(disagree());
        }
        Ok(Some(plan))
    }
}

/// What a spare is told to become.
pub(crate) struct Work {
    pub(crate) function: u64,
    args: Vec<u8>,
    pub(crate) with_args: Vec<OwnedFd>,
    blob: Option<(OwnedFd, u64)>,
}

impl Work {
    /// `None` for anything else.
    pub(crate) fn read(envelope: Envelope) -> Option<Work> {
        if envelope.kind != kind::START {
            return None;
        }
        let rest: Rest = envelope.decode().ok()?;
        let mut fds = envelope.fds.into_iter();
        let blob = match rest.blob {
            Some(len) => Some((fds.next()?, len)),
            None => None,
        };
        let with_args: Vec<OwnedFd> = fds.collect();
        if with_args.len() != rest.with_args as usize {
            return None;
        }
        Some(Work {
            function: rest.function,
            args: rest.args.0,
            with_args,
            blob,
        })
    }

    pub(crate) fn args(&mut self) -> Result<Encoded, String> {
        match self.blob.take() {
            None => Ok(Encoded::Here(std::mem::take(&mut self.args))),
            Some((fd, len)) => Encoded::in_file(fd, len, 0),
        }
    }
}
