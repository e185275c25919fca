//! Where the broker is: the places tried, the socket's owner, mode and group, and trust in them.

use cardbroker_client::{Distrust, Endpoint, Error, Finding as Found, Tried};

use cardbroker_local::words::HERE;

use crate::doctor::{
    facts::{self, Facts, File, Me, Place},
    finding::Finding,
};

/// The permission bits of the group: to write to a socket, and to enter a folder.
const GROUP_WRITES: u32 = 0o020;
const GROUP_ENTERS: u32 = 0o010;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    match &facts.found {
        facts::Found::At { endpoint, other } => {
            let index = facts.places.iter().position(|place| place.endpoint == *endpoint).unwrap_or_default();
            let mut findings: Vec<_> = facts.places.iter().take(index).filter_map(left_over).collect();
            findings.push(found(facts, endpoint));
            findings.extend(other.as_ref().map(|other| two_brokers(endpoint, other)));
            findings
        }
        facts::Found::Silence => {
            let text = "the search for a broker did not end within 2 s";
            vec![Finding::problem("broker", "search-hangs", text).step("cardbroker --endpoint unix:/PATH doctor")]
        }
        facts::Found::Nothing(error) => vec![nothing(facts, error)],
    }
}

/// The finding for a place before the one that was found, if there is a socket.
fn left_over(place: &Place) -> Option<Finding> {
    let socket = place.socket.as_ref()?;
    let text = format!("no process listens at {}: the socket is left over", socket.path.display());
    let left = Finding::warning("socket", "left-over", text);
    Some(left.step("If this user needs a broker of its own: cardbrokerd"))
}

fn found(facts: &Facts, endpoint: &Endpoint) -> Finding {
    let place = facts.places.iter().find(|place| place.endpoint == *endpoint);
    let file = |file: &File| format!("{}:{} {:04o}", file.owner, file.group, file.mode);
    match place.map(|place| (&place.socket, &place.folder)) {
        Some((Some(socket), Some(folder))) => {
            let text = format!("{} is {}, its folder {}", socket.path.display(), file(socket), file(folder));
            let found = Finding::ok("socket", "found", text);
            let is_shared = socket.mode & GROUP_WRITES != 0;
            if is_shared { found.step(for_members(&socket.group)) } else { found }
        }
        _ if matches!(endpoint, Endpoint::Tcp { .. } | Endpoint::PlainTcp { .. } | Endpoint::Auto) => {
            Finding::ok("port", "found", format!("a process accepts connections at {endpoint}"))
        }
        _ => Finding::ok("socket", "found", format!("a process accepts connections at {endpoint}")),
    }
}

fn two_brokers(own: &Endpoint, other: &Endpoint) -> Finding {
    let text = format!("both {own} and {other} answer: a reader belongs to the broker that takes it first");
    let both = Finding::warning("broker", "two-brokers", text);
    both.step(format!("cardbroker --endpoint {other} readers")).step("Stop one of both, if one is enough.")
}

/// The finding for a search without success.
fn nothing(facts: &Facts, error: &Error) -> Finding {
    let text = error.to_string();
    let tried = match error {
        Error::NotRunning { tried } => tried.last(),
        Error::TokenFile(_) => return with_token(Finding::problem("token", "unusable-file", text)),
        _ if error.field_violations().iter().any(|violation| violation.field == "token_file") => {
            return with_token(Finding::problem("token", "no-file", text));
        }
        Error::Endpoint(_) => {
            let named = Finding::problem("endpoint", "malformed", text);
            return named.step("unset CARDBROKER_ENDPOINT");
        }
        _ => None,
    };
    let Some(Tried { endpoint, finding }) = tried else { return Finding::problem("broker", "no-broker", text) };
    match finding {
        Found::Missing | Found::Refused(_) => {
            let missing = Finding::problem("broker", "not-running", text);
            let is_local = matches!(endpoint, Endpoint::Unix(_) | Endpoint::Pipe(_));
            let start = if is_local { "cardbrokerd" } else { "cardbrokerd --tcp auto" };
            missing.step(start).step("If it runs, name its endpoint: cardbroker --endpoint unix:/PATH doctor")
        }
        Found::NoEndpointFile(_) | Found::Ended { .. } => {
            Finding::problem("broker", "not-running", text).step("cardbrokerd --tcp auto")
        }
        Found::Malformed { file, .. } => Finding::problem("endpoint", "malformed-file", text)
            .step(format!("rm {}", file.display()))
            .step("cardbrokerd --tcp auto"),
        Found::Forbidden(_) => forbidden(facts, endpoint, text),
        Found::Untrusted(distrust) => untrusted(distrust, text),
        Found::OtherProgram => Finding::problem("certificate", "other-program", text)
            .step("See the port in the broker's log.")
            .step("cardbroker token new NAME --out FILE"),
        Found::TooLong => Finding::problem("socket", "path-too-long", text).step("cardbrokerd --socket /SHORTER/PATH"),
        _ => Finding::problem("broker", "unreachable", text).step("See the broker's log."),
    }
}

/// Adds the steps to a token for this user.
pub(super) fn with_token(finding: Finding) -> Finding {
    finding.step("cardbroker token new NAME --out FILE").step("export CARDBROKER_TOKEN_FILE=FILE")
}

/// The finding for a socket that this user may not open.
fn forbidden(facts: &Facts, endpoint: &Endpoint, text: String) -> Finding {
    let place = facts.places.iter().find(|place| place.endpoint == *endpoint);
    // The folder decides if the socket behind it cannot be seen.
    let deciding = place.and_then(|place| {
        let socket = place.socket.as_ref().map(|socket| (socket, GROUP_WRITES));
        socket.or(place.folder.as_ref().map(|folder| (folder, GROUP_ENTERS)))
    });
    let open_it = |finding: Finding| {
        finding.step(HERE.open_to_group).step("Restart the broker after it, and add a rule for the group.")
    };
    match deciding {
        Some((file, bit)) if file.mode & bit != 0 => membership(&facts.me, file, text),
        Some((file, _)) => {
            let text = format!("{text}; {} is open to its owner only ({:04o})", file.path.display(), file.mode);
            open_it(Finding::problem("socket", "private", text))
        }
        None => open_it(Finding::problem("socket", "forbidden", text)),
    }
}

/// The finding for a file that is open to a group.
fn membership(me: &Me, file: &File, text: String) -> Finding {
    let open = format!("{text}; it is open to the group {}", file.group);
    let again = "Log out and in again: a session keeps the groups that it began with.";
    if me.groups.contains(&file.gid) {
        let text = format!("{open}, of which you are a member: something else forbids it, such as a container");
        return Finding::problem("socket", "forbidden-to-member", text);
    }
    if me.assigned.contains(&file.gid) {
        let text = format!("{open}, and you became a member after this session began");
        return Finding::problem("socket", "new-member", text).step(again).step(format!("newgrp {}", file.group));
    }
    let text = format!("{open}, and you are no member");
    let join = format!("sudo usermod --append --groups {} {}", file.group, me.typed());
    Finding::problem("socket", "not-member", text).step(join).step(again).step(for_members(&file.group))
}

/// The meaning of a membership in the socket's group.
fn for_members(group: &str) -> String {
    format!("Members of {group} may use every card that the rules do not deny them, also over ssh.")
}

fn untrusted(distrust: &Distrust, text: String) -> Finding {
    let finding = Finding::problem("trust", "not-trusted", text);
    match distrust {
        Distrust::NotOwn(..) => finding.step("unset XDG_RUNTIME_DIR"),
        Distrust::Writable(path, _) => finding.step(format!("sudo chmod go-w {}", path.display())),
        Distrust::OpenFile(path, _) => finding.step(format!("chmod 600 {}", path.display())),
        Distrust::Foreign(path, _) | Distrust::ForeignFile(path, _) => {
            finding.step(format!("{} {}", HERE.show_owner, path.display())).step(HERE.change_owner)
        }
        _ => finding.step("If you trust the broker there, name its endpoint: cardbroker --endpoint unix:/PATH doctor"),
    }
}
