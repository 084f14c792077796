//! A tab of a Google Sheet, a page at a time.
//!
//! Pages are not a snapshot: rows inserted, deleted or sorted between two requests would be
//! lost or doubled. So every page begins with a row of the page before, which must not have
//! changed, and after the last page the tab's properties are asked for again. Rows appended
//! meanwhile are read on; anything else starts the reading anew ([`Page::Restart`]).

use std::collections::BTreeMap;

use dual_database::error::{Error, Kind, Result};

use super::a1;
use super::cells::{BatchRanges, ValueRange};
use super::client::{Failure, SheetsClient};
use super::errors::{ApiError, one_line};
use super::key::SpreadsheetKey;
use super::tabs::{FIELDS, Properties, Spreadsheet, Tab};
use super::{Cell, Page, SourceRow};
use crate::{Event, Observer};

const OPEN: &str = "open the spreadsheet";
const READ: &str = "read the tab";
const SHOW: &str = "read how the rejected rows are displayed";

/// Google recommends no more than 2 MB an answer.
const PAGE_BYTES: u64 = 2_000_000;
const MOST_PAGE_ROWS: u64 = 50_000;
/// The row that two pages share is looked for so far above the page's end.
const OVERLAP: u64 = 100;
/// How often reading may begin anew because the tab changed.
const RESTARTS: u32 = 3;
/// How often rows appended during the reading are read on; later ones wait for the next run.
const EXTENSIONS: u32 = 5;
/// An address longer than this can be refused on its way.
const LONGEST_QUERY: usize = 5_000;
/// Rows of one request for displayed values, and the gap that is cheaper read than split.
const MOST_DISPLAYED: u64 = 5_000;
const DISPLAYED_GAP: u64 = 100;

/// A tab that is being read.
#[derive(Debug)]
pub struct SheetSource {
    client: SheetsClient,
    key: SpreadsheetKey,
    properties: Properties,
    tab: Tab,
    page_rows: u64,
    restarts: u32,
    extensions: u32,
    progress: Progress,
}

/// How far the reading is; a restart begins with a new one.
#[derive(Debug, Default)]
struct Progress {
    /// Rows of the grid that are done with.
    reached: u64,
    /// The row that the next page must find again.
    anchor: Option<SourceRow>,
    pages: u32,
    /// Rows with something in them.
    rows: u64,
    last_filled: u64,
    width: u64,
    done: bool,
}

impl SheetSource {
    /// Finds the tab `title` of `spreadsheet` (its key or its whole address).
    ///
    /// # Errors
    /// [`Kind::Configuration`]: not a key. [`Kind::AccessDenied`]: the account, the key file
    /// or the sharing. [`Kind::SourceUnavailable`]: unreachable, no such spreadsheet, no such
    /// tab (the hint lists those there are). Hints say what to do.
    pub async fn open(
        client: SheetsClient,
        spreadsheet: &str,
        title: &str,
        observer: &dyn Observer,
    ) -> Result<SheetSource> {
        let key = SpreadsheetKey::parse(spreadsheet)?;
        let found = metadata(&client, &key, observer).await?;
        let tab = found.tab(title, OPEN)?;
        let page_rows = client.options().page_rows.max(1);
        Ok(SheetSource {
            client,
            key,
            properties: found.properties,
            tab,
            page_rows,
            restarts: 0,
            extensions: 0,
            progress: Progress::default(),
        })
    }

    /// The spreadsheet's locale, such as `ru_RU`; it governs how values are displayed.
    #[must_use]
    pub fn locale(&self) -> &str {
        &self.properties.locale
    }

    /// The spreadsheet's time zone, such as `Europe/Moscow`. Cells have none; it is only a
    /// hint at what their author meant.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.properties.time_zone
    }

    /// For reports: `tab «…» of the spreadsheet «…» (key)`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "tab «{}» of the spreadsheet «{}» ({})",
            one_line(&self.tab.title),
            one_line(&self.properties.title),
            self.key
        )
    }

    /// The next rows; see [`super::Source::next_page`].
    ///
    /// # Errors
    /// As [`SheetSource::open`]; [`Kind::SourceUnavailable`] too if the tab keeps changing.
    pub async fn next_page(&mut self, observer: &dyn Observer) -> Result<Page> {
        while !self.progress.done {
            if self.progress.reached >= self.tab.grid.row_count {
                if let Some(page) = self.end(observer).await? {
                    return Ok(page);
                }
                continue;
            }
            let next = self.progress.reached + 1;
            let first = self.progress.anchor.as_ref().map_or(next, |row| row.number);
            let last =
                self.progress.reached.saturating_add(self.page_rows).min(self.tab.grid.row_count);
            let (answer, bytes) = match self.fetch(first, last, observer).await {
                Ok(answer) => answer,
                Err(Failure::TooLarge) if last > first => {
                    // A row that alone is too large remains with its anchor: give that up.
                    if last == next {
                        self.progress.anchor = None;
                    }
                    self.page_rows = (last - self.progress.reached).div_ceil(2);
                    continue;
                }
                Err(Failure::Refused(answer))
                    if self.progress.pages > 0
                        && ApiError::parse(&answer.body).is_some_and(|api| {
                            api.is_outside_the_grid() || api.is_no_such_range()
                        }) =>
                {
                    return self.restart(observer).await;
                }
                Err(failure) => return Err(self.explain(failure, READ)),
            };
            let rows = numbered(answer, first, last)?;
            let unchanged = self
                .progress
                .anchor
                .as_ref()
                .is_none_or(|anchor| rows.first().is_some_and(|row| same(row, anchor)));
            if !unchanged {
                return self.restart(observer).await;
            }
            let rows = self.advance(rows, last);
            self.fit_page(bytes, last - first + 1);
            if !rows.is_empty() {
                observer.event(Event::Read { rows: self.progress.rows, total: None });
                return Ok(Page::Rows(rows));
            }
        }
        Ok(Page::End)
    }

    async fn fetch(
        &self,
        first: u64,
        last: u64,
        observer: &dyn Observer,
    ) -> Result<(ValueRange, usize), Failure> {
        let range = a1::rows(&self.tab.title, first, last, self.tab.grid.column_count);
        let path = format!(
            "/v4/spreadsheets/{}/values/{}?majorDimension=ROWS\
             &valueRenderOption=UNFORMATTED_VALUE&dateTimeRenderOption=SERIAL_NUMBER",
            self.key,
            a1::percent_encode(&range)
        );
        self.client.get(&path, READ, observer).await
    }

    /// Takes a page in: keeps the row for the next one to find again, gives what is new.
    fn advance(&mut self, mut rows: Vec<SourceRow>, last: u64) -> Vec<SourceRow> {
        let progress = &mut self.progress;
        let reached = progress.reached;
        rows.retain(|row| row.number > reached && row.cells.iter().any(|cell| !cell.is_empty()));
        progress.anchor = rows.last().filter(|row| last - row.number < OVERLAP).cloned();
        progress.reached = last;
        progress.pages = progress.pages.saturating_add(1);
        progress.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        for row in &rows {
            progress.last_filled = row.number;
            progress.width = progress.width.max(u64::try_from(row.cells.len()).unwrap_or(u64::MAX));
        }
        rows
    }

    /// Fits the next page to [`PAGE_BYTES`] by the size of this one; grows step by step,
    /// because the rows to come can be fuller.
    fn fit_page(&mut self, bytes: usize, rows: u64) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        let fitting = PAGE_BYTES.saturating_mul(rows) / bytes;
        self.page_rows = fitting.min(self.page_rows.saturating_mul(2)).clamp(1, MOST_PAGE_ROWS);
    }

    /// After the last page: `None` if there is more to read after all.
    async fn end(&mut self, observer: &dyn Observer) -> Result<Option<Page>> {
        // One request is consistent by itself.
        if self.progress.pages > 1 {
            let now = metadata(&self.client, &self.key, observer).await?;
            let Some(grid) = now
                .sheets
                .iter()
                .map(|sheet| &sheet.properties)
                .find(|tab| tab.sheet_id == self.tab.id && tab.title == self.tab.title)
                .and_then(|tab| tab.grid_properties)
            else {
                return self.restart(observer).await.map(Some);
            };
            let known = self.tab.grid;
            let appended = grid.column_count == known.column_count
                && grid.row_count > known.row_count
                && self.progress.anchor.is_some();
            if appended && self.extensions < EXTENSIONS {
                self.extensions += 1;
                self.tab.grid = grid;
                return Ok(None);
            }
            if grid != known && !appended {
                return self.restart(observer).await.map(Some);
            }
        }
        self.progress.done = true;
        self.warn_of_merges(observer);
        Ok(Some(Page::End))
    }

    async fn restart(&mut self, observer: &dyn Observer) -> Result<Page> {
        let changed = format!("the tab «{}» changed while it was read", one_line(&self.tab.title));
        self.restarts += 1;
        if self.restarts > RESTARTS {
            return Err(Error::new(
                Kind::SourceUnavailable,
                READ,
                format!("{changed}, {} times in a row", self.restarts),
            )
            .with_hint("run it again when nobody inserts, deletes or sorts rows"));
        }
        observer.event(Event::Warning(&format!("{changed}: reading it again from the top")));
        let found = metadata(&self.client, &self.key, observer).await?;
        self.tab = found.tab(&self.tab.title, OPEN)?;
        self.properties = found.properties;
        self.progress = Progress::default();
        Ok(Page::Restart)
    }

    fn warn_of_merges(&self, observer: &dyn Observer) {
        let (rows, columns) = (self.progress.last_filled, self.progress.width);
        let merges: Vec<String> = self
            .tab
            .merges
            .iter()
            .filter(|merge| merge.is_within(rows, columns))
            .map(super::tabs::Merge::range)
            .collect();
        if let Some((some, more)) = merges.split_at_checked(3).or(Some((&merges, &[])))
            && !some.is_empty()
        {
            let and =
                if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            observer.event(Event::Warning(&format!(
                "the tab has merged cells ({}{and}): only the upper left one of each has a value",
                some.join(", ")
            )));
        }
    }

    /// How the sheet displays these rows, in its own locale: row number → texts from column
    /// A on. For reports only; a failure is told as a warning, and the rows are missing.
    ///
    /// It is a second read: rows moved since the first one show other values.
    pub async fn displayed(
        &mut self,
        rows: &[u64],
        observer: &dyn Observer,
    ) -> BTreeMap<u64, Vec<String>> {
        let mut displayed = BTreeMap::new();
        let wanted: std::collections::BTreeSet<u64> = rows
            .iter()
            .copied()
            .filter(|row| (1..=self.tab.grid.row_count).contains(row))
            .collect();
        for chunk in self.chunks(&wanted) {
            let path = format!(
                "/v4/spreadsheets/{}/values:batchGet?majorDimension=ROWS\
                 &valueRenderOption=FORMATTED_VALUE{}",
                self.key, chunk.query
            );
            let answer: BatchRanges = match self.client.get(&path, SHOW, observer).await {
                Ok((answer, _)) => answer,
                Err(failure) => {
                    let error = self.explain(failure, SHOW);
                    observer.event(Event::Warning(&format!(
                        "the rejected rows are reported without their displayed values: {error}"
                    )));
                    return displayed;
                }
            };
            for range in answer.value_ranges {
                let Some((0, first)) = a1::corner(&range.range) else { continue };
                for (number, cells) in (first..).zip(range.values.unwrap_or_default()) {
                    if wanted.contains(&number) {
                        displayed.insert(number, cells.iter().map(Cell::raw).collect());
                    }
                }
            }
        }
        displayed
    }

    /// The ranges of the rows, near ones together, as few requests as their length allows.
    fn chunks(&self, wanted: &std::collections::BTreeSet<u64>) -> Vec<Chunk> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &row in wanted {
            match ranges.last_mut() {
                Some((first, last))
                    if row - *last <= DISPLAYED_GAP && row - *first < MOST_DISPLAYED =>
                {
                    *last = row;
                }
                _ => ranges.push((row, row)),
            }
        }
        let mut chunks: Vec<Chunk> = Vec::new();
        for (first, last) in ranges {
            let range = a1::rows(&self.tab.title, first, last, self.tab.grid.column_count);
            let part = format!("&ranges={}", a1::percent_encode(&range));
            let rows = last - first + 1;
            match chunks.last_mut() {
                Some(chunk)
                    if chunk.query.len() + part.len() <= LONGEST_QUERY
                        && chunk.rows + rows <= MOST_DISPLAYED =>
                {
                    chunk.query.push_str(&part);
                    chunk.rows += rows;
                }
                _ => chunks.push(Chunk { query: part, rows }),
            }
        }
        chunks
    }

    fn explain(&self, failure: Failure, operation: &'static str) -> Error {
        self.client.explain(failure, operation, self.key.as_str(), Some(&self.tab.title))
    }
}

/// One request for displayed values.
#[derive(Debug)]
struct Chunk {
    query: String,
    rows: u64,
}

async fn metadata(
    client: &SheetsClient,
    key: &SpreadsheetKey,
    observer: &dyn Observer,
) -> Result<Spreadsheet> {
    let path = format!("/v4/spreadsheets/{key}?fields={}", a1::percent_encode(FIELDS));
    let (found, _) = client
        .get(&path, OPEN, observer)
        .await
        .map_err(|failure| client.explain(failure, OPEN, key.as_str(), None))?;
    Ok(found)
}

/// The rows with their numbers in the tab, by the answered range.
fn numbered(answer: ValueRange, first: u64, last: u64) -> Result<Vec<SourceRow>> {
    let values = answer.values.unwrap_or_default();
    let asked = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
    if a1::corner(&answer.range) != Some((0, first)) || values.len() > asked {
        return Err(Error::new(
            Kind::SourceUnavailable,
            READ,
            format!("the answer is for other rows than {first} to {last}"),
        ));
    }
    Ok((first..).zip(values).map(|(number, cells)| SourceRow { number, cells }).collect())
}

/// Whether it is the same row, empty cells at its end aside.
fn same(left: &SourceRow, right: &SourceRow) -> bool {
    let filled = |row: &'_ SourceRow| {
        row.cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1)
    };
    left.number == right.number
        && filled(left) == filled(right)
        && left.cells.iter().zip(&right.cells).take(filled(left)).all(|(a, b)| a == b)
}
