//! The principals that a person may mean by a user's name.

use super::Failure;

/// The principal, as the broker prints it: `user 1000` for a number or a login name of this machine, `user S-1-…` for a
/// SID of Windows. A principal stays as it is.
///
/// # Errors
/// [`Failure::Usage`] if this machine knows no such user.
pub(crate) fn principal(user: &str) -> Result<String, Failure> {
    if user.starts_with("user ") || user.starts_with("token ") || user == "unknown user" {
        return Ok(user.to_owned());
    }
    if let Some(sid) = sid(user) {
        return Ok(format!("user {sid}"));
    }
    match user.parse::<u32>().ok().or_else(|| number(user)) {
        Some(number) => Ok(format!("user {number}")),
        None => Err(Failure::Usage(format!(
            "no user \"{user}\" on this machine: give the number (on Windows the SID), or the principal as cardbroker \
             status prints it"
        ))),
    }
}

/// The SID in a text, with or without the `sid:` of rules.
fn sid(text: &str) -> Option<String> {
    let sid = text.strip_prefix("sid:").unwrap_or(text);
    let numbers = sid.strip_prefix("S-1-").or_else(|| sid.strip_prefix("s-1-"))?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    (numbers.contains('-') && numbers.split('-').all(is_number)).then(|| format!("S-1-{numbers}"))
}

#[cfg(unix)]
fn number(name: &str) -> Option<u32> {
    nix::unistd::User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

#[cfg(not(unix))]
fn number(_: &str) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_a_name_a_sid_or_a_principal() {
        assert_eq!(principal("1000").unwrap(), "user 1000");
        // Names are looked up on Unix only so far.
        #[cfg(unix)]
        assert_eq!(principal("root").unwrap(), "user 0");
        assert_eq!(principal("sid:S-1-5-18").unwrap(), "user S-1-5-18");
        assert_eq!(principal("s-1-5-21-1-2-3-1001").unwrap(), "user S-1-5-21-1-2-3-1001");
        for written in ["token build-7", "user S-1-5-18", "user 7", "unknown user"] {
            assert_eq!(principal(written).unwrap(), written);
        }
        for unknown in ["nobody-of-that-name", "Anna Smith", "CORP\\anna", "S-1-5", "S-1-5-x", "S-1--5", "sid:"] {
            assert!(matches!(principal(unknown), Err(Failure::Usage(_))), "{unknown}");
        }
    }
}
