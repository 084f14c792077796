/// Rows under headings, in columns two spaces apart; a column that holds nothing but numbers
/// stands right.
#[must_use]
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let columns = Columns::new(headings, rows);
    let heading: Vec<String> = headings.iter().map(|name| (*name).into()).collect();
    std::iter::once(&heading).chain(rows).map(|row| columns.line(row)).collect()
}

/// No column is wider than that: one long text is not to push everything else off the screen. A
/// cell that is longer is printed whole all the same.
const WIDEST: usize = 60;

/// The widths of columns, taken from some rows and kept for those that follow.
pub struct Columns(Vec<(usize, bool)>);

impl Columns {
    /// As wide as these rows need, up to [`WIDEST`].
    #[must_use]
    pub fn new(headings: &[&str], rows: &[Vec<String>]) -> Columns {
        let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
        let width = |(column, heading): (usize, &&str)| {
            let widest = cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
            let numbers = cells(column).all(|cell| cell.is_empty() || cell.parse::<i64>().is_ok());
            (widest.max(heading.chars().count()).min(WIDEST), numbers && !rows.is_empty())
        };
        Columns(headings.iter().enumerate().map(width).collect())
    }

    /// One line of cells.
    #[must_use]
    pub fn line(&self, row: &[String]) -> String {
        let cells: Vec<String> = row
            .iter()
            .zip(&self.0)
            .map(|(cell, (width, right))| match right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    }
}

/// A stored text as one line on a terminal: a control character in it could move the cursor
/// or change the colours.
#[must_use]
pub fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells_and_numbers_stand_right() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let text = table(&["id", "имя", "x"], &[row(["7", "Анна", ""]), row(["-12", "Я", "b"])]);
        assert_eq!(text, " id  имя   x\n  7  Анна\n-12  Я     b\n");
        assert_eq!(table(&["a", "b"], &[]), "a  b\n");
    }

    #[test]
    fn a_text_of_any_length_is_printed_whole() {
        let long = "я".repeat(1 << 17);
        let rows = [vec![long.clone(), "b".to_owned()], vec!["x".into(), "c".into()]];
        let text = table(&["one", "two"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], format!("{long}  b"));
        assert_eq!(lines[2], format!("{:<WIDEST$}  c", "x"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("Анна\u{1b}[31m\n"), "Анна\\u{1b}[31m\\n");
    }
}
