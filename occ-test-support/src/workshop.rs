//! Small packages that are built for a test, each depending on the crate that is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// One package, whose program is replaced: its dependencies are built once.
#[derive(Debug)]
pub struct Workshop {
    /// Of the crate that is tested.
    sources: &'static Path,
    folder: PathBuf,
    profile: &'static str,
}

/// A [`Workshop`] of this name for the crate whose integration test this is in, with these lines at the end of its manifest.
#[macro_export]
macro_rules! workshop {
    ($name:expr, $profile:expr) => {
        $crate::workshop::Workshop::new(
            env!("CARGO_MANIFEST_DIR"),
            env!("CARGO_TARGET_TMPDIR"),
            $name,
            $profile,
        )
    };
}

impl Workshop {
    /// See [`workshop!`](crate::workshop!), which knows the two folders.
    ///
    /// # Panics
    ///
    /// If the package's folder cannot be made.
    #[must_use]
    pub fn new(
        sources: &'static str,
        scratch: &str,
        name: &str,
        profile: &'static str,
    ) -> Workshop {
        let folder = Path::new(scratch).join(name);
        fs::create_dir_all(folder.join("src")).expect("a folder for a package");
        Workshop {
            sources: Path::new(sources),
            folder,
            profile,
        }
    }

    /// Builds a program, and gives its path.
    ///
    /// # Errors
    ///
    /// What the compiler said if it refused.
    ///
    /// # Panics
    ///
    /// If the package cannot be written.
    pub fn build(&self, program: &str) -> Result<PathBuf, String> {
        let sources = self.sources;
        let tested = sources.file_name().expect("a folder").to_string_lossy();
        let manifest = format!(
            "[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{tested} = {{ path = {sources:?} }}\n\n[workspace]\n\n{}",
            self.profile
        );
        let write = |path: &str, text: &str| {
            fs::write(self.folder.join(path), text).expect("a file of a package");
        };
        write("Cargo.toml", &manifest);
        // The versions that are here already: nothing is to be fetched.
        let lock = fs::read_to_string(sources.join("../Cargo.lock")).expect("Cargo.lock");
        write("Cargo.lock", &lock);
        write("src/main.rs", program);

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
            .expect("cargo runs")
    }
}
