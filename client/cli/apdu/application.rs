//! Applications of cards, by their identifiers (AID, ISO/IEC 7816-4:2013 §12.2.3).

/// An application that has a name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Application {
    /// The name on the command line, in lower case.
    pub(crate) name: &'static str,
    /// The name for people, as in `SELECT PIV`.
    pub(crate) words: &'static str,
    /// The AID, or its beginning, which is enough for SELECT.
    pub(crate) aid: &'static [u8],
    /// The document that defines the AID.
    pub(crate) standard: &'static str,
}

/// All applications with a name, each with a public standard.
pub(crate) const APPLICATIONS: &[Application] = &[
    Application {
        name: "piv",
        words: "PIV",
        aid: &[0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00],
        standard: "NIST SP 800-73-4 part 1 §2.2",
    },
    Application {
        name: "openpgp",
        words: "OpenPGP",
        aid: &[0xD2, 0x76, 0x00, 0x01, 0x24, 0x01],
        standard: "OpenPGP smart card application 3.4 §4.2.1",
    },
    Application {
        name: "oath",
        words: "OATH (Yubico)",
        aid: &[0xA0, 0x00, 0x00, 0x05, 0x27, 0x21, 0x01],
        standard: "Yubico YKOATH protocol",
    },
    Application {
        name: "fido",
        words: "FIDO",
        aid: &[0xA0, 0x00, 0x00, 0x06, 0x47, 0x2F, 0x00, 0x01],
        standard: "FIDO CTAP 2.1 §11.3.3",
    },
    Application {
        name: "yubikey",
        words: "YubiKey management",
        aid: &[0xA0, 0x00, 0x00, 0x05, 0x27, 0x47, 0x11, 0x17],
        standard: "Yubico YubiKey 5 technical manual",
    },
    Application {
        name: "otp",
        words: "YubiKey OTP",
        aid: &[0xA0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01],
        standard: "Yubico YubiKey 5 technical manual",
    },
    Application {
        name: "ppse",
        words: "EMV payment (contactless directory)",
        aid: b"2PAY.SYS.DDF01",
        standard: "EMV Contactless Book B §3.3.1",
    },
    Application {
        name: "pse",
        words: "EMV payment (directory)",
        aid: b"1PAY.SYS.DDF01",
        standard: "EMV 4.3 Book 1 §12.2.2",
    },
    Application {
        name: "globalplatform",
        words: "GlobalPlatform issuer security domain",
        aid: &[0xA0, 0x00, 0x00, 0x01, 0x51, 0x00, 0x00],
        standard: "GlobalPlatform Card Specification 2.3.1 §H.1.3",
    },
    Application {
        name: "emrtd",
        words: "electronic passport (ICAO eMRTD)",
        aid: &[0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01],
        standard: "ICAO Doc 9303 part 10 §3.6",
    },
    Application {
        name: "eid",
        words: "German identity card (eID)",
        aid: &[0xE8, 0x07, 0x04, 0x00, 0x7F, 0x00, 0x07, 0x03, 0x02],
        standard: "BSI TR-03110 part 2 §B.3",
    },
    Application {
        name: "pkcs15",
        words: "PKCS #15",
        aid: &[0xA0, 0x00, 0x00, 0x00, 0x63, 0x50, 0x4B, 0x43, 0x53, 0x2D, 0x31, 0x35],
        standard: "ISO/IEC 7816-15 §5.5",
    },
    Application {
        name: "ndef",
        words: "NFC tag (NDEF)",
        aid: &[0xD2, 0x76, 0x00, 0x00, 0x85, 0x01, 0x01],
        standard: "NFC Forum Type 4 Tag §5.4.2",
    },
    Application {
        name: "usim",
        words: "USIM",
        aid: &[0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x02],
        standard: "ETSI TS 101 220 annex E",
    },
    Application {
        name: "isim",
        words: "ISIM",
        aid: &[0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x04],
        standard: "ETSI TS 101 220 annex E",
    },
];

impl Application {
    /// The SELECT by name that asks for the first occurrence and its control information.
    pub(crate) fn select(&self) -> Vec<u8> {
        select(self.aid)
    }
}

/// SELECT by name of an AID of at most 255 bytes (ISO/IEC 7816-4:2013 §11.2.2).
pub(crate) fn select(aid: &[u8]) -> Vec<u8> {
    let mut command = vec![0x00, 0xA4, 0x04, 0x00, u8::try_from(aid.len()).unwrap_or(u8::MAX)];
    command.extend(aid.iter().take(usize::from(u8::MAX)));
    command.push(0x00);
    command
}

/// The application with this name, in upper or lower case.
pub(crate) fn named(name: &str) -> Option<&'static Application> {
    APPLICATIONS.iter().find(|application| application.name.eq_ignore_ascii_case(name))
}

/// The application whose AID an identifier continues; of several the one with the longest AID. An identifier that is
/// shorter names the only application that continues it.
pub(crate) fn of(aid: &[u8]) -> Option<&'static Application> {
    let fitting = APPLICATIONS.iter().filter(|application| aid.starts_with(application.aid));
    let shorter = || {
        let mut fitting = APPLICATIONS.iter().filter(|application| aid.len() >= 5 && application.aid.starts_with(aid));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    fitting.max_by_key(|application| application.aid.len()).or_else(shorter)
}

/// All names, for help and completion.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    APPLICATIONS.iter().map(|application| application.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_application_is_found_by_name_and_by_aid() {
        for application in APPLICATIONS {
            assert_eq!(named(&application.name.to_uppercase()), Some(application));
            assert_eq!(of(application.aid), Some(application));
            assert!((5..=16).contains(&application.aid.len()) && !application.standard.is_empty());
        }
        assert_eq!((named("mars"), of(&[0xA0, 0x00])), (None, None));
        assert_eq!(of(&[0xA0, 0x00, 0x00, 0x03, 0x08]), named("piv"));
        assert_eq!(of(&[0xA0, 0x00, 0x00, 0x05, 0x27]), None, "several");
    }

    #[test]
    fn a_select_has_the_aid_and_asks_for_the_answer() {
        assert_eq!(select(&[0xF0, 0x01]), [0x00, 0xA4, 0x04, 0x00, 0x02, 0xF0, 0x01, 0x00]);
        assert_eq!(select(&[0xF0; 300]).len(), 5 + 255 + 1);
    }
}
