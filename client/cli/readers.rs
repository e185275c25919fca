//! `cardbroker readers`: the readers and their cards.

use cardbroker_client::{Client, Reader, ReaderState, hex};

use super::{
    Failure, Screen,
    card::{self, Atr, protocol_words},
    json,
    layout::{Colour, Paint, WIDTH, fill},
    printable,
};

/// The indent of the lines below a reader.
const INDENT: usize = 4;

pub(crate) async fn run(client: &Client, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let readers = client.readers().await?;
    if let Some(other) = client.other_broker() {
        let note = format!(
            "these are the readers of {}; the system's broker answers at {other}, too: see its readers with \
             --endpoint {other}",
            client.endpoint()
        );
        match json {
            true => json::write_line(screen.err, &serde_json::json!({ "note": note }))?,
            false => writeln!(screen.err, "cardbroker: {}", printable(&note))?,
        }
    }
    if json {
        json::write_line(screen.out, &readers.iter().map(json::reader).collect::<Vec<_>>())?;
    } else if readers.is_empty() {
        writeln!(
            screen.err,
            "no readers: plug one in, or start the broker with simulated ones (cardbrokerd --simulate 2); or you may \
             see none of them (cardbroker policy check)"
        )?;
    } else {
        write!(screen.out, "{}", table(&readers, Paint::on(screen.terminal)))?;
    }
    Ok(())
}

/// Names and states in columns, and below each reader its card. At most 80 columns wide.
fn table(readers: &[Reader], paint: Paint) -> String {
    let headings = ["READER".to_owned(), "STATE".to_owned(), "NAME".to_owned()];
    let rows: Vec<_> = readers.iter().map(columns).collect();
    let width =
        |column: usize| rows.iter().chain([&headings]).map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = (width(0), width(1));
    let mut told = line(&headings, widths, Paint::on(false), None);
    told = paint.paint(Some(Colour::Bold), told.trim_end()) + "\n";
    for (reader, row) in readers.iter().zip(&rows) {
        told += &line(row, widths, paint, Some(colour(reader)));
        told += &card_lines(reader);
    }
    told
}

fn columns(reader: &Reader) -> [String; 3] {
    [printable(short(&reader.name)), json::state(reader), printable(&reader.display_name)]
}

/// The id of a reader: its name without `readers/`.
pub(crate) fn short(name: &str) -> &str {
    name.strip_prefix("readers/").unwrap_or(name)
}

/// The color of a state: green is usable, red is not, yellow may become usable by itself.
pub(crate) fn colour(reader: &Reader) -> Colour {
    match ReaderState::try_from(reader.state) {
        Ok(ReaderState::Ready) => Colour::Green,
        Ok(ReaderState::Empty) => Colour::Dim,
        Ok(ReaderState::Settling | ReaderState::HeldElsewhere) => Colour::Yellow,
        _ => Colour::Red,
    }
}

fn line([id, state, name]: &[String; 3], (a, b): (usize, usize), paint: Paint, colour: Option<Colour>) -> String {
    let head = format!("{id:a$}  {}{:2$}", paint.paint(colour, state), "", b.saturating_sub(state.chars().count()));
    match a + b + 4 + name.chars().count() <= WIDTH {
        true => format!("{head}  {name}").trim_end().to_owned() + "\n",
        false => format!("{}\n{}", head.trim_end(), fill(&" ".repeat(INDENT), INDENT, name)),
    }
}

/// The protocol, the answer to reset and the kind of a card, as far as they are known.
fn card_lines(reader: &Reader) -> String {
    if reader.atr.is_empty() {
        return String::new();
    }
    let protocol = json::protocol(reader.active_protocol).map(|name| format!("{}  ", protocol_words(&name)));
    let atr = format!("{}ATR {}", protocol.unwrap_or_default(), hex::format(&reader.atr));
    let kind = card::kind(&Atr::read(&reader.atr));
    let text = match kind {
        Some(kind) if INDENT + atr.len() + 2 + kind.chars().count() <= WIDTH => vec![format!("{atr}  {kind}")],
        Some(kind) => vec![kind, atr],
        None => vec![atr],
    };
    let margin = " ".repeat(INDENT);
    // The gaps between the parts stay, unlike in `fill`.
    let is_short = |text: &String| INDENT + text.chars().count() <= WIDTH;
    text.iter()
        .map(|text| if is_short(text) { format!("{margin}{text}\n") } else { fill(&margin, INDENT, text) })
        .collect()
}

#[cfg(test)]
mod tests {
    use cardbroker_client::CardProtocol;

    use super::*;

    fn reader(id: &str, name: &str, state: ReaderState, atr: &str) -> Reader {
        Reader {
            name: format!("readers/{id}"),
            display_name: name.into(),
            state: state.into(),
            atr: hex::parse(atr).unwrap().to_vec(),
            active_protocol: if atr.is_empty() { 0 } else { CardProtocol::T1.into() },
            ..Reader::default()
        }
    }

    #[test]
    fn readers_are_columns_with_their_cards_below() {
        let yubikey = "3BFD1300008131FE158073C021C057597562694B657940";
        let readers = [
            reader("a", "A", ReaderState::Empty, ""),
            reader("long-name", "Long Name", ReaderState::Ready, "3B00"),
            reader("desk", &"Yubico YubiKey ".repeat(5), ReaderState::HeldElsewhere, yubikey),
        ];
        let expected = "\
READER     STATE           NAME
a          EMPTY           A
long-name  READY           Long Name
    T=1  ATR 3B00
desk       HELD_ELSEWHERE
    Yubico YubiKey Yubico YubiKey Yubico YubiKey Yubico YubiKey Yubico YubiKey
    T=1  ATR 3BFD1300008131FE158073C021C057597562694B657940  YubiKey
";
        assert_eq!(table(&readers, Paint::NEVER), expected);
        let painted = table(&readers, Paint::ALWAYS);
        assert!(painted.contains("a          \x1b[2mEMPTY\x1b[0m           A\n"), "{painted:?}");
    }

    #[test]
    fn no_line_is_wider_than_80_columns() {
        let atr = "AA".repeat(33);
        for length in 1..100 {
            let readers = [reader(&"i".repeat(length.min(60)), &"N".repeat(length), ReaderState::HeldElsewhere, &atr)];
            let told = table(&readers, Paint::NEVER);
            assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
        }
    }
}
