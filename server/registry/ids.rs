//! The ids of readers, derived from their display names.

/// The id of a reader: the alias, or the display name in lower case with `-` for each run of characters other than
/// letters and digits; with a suffix `-2`, `-3` … if the id is taken.
pub(super) fn free_id(display_name: &str, alias: Option<&str>, is_taken: impl Fn(&str) -> bool) -> String {
    let wanted = alias.map_or_else(|| id_of(display_name), str::to_owned);
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.clone()).chain(numbered).find(|id| !is_taken(id)).unwrap_or(wanted)
}

fn id_of(display_name: &str) -> String {
    let lower = display_name.to_ascii_lowercase();
    let words: Vec<_> =
        lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "reader".into() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_derived_from_display_names() {
        assert_eq!(id_of("Virtual PCD 00 00"), "virtual-pcd-00-00");
        assert_eq!(id_of("Gemalto (PC) [Twin+]  01"), "gemalto-pc-twin-01");
        assert_eq!(id_of("Ünïcode"), "n-code");
        assert_eq!(id_of("***"), "reader");
    }

    #[test]
    fn an_alias_is_the_id_and_collisions_are_numbered() {
        assert_eq!(free_id("A B", Some("hsm"), |_| false), "hsm");
        assert_eq!(free_id("A B", None, |id| id == "a-b"), "a-b-2");
        assert_eq!(free_id("A B", None, |id| ["a-b", "a-b-2"].contains(&id)), "a-b-3");
    }
}
