//! The words of Windows.

use super::Words;

pub(super) const WORDS: Words = Words {
    stop_pcsc: "Unplug the last reader, or stop the service \"Smart Card\" as an administrator: net stop SCardSvr.",
    start_pcsc: "Plug the reader in again, or start the service: net start SCardSvr.",
    restart_pcsc: "net stop SCardSvr & net start SCardSvr",
    serve_pcsc: "net start SCardSvr",
    try_second_user: "try it: runas /user:OTHER \"cardbroker --endpoint ENDPOINT readers\"; without a rule it must be \
                      refused",
    version_command: &["cmd", "/c", "ver"],
    more_files: "end programs that hold many handles",
    private_place: "a file that only they can read (icacls)",
    open_to_group: "listen.pipe_group = \"GROUP\" in the broker's configuration",
    show_owner: "icacls",
    change_owner: "Give it to this user, SYSTEM or the administrators: icacls /setowner.",
    config_help: "Configuration file [default: %LOCALAPPDATA%\\cardbroker\\cardbrokerd.toml, for the service \
                  %ProgramData%\\cardbroker\\cardbrokerd.toml, if there is one]",
    socket_help: "Named pipe to listen on, as \\\\.\\pipe\\NAME [default: the user's own, for the service one that \
                  only administrators can make]",
    tokens_help: "File with the tokens for --tcp [default: %LOCALAPPDATA%\\cardbroker\\tokens, for the service \
                  %ProgramData%\\cardbroker\\tokens]",
    endpoint_help: "The broker's address: npipe:////./pipe/NAME, https://127.0.0.1:port, or tcp:auto for the port of \
                    this user's broker that was started with --tcp auto. [default: the variable CARDBROKER_ENDPOINT, \
                    then the user's pipe, then the service's]",
};
