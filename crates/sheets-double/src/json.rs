//! JSON as the service prints it: members in a fixed order, two blanks a level, text
//! unescaped, numbers as doubles.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value that keeps the order of its members, which sorted maps do not.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, printed digit by digit.
    Int(i64),
    /// A double.
    Float(f64),
    /// A string.
    Text(Cow<'static, str>),
    /// An array.
    Array(Vec<Node>),
    /// An object; members are printed in this order.
    Object(Vec<(Cow<'static, str>, Node)>),
}

impl Node {
    /// A string.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Text(text.into())
    }

    /// An object of `members` in this order.
    pub fn object<K: Into<Cow<'static, str>>>(
        members: impl IntoIterator<Item = (K, Self)>,
    ) -> Self {
        Self::Object(members.into_iter().map(|(key, node)| (key.into(), node)).collect())
    }

    /// The member `key` of an object; `None` when it is absent or this is no object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// The text of a string; `None` for any other value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a whole number; `None` for any other value.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole body of an answer: indented, with the final newline.
    pub fn to_body(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out, 0);
        out.push('\n');
        out.into_bytes()
    }

    /// The value on one line, without blanks, as the token endpoint prints it.
    pub fn to_compact(&self) -> String {
        let mut out = String::new();
        self.write_compact(&mut out);
        out
    }

    /// Appends the value to `out`, the lines after the first one indented by `level`.
    pub(crate) fn write(&self, out: &mut String, level: usize) {
        match self {
            Self::Array(items) if items.is_empty() => out.push_str("[]"),
            Self::Object(members) if members.is_empty() => out.push_str("{}"),
            Self::Array(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    new_line(out, level + 1);
                    item.write(out, level + 1);
                }
                new_line(out, level);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (position, (key, node)) in members.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    new_line(out, level + 1);
                    write_text(out, key);
                    out.push_str(": ");
                    node.write(out, level + 1);
                }
                new_line(out, level);
                out.push('}');
            }
            scalar => scalar.write_compact(out),
        }
    }

    fn write_compact(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => out.push_str(&value.to_string()),
            Self::Float(value) => write_number(out, *value),
            Self::Text(text) => write_text(out, text),
            Self::Array(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    item.write_compact(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (position, (key, node)) in members.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    write_text(out, key);
                    out.push(':');
                    node.write_compact(out);
                }
                out.push('}');
            }
        }
    }
}

/// Starts a line indented by `level`.
pub(crate) fn new_line(out: &mut String, level: usize) {
    out.push('\n');
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// Appends a quoted string. Text outside ASCII stays as it is.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            // [K] Angle brackets and the invisible separators are escaped by Google's
            // printer; no recording has one. A JSON reader sees no difference.
            '<' | '>' | '\u{0}'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends a double: whole numbers without a point, the others with the fewest digits
/// that read back the same.
///
/// [K] From 1e21 up and below 1e-6 an exponent is printed; no recording has such a number.
pub(crate) fn write_number(out: &mut String, value: f64) {
    // Writing to a String cannot fail.
    let size = value.abs();
    if !value.is_finite() {
        // JSON has no such number; a sheet shows an error cell instead.
        out.push_str("null");
    } else if size >= 1e21 {
        let text = format!("{value:e}");
        out.push_str(&text.replacen('e', "e+", 1));
    } else if size != 0.0 && size < 1e-6 {
        let _ = write!(out, "{value:e}");
    } else if size == 0.0 {
        out.push('0');
    } else {
        let _ = write!(out, "{value}");
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some((key, node)) = members.next_entry::<String, Node>()? {
            object.push((key.into(), node));
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_doubles() {
        let cases = [
            (43_831.0, "43831"),
            (-0.0, "0"),
            (0.12, "0.12"),
            (45_876.524_259_259_26, "45876.52425925926"),
            (7_000_000_005.0, "7000000005"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e21, "1e+21"),
            (1e-7, "1e-7"),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_number(&mut out, value);
            assert_eq!(out, expected);
            assert_eq!(out.parse::<f64>().unwrap(), value);
        }
    }

    #[test]
    fn order_and_text_survive() {
        let source = r#"{"z":[{"b":1,"a":[]}],"a":{"x":"Артур 🌵 \"\\\n"}}"#;
        let node: Node = serde_json::from_str(source).unwrap();
        assert_eq!(node.to_compact(), source);
        let again: Node = serde_json::from_slice(&node.to_body()).unwrap();
        assert_eq!(again, node);
    }
}
