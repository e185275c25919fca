//! The search for a broker in a table of the kit instead of a file system.

use std::{future::ready, io, path::Path};

use cardbroker_client::Finding;
use cardbroker_local::{
    discovery::search,
    socket::{MAX_PATH_BYTES, Place, places},
    trust::{Kind, Part, walk_with},
};
use serde_json::{Value, json};

use crate::read::{self, Mistake};

/// Searches as the user and in the environment of the order. Returns the findings, and the endpoint that works.
pub(crate) async fn find(order: &Value) -> Result<Value, Mistake> {
    let uid: u32 = read::number(&order["uid"])?;
    let runtime = order["environment"]["XDG_RUNTIME_DIR"].as_str().map(Path::new);
    let found = &order["found"];
    let attempt = |place: Place| ready(attempt(&place, uid, found));
    let (place, tried) = match search(&places(uid, runtime), attempt).await {
        Ok(((place, ()), tried)) => (Some(place), tried),
        Err(tried) => (None, tried),
    };
    let endpoint = |place: &Place| format!("unix:{}", place.path.display());
    let tried: Vec<_> =
        tried.iter().map(|(place, finding)| json!({ "endpoint": endpoint(place), "finding": name(finding) })).collect();
    let mut answer = json!({ "tried": tried });
    if let Some(place) = &place {
        answer["endpoint"] = endpoint(place).into();
    }
    Ok(answer)
}

fn attempt(place: &Place, uid: u32, found: &Value) -> Result<(), Finding> {
    if place.path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(Finding::TooLong);
    }
    walk_with(place, uid, |path| part(path, words(found, path)))
        .map_err(|obstacle| Finding::of_walk(obstacle, place))?;
    match words(found, &place.path).get(3) {
        Some(error) => Err(Finding::of(&kind(error).into(), None)),
        None => Ok(()),
    }
}

/// The words of a path in the table; none if it does not exist.
fn words<'a>(found: &'a Value, path: &Path) -> Vec<&'a str> {
    let text = path.to_str().and_then(|path| found[path].as_str());
    text.map(|text| text.split(' ').collect()).unwrap_or_default()
}

fn part(path: &Path, words: Vec<&str>) -> io::Result<Part> {
    let (name, owner, mode) = match words[..] {
        [name, owner, mode, ..] => (name, owner, mode),
        [error] => return Err(kind(error).into()),
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    let file = match name {
        "folder" => Kind::Folder,
        "link" => Kind::Link,
        _ => Kind::Other,
    };
    let number = |text, radix| u32::from_str_radix(text, radix).map_err(io::Error::other);
    Ok(Part { path: path.into(), kind: file, owner: number(owner, 10)?, mode: number(mode, 8)? })
}

fn kind(error: &str) -> io::ErrorKind {
    match error {
        "EACCES" => io::ErrorKind::PermissionDenied,
        "ECONNREFUSED" => io::ErrorKind::ConnectionRefused,
        "ENOTDIR" => io::ErrorKind::NotADirectory,
        _ => io::ErrorKind::Other,
    }
}

fn name(finding: &Finding) -> &'static str {
    match finding {
        Finding::Missing => "missing",
        Finding::Refused(_) => "refused",
        Finding::Forbidden(_) => "forbidden",
        Finding::Untrusted(_) => "untrusted",
        Finding::OtherProgram => "other_program",
        Finding::TooLong => "too_long",
        _ => "failed",
    }
}
