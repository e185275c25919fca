//! The operations that a client lacks on purpose, each with the reason. Cases with them are left out.

/// The client's name in `drivers`, the operation, and the reason.
const LACKS: &[(&str, &str, &str)] = &[
    ("c", "session_pipeline", "a session's call waits for its answer; threads may call at once, but in no fixed order"),
    ("c", "parse_endpoint", "an endpoint is a text among the options of a connection, and has no type of its own"),
    ("c", "find", "the search for a broker is the Rust client's; its driver shows it by internal functions"),
];

/// Returns the operations that a client lacks.
pub fn of(client: &str) -> Vec<&'static str> {
    LACKS.iter().filter(|(name, ..)| *name == client).map(|(_, operation, _)| *operation).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        case::{self, Choice},
        contract::Contract,
    };

    #[test]
    fn every_lack_leaves_cases_out() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let drivers = std::fs::read_to_string(here.join("drivers")).unwrap();
        let contract = Contract::load().unwrap();
        let count = |lacks| {
            let choice = Choice { lacks, ..Choice::default() };
            case::all(&contract, &here.join("../../proto/conformance"), &choice).unwrap().len()
        };
        for (client, operation, _) in LACKS {
            assert!(drivers.lines().any(|line| line.split(' ').next() == Some(*client)), "{client}: no such driver");
            assert!(count(vec![*operation]) < count(Vec::new()), "{operation}: in no case");
        }
    }
}
