//! Replacements for the private parts of a report: numbers for users and processes, gaps for serial numbers.

use cardbroker_client::{diagnostics::Caller, hex};

/// The sign for a part that was left out.
const GAP: &str = "…";

/// The longest number of a version, and the longest word of a reader's name, in characters.
const MAX_WORD: usize = 24;

/// Numbers for principals and processes, in the order in which they appear.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    users: Vec<String>,
    tokens: Vec<String>,
    processes: Vec<i32>,
}

impl Numbers {
    /// `user 1` or `token 1` for a principal of the contract.
    pub(super) fn principal(&mut self, principal: &str) -> String {
        match principal.split_once(' ') {
            Some(("user", name)) => format!("user {}", number(&mut self.users, name.to_owned())),
            Some(("token", name)) => format!("token {}", number(&mut self.tokens, name.to_owned())),
            _ => "unknown user".to_owned(),
        }
    }

    /// `process 1` for the number of a process.
    pub(super) fn process(&mut self, id: i32) -> String {
        format!("process {}", number(&mut self.processes, id))
    }

    /// `process 2 of user 1`, or only the principal if the process is unknown.
    pub(super) fn caller(&mut self, caller: &Caller) -> String {
        let principal = self.principal(&caller.principal);
        let sshd = if caller.via_sshd { " via sshd" } else { "" };
        match caller.process_id {
            Some(id) => format!("{} of {principal}{sshd}", self.process(id)),
            None => format!("{principal}{sshd}"),
        }
    }
}

/// The place of `item` in the list, from 1; adds it if it is new.
fn number<T: PartialEq>(known: &mut Vec<T>, item: T) -> usize {
    let place = known.iter().position(|other| *other == item);
    place.unwrap_or_else(|| {
        known.push(item);
        known.len() - 1
    }) + 1
}

/// The display name of a reader without serial numbers, without what stands in parentheses (drivers put the serial
/// number there), and without the words in `private`.
pub(super) fn reader_name(name: &str, private: &[String]) -> String {
    let mut depth = 0_u32;
    let mut words = vec![String::new()];
    for letter in name.chars() {
        match letter {
            '(' => {
                if depth == 0 {
                    words.extend([GAP.to_owned(), String::new()]);
                }
                depth += 1;
            }
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            letter if letter.is_ascii_alphanumeric() => {
                if let Some(word) = words.last_mut() {
                    word.push(letter);
                }
            }
            // Between words; signs that names do not need are left out.
            letter => {
                let kept = if " [].,+-/&".contains(letter) { letter } else { ' ' };
                words.extend([kept.to_string(), String::new()]);
            }
        }
    }
    words.iter().map(|word| if is_private(word, private) { GAP } else { word.as_str() }).collect::<Vec<_>>().concat()
}

/// Whether a word may be a serial number or a name of this machine. A model such as `ACR1252U` has one short number.
fn is_private(word: &str, private: &[String]) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let numbers = word.split(|letter: char| !letter.is_ascii_digit()).filter(|number| !number.is_empty()).count();
    let is_hex = word.len() >= 6 && digits > 0 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_named = private.iter().any(|name| name.eq_ignore_ascii_case(word));
    digits > 4 || numbers > 1 || is_hex || is_named || word.chars().count() > MAX_WORD
}

/// The bytes of an ATR (ISO 7816-3 §8.2) with a gap in place of the historical bytes. The check byte, which depends on
/// them, is left out, too.
pub(super) fn atr(bytes: &[u8]) -> String {
    let Some((interface, historical)) = split(bytes) else {
        return format!("{} bytes that are no ATR", bytes.len());
    };
    let shown: Vec<_> = interface.chunks(1).map(hex::format).collect();
    match historical {
        0 => shown.join(" "),
        count => format!("{} [{count} historical bytes]", shown.join(" ")),
    }
}

/// The bytes up to the historical ones, and how many of those there are.
fn split(atr: &[u8]) -> Option<(&[u8], usize)> {
    let format = *atr.get(1)?;
    let (mut indicator, mut end) = (format, 2);
    while indicator & 0xF0 != 0 {
        end += (indicator >> 4).count_ones() as usize;
        // TD, the last of the group, says what follows.
        indicator = if indicator & 0x80 == 0 { 0 } else { *atr.get(end - 1)? };
    }
    let historical = usize::from(format & 0x0F);
    (atr.len() >= end + historical).then(|| atr.get(..end)).flatten().map(|interface| (interface, historical))
}

/// The numbers of a version, and whether it is one before a release, such as `0.1.0-rc.1`; builders put other words
/// behind them. A gap if there is no number.
pub(super) fn version(text: &str) -> String {
    let numbers = numbers(text);
    let rest = text.get(numbers.len()..).unwrap_or_default();
    let kind = ["-alpha", "-beta", "-rc", "-dev"].into_iter().find(|kind| rest.starts_with(kind)).unwrap_or_default();
    let number = self::numbers(rest.get(kind.len()..).unwrap_or_default());
    match (numbers, kind) {
        ("", _) => GAP.to_owned(),
        (numbers, "") => numbers.to_owned(),
        (numbers, kind) => format!("{numbers}{kind}{number}"),
    }
}

/// The digits and dots at the beginning, a bounded number of them.
pub(super) fn numbers(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    text.get(..end.min(MAX_WORD)).unwrap_or_default().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_leave_readers_names() {
        for (name, expected) in [
            ("Yubico YubiKey OTP+FIDO+CCID 00 00", "Yubico YubiKey OTP+FIDO+CCID 00 00"),
            (
                "SCM Microsystems Inc. SCR 3310 [CCID Interface] (21120512202178) 01 00",
                "SCM Microsystems Inc. SCR 3310 [CCID Interface] … 01 00",
            ),
            ("ACS ACR1252U 00 00", "ACS ACR1252U 00 00"),
            ("REINER SCT cyberJack RFID basis 0123456789 00 00", "REINER SCT cyberJack RFID basis … 00 00"),
            ("Nitrokey 3 D8B1AF 00 00", "Nitrokey 3 … 00 00"),
            ("Token JC3A40M2 of Anna's", "Token … of … s"),
            ("unclosed (12 34", "unclosed …"),
            ("nested (a (b) 77) x", "nested … x"),
            ("Lese\u{1b}[2Jgerät", "Lese [2Jger t"),
        ] {
            assert_eq!(reader_name(name, &["anna".to_owned()]), expected);
        }
        assert_eq!(reader_name(&"x".repeat(25), &[]), "…");
    }

    #[test]
    fn historical_bytes_leave_the_atr() {
        let masked = |text| atr(&hex::parse(text).unwrap());
        assert_eq!(
            masked("3BFD1300008131FE158073C021C057597562694B657940"),
            "3B FD 13 00 00 81 31 FE 15 [13 historical bytes]"
        );
        assert_eq!(masked("3B80800101"), "3B 80 80 01");
        assert_eq!(masked("3B00"), "3B 00");
        for broken in ["3B", "3BFD13", "3B8F8001AABB"] {
            assert_eq!(masked(broken), format!("{} bytes that are no ATR", broken.len() / 2));
        }
    }

    #[test]
    fn versions_are_versions() {
        for (text, expected) in [
            ("0.1.0", "0.1.0"),
            ("0.1.0-rc.1", "0.1.0-rc.1"),
            ("0.1.0-rc1-anna", "0.1.0-rc1"),
            ("0.1.0-laptop", "0.1.0"),
            ("1.9.9.", "1.9.9"),
            ("anna", GAP),
        ] {
            assert_eq!(version(text), expected);
        }
        assert_eq!(
            (numbers("6.1.0-18-amd64-annas"), numbers("x"), numbers(&"1".repeat(99)).len()),
            ("6.1.0", "", MAX_WORD)
        );
    }

    #[test]
    fn the_same_user_keeps_its_number() {
        let mut numbers = Numbers::default();
        let mut caller = |principal: &str, process_id| {
            numbers.caller(&Caller { principal: principal.into(), process_id, ..Caller::default() })
        };
        assert_eq!(caller("user 1000", Some(812)), "process 1 of user 1");
        assert_eq!(caller("user 0", Some(90)), "process 2 of user 2");
        assert_eq!(caller("user 1000", Some(812)), "process 1 of user 1");
        assert_eq!(caller("user S-1-5-21-1-2-3-1001", Some(7)), "process 3 of user 3");
        assert_eq!(caller("user S-1-5-21-1-2-3-1001", None), "user 3");
        assert_eq!(caller("token build-7", None), "token 1");
        assert_eq!(caller("anna", None), "unknown user");
    }
}
