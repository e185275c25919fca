//! Conversations of programs with the latest libpcsclite, recorded: the door gives the same answers again.

use std::collections::BTreeMap;

use super::program::{Program, World};

const RECORDED: &str = include_str!("recorded.txt");

/// A piece of a message.
enum Piece<'a> {
    Bytes(Vec<u8>),
    /// A number that the door chooses, by its name.
    Number(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.split_whitespace().map(|word| match word.strip_prefix("0*") {
        Some(count) => Piece::Bytes(vec![0; count.parse().unwrap()]),
        None if word.starts_with(|letter: char| letter.is_ascii_uppercase()) => Piece::Number(word),
        None => Piece::Bytes(hex::decode(word).unwrap()),
    })
}

/// The messages of each conversation: the direction, and the text of the bytes.
fn conversations() -> Vec<Vec<(char, String)>> {
    let mut conversations = vec![];
    for line in RECORDED.lines() {
        let messages: &mut Vec<(char, String)> = match conversations.last_mut() {
            Some(messages) if !line.is_empty() => messages,
            _ => {
                conversations.push(vec![]);
                continue;
            }
        };
        match line.chars().next() {
            Some(direction @ ('>' | '<')) => messages.push((direction, line[1..].to_owned())),
            Some(' ') => messages.last_mut().unwrap().1.push_str(line),
            _ => {}
        }
    }
    conversations.retain(|messages| !messages.is_empty());
    conversations
}

async fn replay(program: &mut Program, messages: &[(char, String)]) {
    let mut numbers = BTreeMap::new();
    for (direction, text) in messages {
        let mut sent = vec![];
        for piece in pieces(text) {
            match (direction, piece) {
                ('>', Piece::Bytes(bytes)) => sent.extend(bytes),
                ('>', Piece::Number(name)) => sent.extend(&numbers[name]),
                (_, Piece::Bytes(bytes)) => assert_eq!(program.receive(bytes.len()).await, bytes, "in {text}"),
                (_, Piece::Number(name)) => {
                    let number = program.receive(4).await;
                    assert_eq!(*numbers.entry(name.to_owned()).or_insert_with(|| number.clone()), number, "{name}");
                }
            }
        }
        program.send_bytes(&sent).await;
    }
    program.finish().await;
    assert!(program.is_closed().await, "the door has sent more than was recorded");
}

/// The protocol has the order of the machine's bytes.
#[cfg(target_endian = "little")]
#[tokio::test]
async fn recorded_programs_with_the_latest_library_get_the_same_answers() {
    let conversations = conversations();
    assert_eq!(conversations.len(), 2);
    for messages in conversations {
        let mut world = World::usual().await;
        replay(&mut world.connect(1), &messages).await;
        world.stop().await;
    }
}
