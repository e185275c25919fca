//! The words of Linux and other Unix systems.

use super::Words;

pub(super) const WORDS: Words = Words {
    stop_pcsc: "Unplug the last reader, or stop PC/SC: sudo systemctl stop pcscd.socket pcscd.",
    start_pcsc: "Plug the reader in again, or start PC/SC: sudo systemctl start pcscd.socket.",
    restart_pcsc: "sudo systemctl restart pcscd",
    serve_pcsc: "sudo systemctl restart pcscd.socket",
    try_second_user: "try it: sudo -u OTHER cardbroker --endpoint ENDPOINT readers; without a rule it must be refused",
    version_command: &["uname", "-sr"],
    more_files: "raise the limit (ulimit -n)",
    private_place: "a file of theirs (mode 0600)",
    open_to_group: "listen.socket_mode = \"0660\" and listen.socket_group = \"GROUP\" in the broker's configuration",
    show_owner: "ls -ld",
    change_owner: "Give it to root or to this user (chown).",
    config_help: "Configuration file [default: ~/.config/cardbroker/cardbrokerd.toml, for root \
                  /etc/cardbroker/cardbrokerd.toml, if there is one]",
    socket_help: "Unix socket to listen on [default: $XDG_RUNTIME_DIR/cardbroker/cardbroker.sock, for root \
                  /run/cardbroker/cardbroker.sock]",
    tokens_help: "File with the tokens for --tcp [default: ~/.config/cardbroker/tokens, for root \
                  /etc/cardbroker/tokens]",
    endpoint_help: "The broker's address: unix:/path, https://127.0.0.1:port, or tcp:auto for the port of this user's \
                    broker that was started with --tcp auto. [default: the variable CARDBROKER_ENDPOINT, then the \
                    user's socket, then the system's]",
};
