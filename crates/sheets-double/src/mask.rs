//! Partial answers: the `fields` parameter.

use crate::json::Node;

/// Which members of an answer were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mask {
    /// Everything below is wanted.
    all: bool,
    members: Vec<(String, Mask)>,
}

/// A mask that cannot be read; holds the path that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MaskError(pub String);

impl Mask {
    /// Wants everything.
    pub(crate) fn everything() -> Self {
        Self { all: true, members: Vec::new() }
    }

    /// Reads `a,b.c,d(e,f/g)`; `*` stands for every member.
    pub(crate) fn parse(text: &str) -> Result<Self, MaskError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let mask = parser.list().ok_or_else(|| MaskError(text.to_owned()))?;
        if parser.peek().is_some() { Err(MaskError(text.to_owned())) } else { Ok(mask) }
    }

    /// The mask below the member `name`; `None` when the member was not asked for.
    pub(crate) fn below(&self, name: &str) -> Option<Self> {
        if self.all {
            return Some(Self::everything());
        }
        let mut found: Option<Self> = None;
        for (_, mask) in self.members.iter().filter(|(key, _)| key == name || key == "*") {
            found.get_or_insert_default().merge(mask);
        }
        found
    }

    /// Whether the member `name` was asked for.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.below(name).is_some()
    }

    /// The first path that `known` does not have.
    pub(crate) fn unknown(&self, known: &Known) -> Option<String> {
        self.members.iter().find_map(|(key, mask)| {
            if key == "*" {
                return None;
            }
            match known.0.iter().find(|(name, _)| name == key) {
                None => Some(key.clone()),
                Some((_, Some(inner))) => mask.unknown(inner).map(|path| format!("{key}.{path}")),
                Some((_, None)) => None,
            }
        })
    }

    /// What is left of `node`. Members that are there but of which nothing was asked for
    /// stay as empty objects, as messages do.
    pub(crate) fn select(&self, node: Node) -> Node {
        if self.all {
            return node;
        }
        match node {
            Node::Array(items) => {
                Node::Array(items.into_iter().map(|item| self.select(item)).collect())
            }
            Node::Object(members) => Node::Object(
                members
                    .into_iter()
                    .filter_map(|(key, node)| {
                        let mask = self.below(&key)?;
                        Some((key, mask.select(node)))
                    })
                    .collect(),
            ),
            scalar => scalar,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.all |= other.all;
        for (key, mask) in &other.members {
            match self.members.iter_mut().find(|(name, _)| name == key) {
                Some((_, own)) => own.merge(mask),
                None => self.members.push((key.clone(), mask.clone())),
            }
        }
    }
}

/// The members that a message has; `None` below a member means that it is not checked.
pub(crate) struct Known(pub &'static [(&'static str, Option<&'static Known>)]);

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at = self.at.saturating_add(1);
        }
        found
    }

    fn blanks(&mut self) {
        while self.take(b' ') {}
    }

    fn list(&mut self) -> Option<Mask> {
        // Deeper than any message of this API; keeps a hostile mask off the stack.
        if self.depth > 32 {
            return None;
        }
        let mut mask = Mask::default();
        loop {
            let path = self.path()?;
            mask.merge(&path);
            self.blanks();
            if !self.take(b',') {
                return Some(mask);
            }
        }
    }

    fn path(&mut self) -> Option<Mask> {
        let mut names = vec![self.name()?];
        let inner = loop {
            if self.take(b'.') || self.take(b'/') {
                names.push(self.name()?);
            } else if self.take(b'(') {
                self.depth = self.depth.saturating_add(1);
                let list = self.list()?;
                self.depth = self.depth.saturating_sub(1);
                if !self.take(b')') {
                    return None;
                }
                break list;
            } else {
                break Mask::everything();
            }
        };
        let wrap = |below, name: &str| Mask { all: false, members: vec![(name.to_owned(), below)] };
        Some(names.into_iter().rev().fold(inner, wrap))
    }

    fn name(&mut self) -> Option<&'t str> {
        self.blanks();
        if self.take(b'*') {
            return Some("*");
        }
        let rest = self.text.get(self.at..)?;
        let end = rest
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(rest.len());
        self.at = self.at.saturating_add(end);
        rest.get(..end).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(mask: &str) -> String {
        let source = r#"{"id":"x","props":{"title":"t","locale":"l"},"sheets":[{"props":{"title":"a","grid":{"r":1,"c":2}}},{"merges":[1]}]}"#;
        Mask::parse(mask).unwrap().select(serde_json::from_str(source).unwrap()).to_compact()
    }

    #[test]
    fn members_are_selected() {
        for (mask, left) in [
            ("namedRanges", "{}"),
            ("id", r#"{"id":"x"}"#),
            ("props.title,id", r#"{"id":"x","props":{"title":"t"}}"#),
            (
                "sheets(props(title,grid/r))",
                r#"{"sheets":[{"props":{"title":"a","grid":{"r":1}}},{}]}"#,
            ),
            (
                "sheets.props.grid.c, sheets.merges",
                r#"{"sheets":[{"props":{"grid":{"c":2}}},{"merges":[1]}]}"#,
            ),
            ("sheets.*.title", r#"{"sheets":[{"props":{"title":"a"}},{"merges":[1]}]}"#),
            ("props,props.title", r#"{"props":{"title":"t","locale":"l"}}"#),
        ] {
            assert_eq!(selected(mask), left, "{mask}");
        }
    }

    #[test]
    fn broken_masks_are_refused() {
        for mask in ["", ",", "a,", "a(", "a(b", "a)", "a..b", "a b", "a(b)c", "(a)", "я"] {
            assert!(Mask::parse(mask).is_err(), "{mask}");
        }
        assert!(Mask::parse(&format!("a{}", "(a".repeat(100_000))).is_err());
    }
}
