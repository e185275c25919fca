//! `cardbroker readers`: a table of the readers and their cards.

use cardbroker_client::{Client, Reader, hex};

use super::{Failure, Screen, json, printable};

const HEADINGS: [&str; 5] = ["NAME", "STATE", "PROTOCOL", "ATR", "DISPLAY NAME"];

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
        write!(screen.out, "{}", table(&readers))?;
    }
    Ok(())
}

fn table(readers: &[Reader]) -> String {
    let rows: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(readers.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |[name, state, protocol, atr, display_name]: &[String; 5]| {
        let [a, b, c, d] = widths;
        format!("{name:a$}  {state:b$}  {protocol:c$}  {atr:d$}  {display_name}\n")
    };
    rows.iter().map(line).collect()
}

fn row(reader: &Reader) -> [String; 5] {
    let atr = hex::format(&reader.atr);
    [
        printable(&reader.name),
        json::state(reader),
        json::protocol(reader.active_protocol).unwrap_or_else(|| "-".to_owned()),
        if atr.is_empty() { "-".to_owned() } else { atr },
        printable(&reader.display_name),
    ]
}

#[cfg(test)]
mod tests {
    use cardbroker_client::{CardProtocol, ReaderState};

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let empty = Reader {
            name: "readers/a".into(),
            display_name: "A".into(),
            state: ReaderState::Empty.into(),
            ..Reader::default()
        };
        let ready = Reader {
            name: "readers/long-name".into(),
            display_name: "Long Name".into(),
            state: ReaderState::Ready.into(),
            atr: vec![0x3B, 0x80],
            active_protocol: CardProtocol::T1.into(),
            ..Reader::default()
        };
        let expected = "\
NAME               STATE  PROTOCOL  ATR   DISPLAY NAME
readers/a          EMPTY  -         -     A
readers/long-name  READY  T1        3B80  Long Name
";
        assert_eq!(table(&[empty, ready]), expected);
    }
}
