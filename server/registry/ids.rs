//! The ids of readers, derived from their names.

use cardbroker_core::{
    policy::ReaderNames,
    slot::{SlotName, SlotStatus},
};

use crate::config::Config;

/// Returns the names of the readers that a broker with this configuration would give to `slots` at its start.
pub fn names(slots: &[SlotStatus], config: &Config) -> Vec<ReaderNames> {
    let mut names: Vec<ReaderNames> = Vec::new();
    for SlotStatus { name, .. } in slots {
        let alias = config.reader(name.shown()).alias;
        let id = free_id(name, alias.as_deref(), |id| names.iter().any(|reader| reader.id == id));
        names.push(ReaderNames { id, display_name: name.shown().to_owned() });
    }
    names
}

/// The id of a reader: the alias, or the name in lower case with `-` for each run of bytes other than ASCII letters and
/// digits; with a suffix `-2`, `-3` … if the id is taken.
pub(super) fn free_id(name: &SlotName, alias: Option<&str>, is_taken: impl Fn(&str) -> bool) -> String {
    let wanted = alias.map_or_else(|| id_of(name.bytes()), str::to_owned);
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.clone()).chain(numbered).find(|id| !is_taken(id)).unwrap_or(wanted)
}

fn id_of(name: &[u8]) -> String {
    let words = name.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    if words.is_empty() { "reader".into() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_derived_from_display_names() {
        assert_eq!(id_of(b"Virtual PCD 00 00"), "virtual-pcd-00-00");
        assert_eq!(id_of(b"Gemalto (PC) [Twin+]  01"), "gemalto-pc-twin-01");
        // On Windows: vendor, type and unit, in the code page of the system.
        assert_eq!(id_of(b"Microsoft Virtual Smart Card 0"), "microsoft-virtual-smart-card-0");
        assert_eq!(id_of(b"Kartenleseger\xE4t GmbH CCID 1"), "kartenleseger-t-gmbh-ccid-1");
        assert_eq!(id_of("Ünïcode".as_bytes()), "n-code");
        assert_eq!(id_of(b"Intel\xAE Card Reader 00 00"), "intel-card-reader-00-00");
        assert_eq!(id_of(b"***"), "reader");
    }

    #[test]
    fn an_alias_is_the_id_and_collisions_are_numbered() {
        assert_eq!(free_id(&"A B".into(), Some("hsm"), |_| false), "hsm");
        assert_eq!(free_id(&"A B".into(), None, |id| id == "a-b"), "a-b-2");
        assert_eq!(free_id(&"A B".into(), None, |id| ["a-b", "a-b-2"].contains(&id)), "a-b-3");
    }
}
