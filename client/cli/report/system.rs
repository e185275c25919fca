//! The system of a report: its name, version and kernel, and the version of pcscd.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use cardbroker_local::system_version::system_version;

use super::mask::{numbers, version};

/// The places of pcscd, which is not on every user's path.
const PCSCD: [&str; 3] = ["/usr/sbin/pcscd", "/usr/local/sbin/pcscd", "/usr/bin/pcscd"];

/// The system in words from closed sets, and the version of pcscd if it is installed.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    pub(super) name: String,
    pub(super) pcscd: Option<String>,
}

/// Looks at the system. Starts `pcscd --version`, or on Windows `ver`, which ends at once.
pub(super) fn look() -> System {
    if cfg!(windows) {
        return System { name: name_on_windows(&system_version().unwrap_or_default()), pcscd: None };
    }
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

/// The name by the output of `ver`, whose words are translated: the version is the first number with dots.
fn name_on_windows(output: &str) -> String {
    let name = format!("windows {}", env::consts::ARCH);
    let words = output.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    match words.map(numbers).find(|word| word.contains('.')) {
        Some(version) => format!("{name}, {version}"),
        None => name,
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
    fn windows_is_named_by_its_version_in_any_language() {
        let name = |output| name_on_windows(output).split_once(", ").map(|(_, version)| version.to_owned());
        assert_eq!(name("\r\nMicrosoft Windows [Version 10.0.19045.3803]\r\n").as_deref(), Some("10.0.19045.3803"));
        assert_eq!(name("Microsoft Windows [versión 6.1.7601] of 7 Anna").as_deref(), Some("6.1.7601"));
        assert_eq!(name("Anna's 7"), None);
    }

    #[test]
    fn the_system_is_named_without_its_machine() {
        let release = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\nHOME_URL=\"x\"\n";
        assert!(name(release, "6.1.0-18-annas\n").ends_with(", debian 12, kernel 6.1.0"));
        assert!(name("ID=arch\n", "").ends_with(", arch rolling"));
        assert!(!name("ID=\"Anna's\"\nVERSION_ID=1\n", "anna").contains("nna"));
    }
}
