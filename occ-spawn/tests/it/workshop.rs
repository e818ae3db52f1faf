//! Small packages that are built for a test, each depending on this crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One package, whose program is replaced: its dependencies are built once.
pub(crate) struct Workshop {
    folder: PathBuf,
    /// Lines at the end of its manifest.
    profile: &'static str,
}

impl Workshop {
    pub(crate) fn new(name: &str, profile: &'static str) -> Workshop {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("src")).unwrap();
        Workshop { folder, profile }
    }

    /// Builds a program, and gives its path, or what the compiler said if it refused.
    pub(crate) fn build(&self, program: &str) -> Result<PathBuf, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = format!(
            "[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nocc-spawn = {{ path = {here:?} }}\n\n[workspace]\n\n{}",
            self.profile
        );
        fs::write(self.folder.join("Cargo.toml"), manifest).unwrap();
        // The versions that are here already: nothing is to be fetched.
        fs::copy(here.join("../Cargo.lock"), self.folder.join("Cargo.lock")).unwrap();
        let source = format!("use occ_spawn::Spawner;\n\n{program}\n");
        fs::write(self.folder.join("src/main.rs"), source).unwrap();

        let output = self.cargo();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(self.folder.join("target/debug/user"))
        } else {
            Err(text)
        }
    }

    fn cargo(&self) -> Output {
        Command::new(env!("CARGO"))
            .args(["build", "--offline", "--quiet", "--color=never"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            // Coverage, sanitizers and the like are for the tests, not for these.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO_BUILD_TARGET")
            .output()
            .unwrap()
    }
}
