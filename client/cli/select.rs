//! Finds a reader by its name, its display name, or a part of either that only one reader has.

use cardbroker_client::{Client, Reader};

use super::Failure;

/// Returns the one reader of the broker that `wanted` names. A name that fits none is also sent to the broker, whose
/// audit trail shows then that somebody looked for a hidden reader; the failure is the same.
///
/// # Errors
/// [`Failure::Broker`] if the broker gives no list, and the errors of [`select`].
pub(crate) async fn find(client: &Client, wanted: &str) -> Result<Reader, Failure> {
    let readers = client.readers().await?;
    match select(&readers, wanted) {
        Ok(reader) => Ok(reader.clone()),
        Err(failure) => {
            // Whatever it answers, the list has no such reader.
            let _ = client.reader(format!("readers/{}", id_of(wanted))).await;
            Err(failure)
        }
    }
}

/// The id that a reader without an alias has if `wanted` is its id, its name or its display name.
fn id_of(wanted: &str) -> String {
    let lower = wanted.trim_start_matches("readers/").to_ascii_lowercase();
    let words = lower.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// Returns the one reader that `wanted` names. Case does not matter; a whole name takes precedence over parts of
/// others.
///
/// # Errors
/// [`Failure::Reader`] with the readers to choose from.
pub(crate) fn select<'a>(readers: &'a [Reader], wanted: &str) -> Result<&'a Reader, Failure> {
    let matches = matches(readers, wanted);
    match matches[..] {
        [reader] => Ok(reader),
        [] if readers.is_empty() => Err(Failure::Reader(format!(
            "no reader matches \"{wanted}\": there are no readers, or you may see none of them"
        ))),
        [] => Err(Failure::Reader(format!("no reader matches \"{wanted}\"; there are: {}", listed(readers.iter())))),
        _ => Err(Failure::Reader(format!("several readers match \"{wanted}\": {}", listed(matches.into_iter())))),
    }
}

/// All readers that `wanted` could name.
pub(crate) fn matches<'a>(readers: &'a [Reader], wanted: &str) -> Vec<&'a Reader> {
    let wanted_lower = wanted.to_lowercase();
    let names = |reader: &Reader| {
        let id = reader.name.trim_start_matches("readers/").to_owned();
        [reader.name.to_lowercase(), id.to_lowercase(), reader.display_name.to_lowercase()]
    };
    let whole: Vec<_> = readers.iter().filter(|reader| names(reader).contains(&wanted_lower)).collect();
    let part = |reader: &&Reader| names(reader).iter().any(|name| name.contains(&wanted_lower));
    if whole.is_empty() { readers.iter().filter(part).collect() } else { whole }
}

fn listed<'a>(readers: impl Iterator<Item = &'a Reader>) -> String {
    readers.map(|reader| format!("{} ({})", reader.name, reader.display_name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readers() -> Vec<Reader> {
        let reader = |id: &str, display_name: &str| Reader {
            name: format!("readers/{id}"),
            display_name: display_name.to_owned(),
            ..Reader::default()
        };
        vec![
            reader("pcd", "PCD"),
            reader("pcd-00-00", "PCD 00 00"),
            reader("desk", "Yubico YubiKey OTP+FIDO+CCID 00 00"),
        ]
    }

    fn chosen(wanted: &str) -> String {
        select(&readers(), wanted).unwrap().name.clone()
    }

    #[test]
    fn a_reader_is_found_by_any_unique_part() {
        assert_eq!(chosen("desk"), "readers/desk");
        assert_eq!(chosen("readers/desk"), "readers/desk");
        assert_eq!(chosen("PCD 00 00"), "readers/pcd-00-00");
        assert_eq!(chosen("yubikey"), "readers/desk");
    }

    #[test]
    fn a_whole_name_wins_over_a_part_of_another() {
        assert_eq!(chosen("pcd"), "readers/pcd");
    }

    #[test]
    fn an_unclear_name_lists_the_readers_that_fit() {
        let Err(Failure::Reader(message)) = select(&readers(), "00 00") else { panic!("chosen") };
        assert_eq!(
            message,
            "several readers match \"00 00\": readers/pcd-00-00 (PCD 00 00), \
             readers/desk (Yubico YubiKey OTP+FIDO+CCID 00 00)"
        );
    }

    #[test]
    fn an_unknown_name_lists_all_readers() {
        let Err(Failure::Reader(message)) = select(&readers()[..1], "acs") else { panic!("chosen") };
        assert_eq!(message, "no reader matches \"acs\"; there are: readers/pcd (PCD)");
        assert!(select(&[], "acs").is_err());
    }
}
