//! Lines for a terminal of 80 columns.

/// The width of a terminal that nobody has made wider.
const WIDTH: usize = 80;

/// The same text with its long lines folded between words, the rest of each two columns further in. What stands in
/// backticks is to be copied, and stays in one piece.
#[must_use]
pub fn fold(text: &str) -> String {
    text.split_inclusive('\n').map(folded).collect()
}

fn folded(line: &str) -> String {
    let (content, end) = match line.strip_suffix('\n') {
        Some(content) => (content, "\n"),
        None => (line, ""),
    };
    if content.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let indent = content.len() - content.trim_start().len();
    let mut folded = content[..indent].to_owned();
    let mut column = indent;
    for (at, word) in words(content.trim_start()).enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > WIDTH {
            folded.push('\n');
            folded.extend(std::iter::repeat_n(' ', indent + 2));
            column = indent + 2;
        } else if at > 0 {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += width;
    }
    folded + end
}

/// What blanks divide, but for those within backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c: char| {
        is_quoted ^= c == '`';
        c == ' ' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_further_in_and_commands_stay_whole() {
        let word = "слово ".repeat(11);
        let text = format!("table a\n    hint: {word}`dual init --apply --all` does it\nlast");
        let folded = fold(&text);
        let lines: Vec<&str> = folded.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{folded}");
        assert_eq!((lines[0], lines[2]), ("table a", "      `dual init --apply --all` does it"));
        assert!(lines[1].starts_with("    hint: слово") && lines[1].ends_with("слово"));
        assert_eq!(lines[3..], ["last"]);
        assert_eq!(fold(&"я".repeat(100)), "я".repeat(100));
    }
}
