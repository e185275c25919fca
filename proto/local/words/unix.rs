//! The words of Linux and other Unix systems.

use super::Words;

pub(super) const WORDS: Words = Words {
    stop_pcsc: "Unplug the last reader, or stop PC/SC: sudo systemctl stop pcscd.socket pcscd.",
    start_pcsc: "Plug the reader in again, or start PC/SC: sudo systemctl start pcscd.socket.",
    try_second_user: "try it: sudo -u OTHER cardbroker --endpoint ENDPOINT readers; without a rule it must be refused",
    version_command: &["uname", "-sr"],
};
