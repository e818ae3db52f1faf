//! What holds here of what a process starts: which levels of containment can be had, and what none of them covers.

use std::fmt;
use std::fs;

use crate::containment::Containment;
use crate::control_group::{self, Purpose};

/// What holds on this machine, for this user, of what processes start in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LifetimeGuarantee {
    /// How it is ended with its process, unless a builder asks for something else.
    pub ordinarily: Containment,
    /// Each level, and why it cannot be had where that is so.
    pub levels: Vec<(Containment, Result<(), String>)>,
    /// What ends later than its process, or not at all.
    pub limits: Vec<&'static str>,
}

/// The bit of `CAP_SYS_ADMIN` (capabilities(7)).
const SYS_ADMIN: u32 = 21;

const LIMITS: [&str; 4] = [
    "a program that gains privileges by being executed (set-user-ID, set-group-ID, file capabilities) is not tied to its parent's \
     life any more, and may be somebody whom this user cannot kill",
    "sweep: what sets its soft limits on locks and resident memory itself ends with the system, not with its process",
    "process group: what leaves the group ends with the system, not with its process",
    "when the guard is killed, its processes end, and what those have started survives, except in PID namespaces",
];

impl LifetimeGuarantee {
    /// Looks what holds here. Nothing is left of that.
    pub fn here() -> LifetimeGuarantee {
        let levels = [
            Containment::ProcessGroup,
            Containment::Sweep,
            Containment::ControlGroup,
            Containment::PidNamespace,
        ];
        LifetimeGuarantee {
            ordinarily: Containment::default(),
            levels: levels.map(|level| (level, can_be_had(level))).to_vec(),
            limits: LIMITS.to_vec(),
        }
    }

    /// Whether a level can be had.
    pub fn has(&self, containment: Containment) -> bool {
        let mut levels = self.levels.iter();
        levels.any(|(level, had)| *level == containment && had.is_ok())
    }
}

fn can_be_had(level: Containment) -> Result<(), String> {
    match level {
        Containment::ProcessGroup => Ok(()),
        Containment::Sweep => match fs::read_dir("/proc") {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("/proc: {error}")),
        },
        Containment::ControlGroup => {
            let purpose = Purpose {
                kill: true,
                ..Purpose::NONE
            };
            control_group::try_out(purpose).map_err(|none| none.why)
        }
        Containment::PidNamespace => {
            let status = fs::read_to_string("/proc/self/status").map_err(|e| e.to_string())?;
            let mut lines = status.lines();
            let effective = lines.find_map(|line| line.strip_prefix("CapEff:"));
            let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
            if bits.is_some_and(|bits| bits & (1 << SYS_ADMIN) == 0) {
                return Err("it takes CAP_SYS_ADMIN".to_owned());
            }
            match fs::read_to_string("/proc/sys/user/max_pid_namespaces") {
                Ok(most) if most.trim() == "0" => {
                    Err("/proc/sys/user/max_pid_namespaces is 0".to_owned())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(format!("/proc/sys/user/max_pid_namespaces: {error}")),
            }
        }
    }
}

/// Some lines, for people.
impl fmt::Display for LifetimeGuarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "what a process starts ends with it, ordinarily by {}; and all of it with the system",
            self.ordinarily
        )?;
        for (level, had) in &self.levels {
            match had {
                Ok(()) => writeln!(f, "- {level}: can be had")?,
                Err(why) => writeln!(f, "- {level}: cannot be had here: {why}")?,
            }
        }
        f.write_str("but:")?;
        for limit in &self.limits {
            write!(f, "\n- {limit}")?;
        }
        Ok(())
    }
}
