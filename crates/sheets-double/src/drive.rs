//! The little of Drive v3 that reading needs: files by title, and one file's times.

use crate::answer::Answer;
use crate::book::{Book, Books};
use crate::json::Node;
use crate::mask::{Known, Mask};
use crate::query::Query;

const SPREADSHEET: &str = "application/vnd.google-apps.spreadsheet";
const UNCHECKED_FILE: [&str; 4] = ["kind", "id", "name", "mimeType"];
const LIST: Known =
    Known(&[("kind", None), ("nextPageToken", None), ("incompleteSearch", None), ("files", None)]);

fn mask(query: &Query, default: &str) -> Result<Mask, Answer> {
    let fields = query.get("fields").unwrap_or(default);
    Mask::parse(fields).map_err(|error| Answer::unknown_field(&error.0))
}

/// Answers `files/{id}` [R 49].
pub(crate) fn file(book: &Book, id: &str, query: &Query, started: &str) -> Result<Answer, Answer> {
    let mask = mask(query, &UNCHECKED_FILE.join(","))?;
    Ok(Answer::ok(mask.select(file_node(book, id, started)).to_body()))
}

/// Answers `files`: the shared books that fit `q`.
pub(crate) fn list(books: &Books, query: &Query, started: &str) -> Result<Answer, Answer> {
    let default = format!("kind,incompleteSearch,files({})", UNCHECKED_FILE.join(","));
    let mask = mask(query, &default)?;
    if let Some(path) = mask.unknown(&LIST) {
        return Err(Answer::unknown_field(&path));
    }
    let filter = query.get("q").unwrap_or("");
    let title = term(filter, "name");
    let kind = term(filter, "mimeType");
    let files = books
        .iter()
        .filter(|(_, book)| book.shared)
        .filter(|(_, book)| title.as_deref().is_none_or(|title| title == book.title))
        .filter(|_| kind.as_deref().is_none_or(|kind| kind == SPREADSHEET))
        .map(|(id, book)| file_node(book, id, started));
    let list = Node::object([
        ("kind", Node::text("drive#fileList")),
        ("incompleteSearch", Node::Bool(false)),
        ("files", Node::Array(files.collect())),
    ]);
    Ok(Answer::ok(mask.select(list).to_body()))
}

fn file_node(book: &Book, id: &str, started: &str) -> Node {
    let time =
        |given: &Option<String>| Node::text(given.clone().unwrap_or_else(|| started.to_owned()));
    Node::object([
        ("kind", Node::text("drive#file")),
        ("id", Node::text(id.to_owned())),
        ("name", Node::text(book.title.clone())),
        ("mimeType", Node::text(SPREADSHEET)),
        ("createdTime", time(&book.created_time)),
        ("modifiedTime", time(&book.modified_time)),
    ])
}

/// The literal that `q` compares `field` with: `name = "x"` or `name='it\'s'`.
fn term(filter: &str, field: &str) -> Option<String> {
    let mut rest = filter;
    loop {
        let (before, after) = rest.split_at_checked(rest.find(field)?)?;
        let after = after.get(field.len()..)?;
        let whole_word = !before.ends_with(|character: char| character.is_alphanumeric());
        if let Some(literal) = after.trim_start().strip_prefix('=').filter(|_| whole_word) {
            let mut characters = literal.trim_start().chars();
            let quote = characters.next().filter(|quote| matches!(quote, '"' | '\''))?;
            let mut text = String::new();
            while let Some(character) = characters.next() {
                match character {
                    '\\' => text.push(characters.next()?),
                    end if end == quote => return Some(text),
                    other => text.push(other),
                }
            }
            return None;
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_a_search() {
        let filter = r#"mimeType="application/x" and name = 'it\'s "so"' and trashed=false"#;
        assert_eq!(term(filter, "name").as_deref(), Some(r#"it's "so""#));
        assert_eq!(term(filter, "mimeType").as_deref(), Some("application/x"));
        assert_eq!(term("filename='x'", "name"), None);
    }
}
