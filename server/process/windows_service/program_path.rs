//! The path of the service's program in the form that the service control manager starts. Pure.

/// The path on a drive of this machine, of one that the system has resolved, such as `\\?\C:\x`. `None` for another
/// one, such as a share of another machine.
pub(super) fn on_drive(resolved: &str) -> Option<&str> {
    let path = resolved.strip_prefix(r"\\?\").unwrap_or(resolved);
    let is_on_drive = matches!(path.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
    is_on_drive.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_started_from_a_drive_of_this_machine() {
        let path = r"C:\Program Files\cardbroker\cardbrokerd.exe";
        assert_eq!(on_drive(&format!(r"\\?\{path}")), Some(path));
        assert_eq!(on_drive(path), Some(path));
        for elsewhere in
            [r"\\?\UNC\server\share\x.exe", r"\\server\share\x.exe", r"\\?\Volume{1}\x.exe", r"C:x.exe", ""]
        {
            assert_eq!(on_drive(elsewhere), None, "{elsewhere}");
        }
    }
}
