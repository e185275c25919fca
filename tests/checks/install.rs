//! `make build` puts the programs into a folder of the tree, and `make install` copies them from there: root needs
//! neither cargo, nor a network, nor the environment of the build.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use super::sources;

const PROGRAMS: [&str; 2] = ["cardbrokerd", "cardbroker"];

/// The path that root has.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Writes programs that say what they were built as, where cargo would.
const CARGO: &str = "#!/bin/sh
mkdir -p \"$CARGO_TARGET_DIR/release\"
for program in cardbrokerd cardbroker; do echo \"$program $VERSION\" >\"$CARGO_TARGET_DIR/release/$program\"; done
";

/// A tree with this Makefile, a cargo of its own, and room to install into.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::write(tree.path().join("Makefile"), sources::text("Makefile")).unwrap();
        for (program, text) in [(".ci/setup", "#!/bin/sh\n"), ("bin/cargo", CARGO)] {
            let program = tree.path().join(program);
            fs::create_dir(program.parent().unwrap()).unwrap();
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs make as a user whose cargo builds elsewhere. Returns whether it worked, and its output.
    fn build(&self, version: &str) -> (bool, String) {
        let path = format!("{}:{PATH}", self.path().join("bin").display());
        let elsewhere = self.path().join("elsewhere");
        make(self, "build", &[("PATH", &path), ("CARGO_TARGET_DIR", elsewhere.to_str().unwrap()), ("VERSION", version)])
    }

    /// Runs make as root, with the environment that sudo leaves.
    fn install(&self) -> (bool, String) {
        make(self, "install", &[("PATH", PATH), ("DESTDIR", self.path().join("root").to_str().unwrap())])
    }
}

fn make(tree: &Tree, target: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new("make");
    command.arg(target).current_dir(tree.path()).env_clear().envs(environment.iter().copied());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn install_copies_the_last_build_and_builds_nothing() {
    let tree = Tree::new();
    for version in ["1", "2"] {
        let (worked, printed) = tree.build(version);
        assert!(worked, "{printed}");
        let (worked, printed) = tree.install();
        assert!(worked && !printed.contains("cargo "), "{printed}");
        for program in PROGRAMS {
            let installed = tree.path().join("root/usr/local/bin").join(program);
            assert_eq!(fs::read_to_string(&installed).unwrap(), format!("{program} {version}\n"));
            assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o755);
        }
    }
}

#[test]
fn install_before_a_build_says_what_to_run_first() {
    let tree = Tree::new();
    let (worked, printed) = tree.install();
    assert!(!worked && printed.matches("make build").count() == 1, "{printed}");
    assert!(!printed.contains("cargo ") && !tree.path().join("root").exists(), "{printed}");
}
