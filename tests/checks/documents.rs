//! Blocks of code in the documents: configurations that the daemon takes, and excerpts of programs that tests run.
//! Commands (`sh`) are for the story in tests/e2e/documents.rs.

use std::{io::Write, path::Path};

use cardbroker_checks::markdown::{Block, blocks, in_backticks};
use cardbroker_server::config::Config;

use super::sources;

/// The languages of examples, and the endings of their files' names.
const LANGUAGES: &[(&str, &str)] =
    &[("rust", ".rs"), ("python", ".py"), ("c", ".c"), ("cpp", ".cpp"), ("js", ".mjs"), ("cmake", "CMakeLists.txt")];

/// Folders with examples that tests run or compile.
const EXAMPLES: &[&str] = &["/examples/", "client/cpp/tests/consumer/"];

fn documents() -> Vec<(String, String)> {
    sources::all().into_iter().filter(|(path, _)| path.ends_with(".md")).collect()
}

/// The problem of a block, if it has one. `is_tested` tells whether the document's Rust is compiled as its crate's own.
fn problem(path: &str, block: &Block, examples: &[(String, String)], is_tested: bool) -> Option<String> {
    let language = block.info.split(',').next().unwrap_or_default();
    match language {
        "text" => None,
        "toml" => configuration_problem(&block.lines.join("\n")),
        // The story reads the documents at the top and in docs/.
        "sh" if !path.contains('/') || path.starts_with("docs/") => None,
        "sh" => Some("no test runs these commands: `text`".into()),
        "rust" if is_tested => None,
        _ => match LANGUAGES.iter().find(|(known, _)| *known == language) {
            Some((_, ending)) => {
                let mut examples = examples.iter().filter(|(example, _)| example.ends_with(ending));
                let is_excerpt = examples.any(|(_, text)| contains(text, &block.lines));
                (!is_excerpt).then(|| format!("no excerpt of an example *{ending}"))
            }
            None => Some(format!("the info string `{}` is unknown", block.info)),
        },
    }
}

fn configuration_problem(text: &str) -> Option<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path())).err().map(|error| error.to_string())
}

/// Whether the lines follow each other in a text, whatever their indentation.
fn contains(text: &str, lines: &[String]) -> bool {
    let text: Vec<_> = text.lines().map(str::trim).collect();
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    !lines.is_empty() && text.windows(lines.len()).any(|window| window == lines)
}

/// Documents that a crate includes as its own documentation, so that their Rust is compiled.
fn compiled() -> Vec<String> {
    let included = |(path, text): (String, String)| -> Vec<String> {
        let folder = Path::new(&path).parent().unwrap().to_owned();
        let names = text.split("doc = include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.map(|name| plain(&folder.join(name))).collect()
    };
    sources::rust().into_iter().flat_map(included).collect()
}

/// A path in which each `.` and `..` is resolved, as text.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().map(|part| part.to_str().unwrap()) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_block_of_code_is_checked_by_something() {
    let is_example = |path: &str| EXAMPLES.iter().any(|folder| path.contains(folder));
    let examples: Vec<_> = sources::all().into_iter().filter(|(path, _)| is_example(path)).collect();
    let compiled = compiled();
    let mut found = Vec::new();
    for (path, text) in documents() {
        for block in blocks(&text) {
            let problem = problem(&path, &block, &examples, compiled.contains(&path));
            found.extend(problem.map(|problem| format!("{path}:{}: {problem}", block.line)));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn planted_blocks_are_found() {
    let examples = [("client/python/examples/first.py".to_owned(), "import a\n    b = 1\n    c = 2\n".to_owned())];
    for (path, info, line, is_good) in [
        ("README.md", "text", "anything", true),
        ("README.md", "sh", "cardbroker readers", true),
        ("client/README.md", "sh", "cardbroker readers", false),
        ("README.md", "", "anything", false),
        ("README.md", "console", "$ cardbroker", false),
        ("docs/operating.md", "toml", "[listen]", true),
        ("docs/operating.md", "toml", "[lisen]", false),
        ("client/README.md", "rust,no_run", "fn main() {}", true),
        ("client/python/README.md", "python", "b = 1", true),
        ("client/python/README.md", "python", "b = ", false),
        ("client/python/README.md", "cpp", "b = 1", false),
    ] {
        let block = Block { line: 1, info: info.into(), lines: vec![line.into()] };
        let problem = problem(path, &block, &examples, path == "client/README.md");
        assert_eq!(problem.is_none(), is_good, "{path} {info} {line}: {problem:?}");
    }
}

#[test]
fn the_exit_codes_in_the_documents_are_those_of_the_help() {
    let documents = documents();
    let mut found = 0;
    for (path, text) in sources::rust() {
        let is_program = path.starts_with("server/") || path.starts_with("client/");
        let codes = text.split("\nExit codes:\n").nth(1).and_then(|rest| rest.split('"').next());
        let Some(codes) = codes.filter(|_| is_program) else { continue };
        assert!(
            documents.iter().any(|(_, text)| text.contains(codes)),
            "no document has the exit codes of {path}:\n{codes}"
        );
        found += 1;
    }
    assert_eq!(found, 2, "one table for each program");
}

/// The text of a document without its blocks of code.
fn prose(text: &str) -> String {
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names in backticks: paths of files and folders, and `Type::function`.
fn names(text: &str) -> Vec<String> {
    in_backticks(&prose(text)).map(str::to_owned).collect()
}

/// The targets of a document's links, without those on other hosts.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let text = prose(text);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letter = |letter: char| match letter {
        ' ' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => letter.to_lowercase().next(),
        _ => None,
    };
    headings.map(|heading| heading.chars().filter_map(letter).collect()).collect()
}

/// Whether a link in the document at `path` leads to a file or a heading that does not exist.
fn is_dead_link(path: &str, link: &str, files: &[(String, String)]) -> bool {
    let (target, anchor) = link.split_once('#').map_or((link, None), |(target, anchor)| (target, Some(anchor)));
    let found = match target {
        "" => path.to_owned(),
        target => plain(&Path::new(path).with_file_name(target)),
    };
    let text = files.iter().find(|(path, _)| *path == found).map(|(_, text)| text);
    match (text, anchor) {
        (Some(text), Some(anchor)) => !anchors(text).iter().any(|known| known == anchor),
        (Some(_), None) => false,
        (None, _) => !files.iter().any(|(path, _)| path.starts_with(&format!("{found}/"))),
    }
}

/// Whether a name in a document is a path in the repository that does not exist.
fn is_dead_path(name: &str, files: &[(String, String)]) -> bool {
    const ROOMS: [&str; 6] = ["client/", "docs/", "proto/", "server/", "tests/", ".ci/"];
    let is_path = ROOMS.iter().any(|room| name.starts_with(room))
        && !name.contains([' ', '{', '*', '<', '='])
        && (name.ends_with('/') || name.rsplit('/').next().is_some_and(|file| file.contains('.')));
    is_path && !files.iter().any(|(path, _)| path == name || name.ends_with('/') && path.starts_with(name))
}

/// Whether a name in a document is a `Type::function` that no source has.
fn is_dead_function(name: &str, files: &[(String, String)]) -> bool {
    let Some((home, function)) = name.split_once("::") else { return false };
    let is_word = |text: &str| !text.is_empty() && text.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if !is_word(home) || !is_word(function) || !home.starts_with(char::is_uppercase) {
        return false;
    }
    let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let declares = |text: &str| {
        ["struct", "enum", "trait", "type"].iter().any(|kind| text.contains(&format!("{kind} {home}")))
            && [format!("fn {function}"), format!("const {function}"), format!("    {function}")]
                .iter()
                .any(|item| text.contains(item))
    };
    let is_split = |text: &str| text.contains(&format!("impl {home}")) && text.contains(&format!("fn {function}"));
    !rust.into_iter().any(|(_, text)| declares(text) || is_split(text))
}

#[test]
fn every_path_and_function_in_the_documents_exists() {
    let files = sources::all();
    let mut dead = Vec::new();
    for (path, text) in documents().iter().filter(|(path, _)| path != "CHANGELOG.md") {
        let names = names(text).into_iter();
        // The clients' own pages name functions in their languages.
        let is_of_rust = !path.starts_with("client/");
        let missing = names.filter(|name| is_dead_path(name, &files) || is_of_rust && is_dead_function(name, &files));
        dead.extend(missing.map(|name| format!("{path}: `{name}`")));
    }
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let files = sources::all();
    let mut dead = Vec::new();
    for (path, text) in documents() {
        let missing = links(&text).into_iter().filter(|link| is_dead_link(&path, link, &files));
        dead.extend(missing.map(|link| format!("{path}: ({link})")));
    }
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

#[test]
fn planted_dead_links_are_found() {
    let text = "# A Page, of `many`\n[one](page.md#a-page-of-many) [two](../b.rs) [far](https://host/)";
    assert_eq!(links(text), ["page.md#a-page-of-many", "../b.rs"]);
    let files = [("docs/page.md".to_owned(), text.to_owned()), ("b.rs".to_owned(), String::new())];
    for (link, is_dead) in [
        ("page.md#a-page-of-many", false),
        ("#a-page-of-many", false),
        ("#a-page", true),
        ("../b.rs", false),
        ("../docs/", false),
        ("b.rs", true),
    ] {
        assert_eq!(is_dead_link("docs/page.md", link, &files), is_dead, "{link}");
    }
}

#[test]
fn planted_dead_names_are_found() {
    assert_eq!(names("`a`\n```text\n`x`\n```\n`server/a.rs`"), ["a", "server/a.rs"]);
    let files = [("server/core/turns/lease.rs".to_owned(), "struct Leases; impl Leases { fn end() {} }".to_owned())];
    assert!(is_dead_path("server/core/turns/queue.rs", &files) && is_dead_function("Leases::finish", &files));
    assert!(!is_dead_path("server/core/turns/", &files) && !is_dead_function("Leases::end", &files));
}

/// The rows `| … | `FILE.rs` | COUNT |` of a table of stories.
fn story_counts(text: &str) -> Vec<(String, usize)> {
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [_, file, count] = cells[..] else { return None };
        Some((file.strip_prefix('`')?.strip_suffix('`')?.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn the_stories_on_windows_are_counted_as_they_are() {
    let stories = |(path, text): &(String, String)| {
        let file = path.strip_prefix("tests/windows/")?;
        let count = text.lines().filter(|line| line.trim() == "#[test]").count();
        (count > 0).then(|| (file.to_owned(), count))
    };
    let mut told = story_counts(&sources::text("docs/windows.md"));
    let mut found: Vec<_> = sources::rust().iter().filter_map(stories).collect();
    told.sort();
    found.sort();
    assert!(found.len() > 5, "the stories are found");
    assert_eq!(told, found, "docs/windows.md, Stories");
}
