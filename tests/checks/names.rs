//! The names in a piece of Rust: every path of two segments or more, and every import, with `use` trees spelled out.
//! Comments and strings are no names, and items under `#[cfg(test)]` are left out.

use proc_macro2::{TokenStream, TokenTree};

/// One name, such as `crate::error::Failure`, and where it ends.
pub(crate) struct Name {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// All names of a file, in order.
pub(crate) fn of(source: &str) -> Vec<Name> {
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("not Rust: {error}"));
    let mut reader = Reader { found: Vec::new() };
    reader.read(tokens, &[]);
    reader.found
}

struct Reader {
    found: Vec<Name>,
}

impl Reader {
    /// Reads the tokens of one group; each of its paths begins with `prefix`, which only a `use` tree has.
    fn read(&mut self, tokens: TokenStream, prefix: &[String]) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path = prefix.to_vec();
        // Whether the next identifier goes on with `path`.
        let mut open = true;
        let mut imported = false;
        let mut line = 0;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) => {
                    if !open {
                        self.finish(&mut path, line, &mut imported);
                    }
                    if word == "use" {
                        imported = true;
                    } else {
                        line = word.span().start().line;
                        path.push(word.to_string());
                        open = false;
                    }
                    continue;
                }
                TokenTree::Punct(first) if first.as_char() == ':' => {
                    let second = tokens.next_if(|next| matches!(next, TokenTree::Punct(next) if next.as_char() == ':'));
                    if second.is_some() {
                        open = true;
                        continue;
                    }
                    self.finish(&mut path, line, &mut imported);
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    self.finish(&mut path, line, &mut imported);
                    if tokens.peek().is_some_and(is_test_attribute) {
                        let _item = tokens.find(ends_item);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.finish(&mut path, line, &mut imported),
                TokenTree::Group(group) => {
                    if open && !path.is_empty() {
                        self.read(group.stream(), &path);
                        path.clear();
                    } else {
                        self.finish(&mut path, line, &mut imported);
                        self.read(group.stream(), &[]);
                    }
                }
            }
            path.extend_from_slice(prefix);
            open = true;
        }
        self.finish(&mut path, line, &mut imported);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize, imported: &mut bool) {
        let segments = std::mem::take(path);
        if segments.len() > 1 || (*imported && !segments.is_empty()) {
            self.found.push(Name { line, segments });
        }
        *imported = false;
    }
}

fn is_test_attribute(token: &TokenTree) -> bool {
    let text: String = token.to_string().split_whitespace().collect();
    text.starts_with("[cfg(test") || text.starts_with("[cfg(all(test")
}

fn ends_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == proc_macro2::Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    fn names(source: &str) -> Vec<String> {
        super::of(source).into_iter().map(|name| name.segments.join("::")).collect()
    }

    #[test]
    fn trees_are_spelled_out() {
        let source = "use crate::{error::{Failure, Reason as R}, reader::*, unit}; use tokio;";
        let expected = ["crate::error::Failure", "crate::error::Reason", "crate::reader", "crate::unit", "tokio"];
        assert_eq!(names(source), expected);
    }

    #[test]
    fn names_are_found_in_types_expressions_and_macros() {
        let source =
            "fn f(a: std::time::Instant) -> Vec<b::C> { select! { _ = d::e() => { g::<h::I>() } }; a.j::<k::L>() }";
        assert_eq!(names(source), ["std::time::Instant", "b::C", "d::e", "h::I", "k::L"]);
    }

    #[test]
    fn comments_texts_and_tests_are_no_names() {
        let source = "/// a::b\n// c::d\nconst T: &str = \"e::f\"; #[cfg(test)] use g::h;\n\
                      #[cfg(all(test, unix))] mod t { use i::j; } use k::l;";
        let found = super::of(source);
        assert_eq!((found.len(), found[0].line, found[0].segments.join("::").as_str()), (1, 4, "k::l"));
    }
}
