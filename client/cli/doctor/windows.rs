//! The use of cards by Windows itself: its services and policies, read from the output of `sc.exe` and `reg.exe`.
//! Pure.

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// It runs, or is starting.
    Runs,
    /// It is installed and does not run.
    Stopped,
    /// This system has no such service.
    Missing,
}

impl Service {
    /// The state in a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Stopped => "stopped",
            Self::Missing => "missing",
        }
    }
}

/// Windows' own programs for cards; `None` where the system did not tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WindowsCards {
    /// The service "Smart Card" (SCardSvr), which is PC/SC.
    pub(crate) pcsc: Option<Service>,
    /// The service "Certificate Propagation" (CertPropSvc), which reads certificates from each inserted card.
    pub(crate) propagation: Option<Service>,
    /// The policy of certificate propagation.
    pub(crate) propagation_policy: Option<Policy>,
    /// The policy of smart card plug and play.
    pub(crate) plug_and_play_policy: Option<Policy>,
}

/// A policy that an administrator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nobody has set it: Windows does the usual.
    NotSet,
    /// It switches the subject off.
    Off,
    /// It switches the subject on.
    On,
}

/// The key of the policy of plug and play, and its value.
pub(crate) const PLUG_AND_PLAY: (&str, &str) = (r"HKLM\SOFTWARE\Policies\Microsoft\Windows\ScPnP", "EnableScPnP");

/// The key of the policy of certificate propagation, and its value.
pub(crate) const PROPAGATION: (&str, &str) = (r"HKLM\SOFTWARE\Policies\Microsoft\Windows\CertProp", "CertPropEnabled");

/// The number of the error that there is no such service.
const NO_SUCH_SERVICE: &str = "1060";

/// Reads the output of `sc.exe query NAME`. The words before the colons are translated, the states are not.
pub(crate) fn service(output: &str) -> Option<Service> {
    let words = || output.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is = |state: &str| words().any(|word| word == state);
    match () {
        () if is("RUNNING") || is("START_PENDING") || is("CONTINUE_PENDING") => Some(Service::Runs),
        () if is("STOPPED") || is("STOP_PENDING") || is("PAUSED") || is("PAUSE_PENDING") => Some(Service::Stopped),
        () if is(NO_SUCH_SERVICE) => Some(Service::Missing),
        () => None,
    }
}

/// Reads the number of `value` in the output of `reg.exe query KEY /v VALUE`. Without a number it is not set.
pub(crate) fn policy(output: &str, value: &str) -> Policy {
    match number(output, value) {
        None => Policy::NotSet,
        Some(0) => Policy::Off,
        Some(_) => Policy::On,
    }
}

fn number(output: &str, value: &str) -> Option<u32> {
    let line = output.lines().find(|line| line.split_whitespace().next() == Some(value))?;
    let mut words = line.split_whitespace().skip(1);
    let (kind, number) = (words.next()?, words.next()?);
    let digits = number.strip_prefix("0x").filter(|_| kind == "REG_DWORD")?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Windows 10 prints it in English, and with French words.
    const RUNS: &str = "
SERVICE_NAME: SCardSvr
        TYPE               : 30  WIN32
        STATE              : 4  RUNNING
                                (STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN)
        WIN32_EXIT_CODE    : 0  (0x0)
";
    const STOPPED: &str = "
SERVICE_NAME: CertPropSvc
        TYPE               : 20  WIN32_SHARE_PROCESS
        ÉTAT               : 1  STOPPED
        CODE_SORTIE_WIN32  : 1077  (0x435)
";
    const MISSING: &str = "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n\r\nThe specified service ...\r\n";

    #[test]
    fn the_state_of_a_service_is_read_in_any_language() {
        assert_eq!(service(RUNS), Some(Service::Runs));
        assert_eq!(service(STOPPED), Some(Service::Stopped));
        assert_eq!(service(MISSING), Some(Service::Missing));
        assert_eq!(service(&RUNS.replace("4  RUNNING", "3  STOP_PENDING")), Some(Service::Stopped));
        assert_eq!((service(""), service("access denied (5)")), (None, None));
    }

    #[test]
    fn a_policy_is_a_number_of_its_own_name() {
        let output = |line: &str| format!("\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\X\r\n    {line}\r\n\r\n");
        let read = |line: &str| policy(&output(line), "EnableScPnP");
        assert_eq!(read("EnableScPnP    REG_DWORD    0x0"), Policy::Off);
        assert_eq!(read("EnableScPnP    REG_DWORD    0x1"), Policy::On);
        for other in
            ["EnableScPnP    REG_SZ    0x1", "Other    REG_DWORD    0x0", "EnableScPnP    REG_DWORD    0xzz", ""]
        {
            assert_eq!(read(other), Policy::NotSet, "{other}");
        }
    }
}
