//! The first three lines at a terminal: what is served, and what to type next.

use std::net::SocketAddr;

use cardbroker_local::{
    config_folder::ConfigFolder,
    socket::{default_socket, local_endpoint},
};

use crate::{
    config::Config,
    policy::accounts::{own_user, user_name},
};

/// Returns the three lines for a broker with this configuration, whose TCP port, if any, has this address.
pub fn greeting(config: &Config, tcp: Option<SocketAddr>) -> String {
    let user = own_user();
    let user = user_name(user).unwrap_or_else(|| format!("user {user}"));
    lines(config, tcp, &user, default_socket().is_some_and(|socket| socket == config.listen.socket))
}

fn lines(config: &Config, tcp: Option<SocketAddr>, user: &str, is_default: bool) -> String {
    let readers = match (&config.readers.simulate_from, config.readers.simulate) {
        (Some(trace), _) => format!("the readers of the trace {}", trace.display()),
        (None, 0) => "all readers of PC/SC".to_owned(),
        (None, 1) => "1 simulated reader".to_owned(),
        (None, count) => format!("{count} simulated readers"),
    };
    let socket = config.listen.socket.display();
    let tcp = tcp.map(|address| format!(", and on TCP {address} for holders of a token")).unwrap_or_default();
    let door = config.pcsclite.path().map(|path| format!(", for PC/SC programs on {}", path.display()));
    let door = door.unwrap_or_default();
    let endpoint =
        if is_default { String::new() } else { format!(" --endpoint {}", local_endpoint(&config.listen.socket)) };
    let who = match config.rules.is_empty() {
        true => format!("Only {user} may use them, until rules let others in"),
        false => format!("Rules say who may use them (cardbroker policy check{})", option(config)),
    };
    let lines = [
        format!("Serving {readers} on {socket}{tcp}{door}."),
        format!("Next, in another terminal: cardbroker readers{endpoint}"),
        format!("{who}. Ctrl-C stops the broker."),
    ];
    // A path may have any letters.
    lines.map(|line| line.replace(char::is_control, " ") + "\n").concat()
}

/// The option of a question about these rules, where it is not about the default configuration.
fn option(config: &Config) -> String {
    let source = config.source.as_ref().map(|source| &source.path);
    let named = source.filter(|path| **path != ConfigFolder::of_this_user().configuration());
    // A relative path means another file in another terminal.
    let path = named.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    path.map(|path| format!(" --config {}", path.display())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, tcp: Option<&str>, is_default: bool) -> String {
        let mut config = Config::parse("/c.toml".as_ref(), text).unwrap();
        config.listen.socket = "/run/x.sock".into();
        lines(&config, tcp.map(|tcp| tcp.parse().unwrap()), "anna", is_default)
    }

    // The absolute paths are Unix's.
    #[cfg(unix)]
    #[test]
    fn three_lines_say_what_is_served_and_what_to_type() {
        assert_eq!(
            told("", None, true),
            "Serving all readers of PC/SC on /run/x.sock.\n\
             Next, in another terminal: cardbroker readers\n\
             Only anna may use them, until rules let others in. Ctrl-C stops the broker.\n"
        );
        let rule = "rule = [{ name = 'a', principals = ['anyone'], allow = ['see'] }]\nreaders.simulate = 2";
        assert_eq!(
            told(rule, Some("127.0.0.1:7"), false),
            "Serving 2 simulated readers on /run/x.sock, and on TCP 127.0.0.1:7 for holders of a token.\n\
             Next, in another terminal: cardbroker readers --endpoint unix:/run/x.sock\n\
             Rules say who may use them (cardbroker policy check --config /c.toml). Ctrl-C stops the broker.\n"
        );
    }

    #[test]
    fn the_door_of_pcsc_programs_is_named() {
        let told = told("pcsclite.socket = '/run/pcscd.comm'", None, true);
        assert!(
            told.starts_with("Serving all readers of PC/SC on /run/x.sock, for PC/SC programs on /run/pcscd.comm.\n")
        );
    }

    // The absolute paths are Unix's.
    #[cfg(unix)]
    #[test]
    fn a_path_cannot_add_a_line() {
        let told = told("readers.simulate_from = \"/a\\nb\"", None, true);
        assert!(told.starts_with("Serving the readers of the trace /a b on ") && told.lines().count() == 3, "{told}");
    }
}
