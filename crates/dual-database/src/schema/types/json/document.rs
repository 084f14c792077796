//! JSON as PostgreSQL reads it and prints it as `jsonb`: members by the length of their names, then by
//! their bytes, the last of one name; numbers as `numeric` prints them.

use std::fmt::Write as _;

use super::super::numeric::canonical_numeric;

/// Documents that are nested deeper are not looked through.
const DEEPEST: usize = 256;

/// What PostgreSQL prints after reading the text as `jsonb`; `None` if it refuses it.
pub(super) fn canonical_jsonb(text: &str) -> Option<String> {
    Reader { rest: text, is_strict: true }.document()
}

/// Whether `json` takes the text, which keeps escapes that stand for no character.
pub(super) fn is_well_formed(text: &str) -> bool {
    Reader { rest: text, is_strict: false }.document().is_some()
}

/// Whether the text is an object or a list: what else is JSON, could be anything.
pub(in super::super) fn is_json(text: &str) -> bool {
    text.trim_start_matches(BLANK).starts_with(['{', '[']) && is_well_formed(text)
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

struct Reader<'t> {
    rest: &'t str,
    /// Escapes have to stand for characters.
    is_strict: bool,
}

impl<'t> Reader<'t> {
    fn document(mut self) -> Option<String> {
        let mut made = String::with_capacity(self.rest.len());
        self.value(&mut made, 0)?;
        self.pass_blanks();
        self.rest.is_empty().then_some(made)
    }

    fn pass_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(BLANK);
    }

    /// The next character behind blanks, if it is that.
    fn take(&mut self, wanted: char) -> bool {
        self.pass_blanks();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => self.rest = rest,
            None => return false,
        }
        true
    }

    fn value(&mut self, made: &mut String, depth: usize) -> Option<()> {
        self.pass_blanks();
        match self.rest.as_bytes().first()? {
            b'{' if depth < DEEPEST => self.object(made, depth),
            b'[' if depth < DEEPEST => self.list(made, depth),
            b'"' => {
                let text = self.string()?;
                put_string(made, &text);
                Some(())
            }
            b'-' | b'0'..=b'9' => self.number(made),
            _ => {
                let word =
                    ["true", "false", "null"].into_iter().find(|w| self.rest.starts_with(w))?;
                self.rest = &self.rest[word.len()..];
                made.push_str(word);
                Some(())
            }
        }
    }

    fn list(&mut self, made: &mut String, depth: usize) -> Option<()> {
        self.take('[');
        made.push('[');
        let mut is_first = true;
        while !self.take(']') {
            if !is_first {
                self.take(',').then_some(())?;
                made.push_str(", ");
            }
            self.value(made, depth + 1)?;
            is_first = false;
        }
        made.push(']');
        Some(())
    }

    fn object(&mut self, made: &mut String, depth: usize) -> Option<()> {
        self.take('{');
        let mut members: Vec<(String, String)> = Vec::new();
        while !self.take('}') {
            if !members.is_empty() {
                self.take(',').then_some(())?;
            }
            self.pass_blanks();
            let name = self.string()?;
            self.take(':').then_some(())?;
            let mut value = String::new();
            self.value(&mut value, depth + 1)?;
            members.push((name, value));
        }
        // Stable: of one name the last one stays last.
        members.sort_by(|(one, _), (other, _)| {
            one.len().cmp(&other.len()).then_with(|| one.as_bytes().cmp(other.as_bytes()))
        });
        made.push('{');
        let mut is_first = true;
        for (at, (name, value)) in members.iter().enumerate() {
            if members.get(at + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            if !is_first {
                made.push_str(", ");
            }
            put_string(made, name);
            made.push_str(": ");
            made.push_str(value);
            is_first = false;
        }
        made.push('}');
        Some(())
    }

    fn number(&mut self, made: &mut String) -> Option<()> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = self.rest.bytes().take_while(|byte| is_part(byte)).count();
        let (number, rest) = self.rest.split_at(length);
        let unsigned = number.strip_prefix('-').unwrap_or(number);
        let mantissa = unsigned.split(['e', 'E']).next()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let is_led = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || fraction.is_empty() || is_led {
            return None;
        }
        // Anything of the size is a number for `json`.
        match canonical_numeric(number) {
            Some(number) => made.push_str(&number),
            None if !self.is_strict && number.contains(['e', 'E']) => made.push('0'),
            None => return None,
        }
        self.rest = rest;
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let plain = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            text.push_str(&self.rest[..plain]);
            let mut characters = self.rest[plain..].chars();
            match characters.next()? {
                '"' => {
                    self.rest = characters.as_str();
                    return Some(text);
                }
                '\\' => {
                    let escape = characters.next()?;
                    self.rest = characters.as_str();
                    text.push(self.escaped(escape)?);
                }
                _ => return None,
            }
        }
    }

    fn escaped(&mut self, escape: char) -> Option<char> {
        Some(match escape {
            '"' | '\\' | '/' => escape,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.four_digits()?;
                match first {
                    0xd800..=0xdbff if self.rest.starts_with("\\u") => {
                        self.rest = &self.rest[2..];
                        let second = self.four_digits()?;
                        let is_pair = (0xdc00..=0xdfff).contains(&second);
                        let code = 0x10000 + ((first - 0xd800) << 10) + (second & 0x3ff);
                        self.character(is_pair.then_some(code))?
                    }
                    0 => self.character(None)?,
                    first => self.character(Some(first))?,
                }
            }
            _ => return None,
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.rest = rest;
        is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
    }

    /// What an escape stands for.
    fn character(&self, code: Option<u32>) -> Option<char> {
        let character = code.and_then(char::from_u32);
        if self.is_strict { character } else { character.or(Some('?')) }
    }
}

fn put_string(made: &mut String, text: &str) {
    made.push('"');
    for character in text.chars() {
        match character {
            '"' => made.push_str("\\\""),
            '\\' => made.push_str("\\\\"),
            '\u{8}' => made.push_str("\\b"),
            '\u{c}' => made.push_str("\\f"),
            '\n' => made.push_str("\\n"),
            '\r' => made.push_str("\\r"),
            '\t' => made.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(made, "\\u{:04x}", u32::from(control));
            }
            other => made.push(other),
        }
    }
    made.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_as_postgresql_prints_it() {
        for (text, canonical) in [
            (" {\"bb\":1,\"a\" : [ ] , \"bb\":1.10}\n", r#"{"a": [], "bb": 1.10}"#),
            (r#"{"b":{},"aa":null,"":true}"#, r#"{"": true, "b": {}, "aa": null}"#),
            (r#"[1e3,-0,-0.0,1E-2,12.50e1]"#, "[1000, 0, 0.0, 0.01, 125.0]"),
            (r#""\u00e9\/\u001f\ud83d\ude00\u007f""#, "\"é/\\u001f😀\u{7f}\""),
            ("\"\\b\\f\\n\\r\\t\\\"\\\\\"", "\"\\b\\f\\n\\r\\t\\\"\\\\\""),
        ] {
            assert_eq!(canonical_jsonb(text).as_deref(), Some(canonical), "{text}");
        }
        for none in [
            "",
            "{",
            "[1,]",
            "{,}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "tru",
            "nullx",
            "'a'",
            "\"\t\"",
            r#""\u0000""#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#""\u00g0""#,
            r#""\x""#,
            "1 2",
            "NaN",
            "\u{a0}1",
            "1e999999",
        ] {
            assert_eq!(canonical_jsonb(none), None, "{none}");
        }
        for loose in [r#""\u0000""#, r#""\ud800""#, "1e999999"] {
            assert!(is_well_formed(loose), "{loose}");
        }
        assert_eq!(canonical_jsonb(&"[".repeat(100_000)), None);
        assert!(canonical_jsonb(&format!("{}{}", "[".repeat(256), "]".repeat(256))).is_some());
    }
}
