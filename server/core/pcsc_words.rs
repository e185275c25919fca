//! Remedies for the PC/SC service, in the words of each system. All are compiled everywhere, for a test.

/// The words of one operating system.
#[derive(Debug, Clone, Copy)]
pub struct PcscWords {
    /// The question whether the service runs.
    pub is_it_running: &'static str,
    /// The remedy for a user that the service refuses.
    pub admit: &'static str,
    /// The remedy for a ring of brokers.
    pub break_ring: &'static str,
}

/// The words of Linux and other Unix systems.
pub const UNIX: PcscWords = PcscWords {
    is_it_running: "is pcscd running?",
    admit: "allow this user the actions org.debian.pcsc-lite.access_pcsc and org.debian.pcsc-lite.access_card in a \
            rule below /etc/polkit-1/rules.d",
    break_ring: "set PCSCLITE_CSOCK_NAME of one of them to the socket of pcscd",
};

/// The words of Windows 7 and later.
pub const WINDOWS: PcscWords = PcscWords {
    is_it_running: "does the service \"Smart Card\" (SCardSvr) run? It stops with the last reader",
    admit: "run the broker as a user who is logged on at the machine, or as LocalSystem",
    break_ring: "end one of them",
};

/// The words of the system that this program was built for.
pub const HERE: PcscWords = if cfg!(windows) { WINDOWS } else { UNIX };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_has_no_words_of_unix() {
        let PcscWords { is_it_running, admit, break_ring } = WINDOWS;
        for text in [is_it_running, admit, break_ring] {
            for word in ["pcscd", "polkit", "pcsc-lite", "PCSCLITE", "/etc", "socket"] {
                assert!(!text.contains(word), "{text}");
            }
        }
    }
}
