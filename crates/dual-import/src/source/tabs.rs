//! A spreadsheet's properties and its tabs; finding the one that was asked for.

use dual_database::error::{Error, Kind, Result};
use serde::Deserialize;

use super::column_name;
use super::errors::one_line;

/// The properties asked for, and no more.
pub(crate) const FIELDS: &str = "spreadsheetId,properties(title,locale,timeZone),\
     sheets(properties(sheetId,title,sheetType,hidden,gridProperties(rowCount,columnCount)),merges)";

/// Titles listed in an error.
const LISTED: usize = 15;

/// An answer of `spreadsheets.get`. Google leaves out what is false or empty.
#[derive(Debug, Deserialize)]
pub(crate) struct Spreadsheet {
    #[serde(default)]
    pub properties: Properties,
    #[serde(default)]
    pub sheets: Vec<Sheet>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Properties {
    pub title: String,
    pub locale: String,
    pub time_zone: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Sheet {
    pub properties: SheetProperties,
    #[serde(default)]
    pub merges: Vec<Merge>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SheetProperties {
    #[serde(default)]
    pub sheet_id: i64,
    pub title: String,
    #[serde(default)]
    pub hidden: bool,
    /// Missing where the tab is a chart.
    pub grid_properties: Option<Grid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Grid {
    pub row_count: u64,
    pub column_count: u64,
}

/// Merged cells: indexes from 0, the ends excluded.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Merge {
    start_row_index: u64,
    end_row_index: u64,
    start_column_index: u64,
    end_column_index: u64,
}

impl Merge {
    /// Whether it touches the first `rows` rows and `columns` columns.
    pub fn is_within(&self, rows: u64, columns: u64) -> bool {
        self.start_row_index < rows && self.start_column_index < columns
    }

    /// `A2:C3`.
    pub fn range(&self) -> String {
        let column = |index: u64| column_name(usize::try_from(index.min(20_000)).unwrap_or(0));
        format!(
            "{}{}:{}{}",
            column(self.start_column_index),
            self.start_row_index.saturating_add(1),
            column(self.end_column_index.saturating_sub(1)),
            self.end_row_index
        )
    }
}

/// The tab that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tab {
    pub id: i64,
    pub title: String,
    pub grid: Grid,
    pub merges: Vec<Merge>,
}

impl Spreadsheet {
    /// The tab with exactly this title, as Google compares them.
    pub fn tab(&self, title: &str, operation: &'static str) -> Result<Tab> {
        let Some(sheet) = self.sheets.iter().find(|sheet| sheet.properties.title == title) else {
            return Err(self.no_such_tab(title, operation));
        };
        let Some(grid) = sheet.properties.grid_properties else {
            return Err(Error::new(
                Kind::SourceUnavailable,
                operation,
                format!("the tab «{}» is a chart or an object, it has no cells", one_line(title)),
            )
            .with_hint(self.list(title)));
        };
        Ok(Tab {
            id: sheet.properties.sheet_id,
            title: title.to_owned(),
            grid,
            merges: sheet.merges.clone(),
        })
    }

    fn no_such_tab(&self, title: &str, operation: &'static str) -> Error {
        let near = self
            .sheets
            .iter()
            .map(|sheet| sheet.properties.title.as_str())
            .filter(|candidate| folded(candidate) == folded(title))
            .map(|candidate| {
                format!(
                    "«{}» differs only in {}; ",
                    one_line(candidate),
                    difference(title, candidate)
                )
            })
            .next()
            .unwrap_or_default();
        Error::new(
            Kind::SourceUnavailable,
            operation,
            format!(
                "there is no tab «{}» in the spreadsheet «{}»",
                escaped(title),
                one_line(&self.properties.title)
            ),
        )
        .with_hint(format!("{near}{}", self.list(title)))
    }

    /// "the tabs there are: «A», «B» (hidden)", the closest to `title` first.
    fn list(&self, title: &str) -> String {
        let wanted = folded(title);
        let mut sheets: Vec<(f64, &SheetProperties)> = self
            .sheets
            .iter()
            .map(|sheet| &sheet.properties)
            .map(|tab| (likeness(&wanted, &folded(&tab.title)), tab))
            .collect();
        sheets.sort_by(|(left, _), (right, _)| right.total_cmp(left));
        let mut names: Vec<String> = sheets
            .iter()
            .take(LISTED)
            .map(|(_, tab)| {
                format!("«{}»{}", escaped(&tab.title), if tab.hidden { " (hidden)" } else { "" })
            })
            .collect();
        if let Some(more) = sheets.len().checked_sub(LISTED).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        format!("the tabs there are: {}", names.join(", "))
    }
}

/// A title with what cannot be seen made visible.
fn escaped(title: &str) -> String {
    let mut text = String::new();
    for c in title.chars() {
        match c {
            '\u{a0}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202f}' | '\u{feff}' => {
                text.extend(c.escape_unicode());
            }
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// The letters that Unicode can also write as a letter with a mark behind it; of those in
/// Russian there are two.
fn composed(text: &str) -> String {
    text.replace("и\u{306}", "й")
        .replace("И\u{306}", "Й")
        .replace("е\u{308}", "ё")
        .replace("Е\u{308}", "Ё")
}

fn spaced(text: &str) -> String {
    let visible = text.replace(['\u{200b}', '\u{200e}', '\u{200f}', '\u{feff}'], "");
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What two titles have in common that a person takes for the same.
fn folded(title: &str) -> String {
    spaced(&composed(title))
        .to_lowercase()
        .chars()
        .map(|c| match c {
            'а' => 'a',
            'в' => 'b',
            'е' | 'ё' => 'e',
            'к' => 'k',
            'м' => 'm',
            'н' => 'h',
            'о' => 'o',
            'р' => 'p',
            'с' => 'c',
            'т' => 't',
            'у' => 'y',
            'х' => 'x',
            other => other,
        })
        .collect()
}

/// 0 for nothing in common, 1 for the same; one title within the other counts as near.
fn likeness(wanted: &str, title: &str) -> f64 {
    let near = strsim::jaro_winkler(wanted, title);
    let within =
        !wanted.is_empty() && title.contains(wanted) || !title.is_empty() && wanted.contains(title);
    if within { near.max(0.9) } else { near }
}

/// How two titles that fold to the same differ.
fn difference(left: &str, right: &str) -> &'static str {
    let same = |fold: fn(&str) -> String| fold(left) == fold(right);
    if same(spaced) {
        "spaces or invisible characters"
    } else if same(str::to_lowercase) {
        "capital letters"
    } else if same(composed) {
        "how «й» or «ё» is written: as one character or as two"
    } else {
        "spaces, capital letters, or letters that look alike (latin and cyrillic)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spreadsheet() -> Spreadsheet {
        serde_json::from_str(
            r#"{"properties": {"title": "Гости", "locale": "ru_RU"}, "sheets": [
                {"properties": {"sheetId": 0, "title": "Архив",
                    "gridProperties": {"rowCount": 1000, "columnCount": 26}}},
                {"properties": {"sheetId": 5, "title": "Выгрузка Пользователей",
                    "gridProperties": {"rowCount": 10, "columnCount": 2}},
                 "merges": [{"sheetId": 5, "startRowIndex": 1, "endRowIndex": 3,
                    "startColumnIndex": 0, "endColumnIndex": 2}]},
                {"properties": {"sheetId": 6, "title": "Служебное", "hidden": true,
                    "gridProperties": {"rowCount": 1, "columnCount": 1}}},
                {"properties": {"sheetId": 7, "title": "График", "sheetType": "OBJECT"}}]}"#,
        )
        .unwrap()
    }

    fn refused(title: &str) -> (String, String) {
        let error = spreadsheet().tab(title, "open the tab").unwrap_err();
        assert_eq!(error.kind(), Kind::SourceUnavailable);
        (error.message().to_string(), error.hint().unwrap().to_string())
    }

    #[test]
    fn the_exact_title_is_found() {
        let tab = spreadsheet().tab("Выгрузка Пользователей", "open the tab").unwrap();
        assert_eq!((tab.id, tab.grid.row_count, tab.grid.column_count), (5, 10, 2));
        assert_eq!(tab.merges.first().unwrap().range(), "A2:B3");
        assert!(tab.merges.first().unwrap().is_within(2, 1));
        assert!(!tab.merges.first().unwrap().is_within(1, 1));
    }

    #[test]
    fn another_title_lists_the_tabs_the_closest_first() {
        let (message, hint) = refused("Выгрузка");
        assert_eq!(message, "there is no tab «Выгрузка» in the spreadsheet «Гости»");
        assert!(hint.starts_with("the tabs there are: «Выгрузка Пользователей», "), "{hint}");
        for other in ["«Архив»", "«График»", "«Служебное» (hidden)"] {
            assert!(hint.contains(other), "{hint}");
        }
        let (_, hint) = refused("пользователей");
        assert!(hint.starts_with("the tabs there are: «Выгрузка Пользователей», "), "{hint}");
        let (_, hint) = refused("Выгрузка Пользователя");
        assert!(hint.starts_with("the tabs there are: «Выгрузка Пользователей», "), "{hint}");
    }

    #[test]
    fn titles_that_look_the_same_are_explained() {
        for (title, difference) in [
            ("Выгрузка Пользователей ", "spaces"),
            ("Выгрузка\u{a0}Пользователей", "spaces"),
            ("выгрузка пользователей", "capital letters"),
            ("Выгрузка Пользователеи\u{306}", "one character or as two"),
            ("Выгрузка Пoльзователей", "look alike"),
        ] {
            let (_, hint) = refused(title);
            assert!(
                hint.starts_with("«Выгрузка Пользователей» differs only in ")
                    && hint.contains(difference),
                "{title}: {hint}"
            );
        }
        assert!(refused("Выгрузка\u{a0}Пользователей").0.contains("Выгрузка\\u{a0}Польз"));
        assert!(refused("a\u{1b}[31m").0.contains("a\\u{1b}[31m"));
    }

    #[test]
    fn a_chart_has_no_cells() {
        assert!(refused("График").0.contains("is a chart"));
    }
}
