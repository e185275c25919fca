//! The principals that a person may mean by a user's name.

use super::Failure;

/// The principal, as the broker prints it: `user 1000` for a number or a login name of this machine; a text with a
/// space is a principal already.
///
/// # Errors
/// [`Failure::Usage`] if this machine knows no such user.
pub(crate) fn principal(user: &str) -> Result<String, Failure> {
    if user.contains(' ') {
        return Ok(user.to_owned());
    }
    match user.parse::<u32>().ok().or_else(|| number(user)) {
        Some(number) => Ok(format!("user {number}")),
        None => Err(Failure::Usage(format!(
            "no user \"{user}\" on this machine: give the number, or the principal as cardbroker status prints it"
        ))),
    }
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
    fn a_user_is_a_number_a_name_or_a_principal() {
        assert_eq!(principal("1000").unwrap(), "user 1000");
        assert_eq!(principal("root").unwrap(), "user 0");
        assert_eq!(principal("token build-7").unwrap(), "token build-7");
        assert!(matches!(principal("nobody-of-that-name"), Err(Failure::Usage(_))));
    }
}
