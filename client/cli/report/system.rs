//! The system of a report: its name, version and kernel, and the version of pcscd.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use super::mask::{numbers, version};

/// The places of pcscd, which is not on every user's path.
const PCSCD: [&str; 3] = ["/usr/sbin/pcscd", "/usr/local/sbin/pcscd", "/usr/bin/pcscd"];

/// The system in words from closed sets, and the version of pcscd if it is installed.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    pub(super) name: String,
    pub(super) pcscd: Option<String>,
}

/// Looks at the system. Starts `pcscd --version`, which ends at once.
pub(super) fn look() -> System {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let kernel_release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    System { name: name(&release, &kernel_release), pcscd: pcscd() }
}

fn name(release: &str, kernel_release: &str) -> String {
    let mut name = format!("{} {}", env::consts::OS, env::consts::ARCH);
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned()).unwrap_or_default()
    };
    let id = value("ID");
    if !id.is_empty() && id.len() <= 24 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        let number = value("VERSION_ID");
        name += &format!(", {id} {}", if number.is_empty() { "rolling" } else { numbers(&number) });
    }
    match numbers(kernel_release) {
        "" => name,
        kernel => format!("{name}, kernel {kernel}"),
    }
}

fn pcscd() -> Option<String> {
    let program = PCSCD.into_iter().find(|path| fs::metadata(path).is_ok())?;
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let word = text.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    Some(version(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_without_its_machine() {
        let release = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\nHOME_URL=\"x\"\n";
        assert!(name(release, "6.1.0-18-annas\n").ends_with(", debian 12, kernel 6.1.0"));
        assert!(name("ID=arch\n", "").ends_with(", arch rolling"));
        assert!(!name("ID=\"Anna's\"\nVERSION_ID=1\n", "anna").contains("nna"));
    }
}
