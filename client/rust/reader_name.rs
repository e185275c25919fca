//! The ways in which a program may name a reader.

use crate::{Client, Error, Reader};

const PREFIX: &str = "readers/";

/// A reader, named by a [`Reader`], by its name `readers/{id}`, by its id, or by its display name.
///
/// A text that begins with `readers/` is the name. Any other text of the characters `a-z0-9-` only is the id.
/// Everything else is the display name: the client looks for the reader with exactly this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderName(Naming);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Naming {
    /// The resource name in requests: `readers/{id}`.
    Name(String),
    Display(String),
}

impl ReaderName {
    /// Returns the resource name; looks up a display name.
    ///
    /// # Errors
    /// The errors of [`Client::readers`]; [`Error::Invalid`] if no reader or several have this display name.
    pub(crate) async fn resolve(self, client: &Client) -> Result<String, Error> {
        match self.0 {
            Naming::Name(name) => Ok(name),
            Naming::Display(wanted) => find(&client.readers().await?, &wanted),
        }
    }

    /// Returns the resource name of a reader, or the empty name that means all readers.
    ///
    /// # Errors
    /// As [`ReaderName::resolve`].
    pub(crate) async fn resolve_or_all(reader: Option<Self>, client: &Client) -> Result<String, Error> {
        match reader {
            Some(reader) => reader.resolve(client).await,
            None => Ok(String::new()),
        }
    }
}

fn find(readers: &[Reader], wanted: &str) -> Result<String, Error> {
    let having: Vec<_> = readers.iter().filter(|reader| reader.display_name == wanted).collect();
    let message = match having[..] {
        [reader] => return Ok(reader.name.clone()),
        [] if readers.is_empty() => {
            format!("no reader is called \"{wanted}\": there are no readers, or you may see none of them")
        }
        [] => format!("no reader is called \"{wanted}\"; there are: {}", listed(readers.iter())),
        _ => format!("several readers are called \"{wanted}\": {}", listed(having.into_iter())),
    };
    Err(Error::invalid("reader", message))
}

fn listed<'a>(readers: impl Iterator<Item = &'a Reader>) -> String {
    readers.map(|reader| format!("{} ({})", reader.name, reader.display_name)).collect::<Vec<_>>().join(", ")
}

impl From<&str> for ReaderName {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&String> for ReaderName {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<String> for ReaderName {
    fn from(text: String) -> Self {
        let is_id = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.starts_with(PREFIX) {
            Self(Naming::Name(text))
        } else if !text.is_empty() && text.bytes().all(is_id) {
            Self(Naming::Name(PREFIX.to_owned() + &text))
        } else {
            Self(Naming::Display(text))
        }
    }
}

impl From<&Reader> for ReaderName {
    fn from(reader: &Reader) -> Self {
        Self(Naming::Name(reader.name.clone()))
    }
}

impl From<Reader> for ReaderName {
    fn from(reader: Reader) -> Self {
        Self(Naming::Name(reader.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(name: &str, display_name: &str) -> Reader {
        Reader { name: name.into(), display_name: display_name.into(), ..Reader::default() }
    }

    #[test]
    fn a_text_is_a_name_id_or_display_name() {
        let name = |text: &str| ReaderName(Naming::Name(text.into()));
        assert_eq!(ReaderName::from("readers/Odd One"), name("readers/Odd One"));
        assert_eq!(ReaderName::from("pcd-00"), name("readers/pcd-00"));
        assert_eq!(ReaderName::from(&reader("readers/x", "X")), name("readers/x"));
        for text in ["PCD 00", "Pcd", "a_b", "", "r\u{e9}"] {
            assert_eq!(ReaderName::from(text), ReaderName(Naming::Display(text.into())));
        }
    }

    #[test]
    fn a_display_name_must_fit_one_reader_exactly() {
        let readers = [reader("readers/a", "Twin"), reader("readers/b", "Twin"), reader("readers/c", "Single")];
        assert_eq!(find(&readers, "Single").unwrap(), "readers/c");
        let several = find(&readers, "Twin").unwrap_err().to_string();
        assert_eq!(several, "several readers are called \"Twin\": readers/a (Twin), readers/b (Twin)");
        let none = find(&readers[2..], "single").unwrap_err();
        assert_eq!(none.to_string(), "no reader is called \"single\"; there are: readers/c (Single)");
        assert!(matches!(none, Error::Invalid(_)));
        assert!(find(&[], "x").is_err());
    }
}
