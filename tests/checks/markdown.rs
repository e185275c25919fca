//! Markdown documents: their fenced blocks, and the texts in backticks.

/// A block between two fences.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of its first line in the document, counted from 1.
    pub line: usize,
    /// The info string behind the opening fence; empty if there is none.
    pub info: String,
    /// Its lines as they are, without the fences.
    pub lines: Vec<String>,
}

/// All fenced blocks of a document, in order. A fence may be indented, as in a list.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.trim().strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some(Block { line: index + 2, info: info.into(), lines: Vec::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.into()),
            (None, None) => {}
        }
    }
    blocks.extend(open);
    blocks
}

/// The texts in backticks of a text without fenced blocks.
pub fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_line_and_info_string() {
        let block = |line, info: &str, lines: &[&str]| Block {
            line,
            info: info.into(),
            lines: lines.iter().map(|line| (*line).into()).collect(),
        };
        let text = "a\n```sh\nmake\n\n```\n* b\n  ```\n  c\n  ```\n";
        assert_eq!(blocks(text), [block(3, "sh", &["make", ""]), block(8, "", &["  c"])]);
        assert_eq!(blocks("```toml\na = 1\n"), [block(2, "toml", &["a = 1"])]);
    }
}
