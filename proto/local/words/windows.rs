//! The words of Windows.

use super::Words;

pub(super) const WORDS: Words = Words {
    stop_pcsc: "Unplug the last reader, or stop the service \"Smart Card\" as an administrator: net stop SCardSvr.",
    start_pcsc: "Plug the reader in again, or start the service: net start SCardSvr.",
    try_second_user: "try it: runas /user:OTHER \"cardbroker --endpoint ENDPOINT readers\"; without a rule it must be \
                      refused",
    version_command: &["cmd", "/c", "ver"],
};
