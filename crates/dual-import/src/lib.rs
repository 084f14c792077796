//! A Google Sheet or a CSV file into both stores, in two phases: first everything is fetched,
//! understood and staged on disk, then it is compared with what the stores have and written,
//! one transaction a store.
//!
//! The rooms: [`source`] (cells as they are) → [`mapping`] (cells into records, by a mapping)
//! → staging → load → [`Report`]; then both stores are made one database.

#![forbid(unsafe_code)]

mod attach;
mod columns;
mod load;
pub mod mapping;
mod rejects;
mod report;
pub mod source;
mod staging;
mod write;

pub use load::StorePlan;
pub use rejects::RejectsFile;
pub use report::{Plan, Report, SetAside, SetAsideLine, StoreOutcome};
pub use staging::{Counts, ProblemStatus};
pub use write::{Target, WriteOptions};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use dual_database::error::{Error, Kind, Result, Store};
use dual_database::schema::Table;
use dual_database::store::sqlite::{File, remove_if_empty};
use dual_database::sync::StepHook;

use mapping::{Contents, Mapping, Reader};
use source::{Page, Source};
use staging::Staging;

/// What an import is doing, told as it happens; a program prints it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request is repeated after a wait: why, and how long.
    Waiting {
        /// One clause: "the read quota of this minute is used up (429)".
        reason: &'a str,
        /// How long until the next try.
        wait: std::time::Duration,
        /// Waits still allowed, counted together.
        budget_left: std::time::Duration,
    },
    /// Rows read from the source so far, and how many there are if that is known.
    Read {
        /// Rows so far.
        rows: u64,
        /// All rows, where the source says so.
        total: Option<u64>,
    },
    /// Something that a person should know and that stops nothing.
    Warning(&'a str),
    /// What the stores are about to get; nothing has been written yet.
    Plan(&'a Plan),
    /// Rows handed to a store so far.
    Loaded {
        /// The store.
        store: Store,
        /// Rows so far.
        rows: u64,
        /// All rows.
        total: u64,
    },
}

/// Receives the [`Event`]s of an import; called from any thread, must not block.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: Event<'_>);
}

/// An [`Observer`] that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// How many rejected rows are too many: then the mapping is probably wrong, and nothing is
/// written.
///
/// ```
/// use dual_import::MaxRejects;
/// assert_eq!("10%".parse(), Ok(MaxRejects::Percent(10)));
/// assert_eq!("25".parse(), Ok(MaxRejects::Rows(25)));
/// assert!("many".parse::<MaxRejects>().is_err());
/// assert!(MaxRejects::default().allows(5, 10) && !MaxRejects::default().allows(6, 10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxRejects {
    /// That many rows are still allowed.
    Rows(u64),
    /// That share of all rows is still allowed, 0 to 100.
    Percent(u8),
}

impl Default for MaxRejects {
    /// Half of the rows.
    fn default() -> Self {
        MaxRejects::Percent(50)
    }
}

impl MaxRejects {
    /// Whether `rejected` of `read` rows are still allowed.
    #[must_use]
    pub fn allows(self, rejected: u64, read: u64) -> bool {
        match self {
            MaxRejects::Rows(limit) => rejected <= limit,
            MaxRejects::Percent(percent) => {
                u128::from(rejected) * 100 <= u128::from(read) * u128::from(percent)
            }
        }
    }
}

impl std::str::FromStr for MaxRejects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number of rows nor a percentage such as 10%");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 0..=100) => Ok(MaxRejects::Percent(percent)),
                _ => Err(wrong()),
            },
            None => text.parse().map(MaxRejects::Rows).map_err(|_| wrong()),
        }
    }
}

impl std::fmt::Display for MaxRejects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaxRejects::Rows(rows) => write!(f, "{rows}"),
            MaxRejects::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// For so many rows set aside the displayed values are asked for; more would take longer than
/// the import.
const DISPLAYED: u64 = 1_000;

/// Everything that a source had, understood and staged; nothing has been written yet.
#[derive(Debug)]
pub struct Import {
    staging: Staging,
    source: String,
    layouts: BTreeMap<String, u64>,
    warnings: Vec<String>,
    /// Dropped after the staging's connection, so that the file is closed by then.
    empty_file: Mutex<Option<EmptyFile>>,
    hook: Option<Arc<dyn StepHook>>,
}

#[derive(Debug)]
struct EmptyFile(File);

impl Drop for EmptyFile {
    fn drop(&mut self) {
        remove_if_empty(&self.0);
    }
}

impl Import {
    /// The first phase: reads the whole source, understands every row by the mapping and
    /// stages it. Neither store is asked anything.
    ///
    /// # Errors
    /// Those of the source, and [`Kind::InvalidData`] for an empty source or one that the
    /// mapping does not fit at all.
    pub async fn stage(
        source: &mut Source,
        mapping: Mapping,
        table: Table,
        observer: &dyn Observer,
    ) -> Result<Import> {
        let (table, mapping) = (Arc::new(table), Arc::new(mapping));
        let staging = Staging::start(Arc::clone(&table))?;
        let mut reader = Reader::new(&mapping);
        let mut understood = Vec::new();
        loop {
            // The thread of the staging database takes the last page while this one reads and
            // understands the next.
            let stage = staging.add(std::mem::take(&mut understood), Arc::clone(&mapping));
            let next = async {
                let page = source.next_page(observer).await?;
                if let Page::Rows(rows) = &page {
                    for row in rows {
                        understood.push(reader.read(row)?);
                    }
                }
                Ok(page)
            };
            match tokio::try_join!(stage, next)?.1 {
                Page::Rows(_) => {}
                Page::Restart => {
                    staging.forget().await?;
                    reader = Reader::new(&mapping);
                }
                Page::End => break,
            }
        }
        let summary = reader.finish()?;
        let import = Import {
            staging,
            source: source.describe(),
            layouts: summary.layouts.into_iter().map(|one| (one.layout, one.rows)).collect(),
            warnings: summary.warnings,
            empty_file: Mutex::new(None),
            hook: None,
        };
        for warning in &import.warnings {
            observer.event(Event::Warning(warning));
        }
        let nothing = match summary.contents {
            Contents::Empty => Some("there is no row in it"),
            Contents::HeaderOnly => Some("there is a header and no row below it"),
            Contents::Rows => None,
        };
        if let Some(nothing) = nothing {
            return Err(Error::new(
                Kind::InvalidData,
                "read the rows",
                format!("{}: {nothing}", import.source),
            )
            .with_hint("nothing was changed; check that this is the right tab or file"));
        }
        import.note_displayed(source, observer).await?;
        Ok(import)
    }

    /// Asks the source what it shows in the first cells that were set aside. It is for the report
    /// only; where the source cannot tell, it has warned and the report shows nothing.
    async fn note_displayed(&self, source: &mut Source, observer: &dyn Observer) -> Result<()> {
        let rows = self.staging.problem_rows(DISPLAYED).await?;
        let displayed = source.displayed(&rows, observer).await;
        self.staging.note_displayed(displayed).await
    }

    /// For tests: what happens to each step of the second phase.
    #[doc(hidden)]
    #[must_use]
    pub fn step_hook(mut self, hook: Arc<dyn StepHook>) -> Import {
        self.hook = Some(hook);
        self
    }

    /// The source, for a person.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many rows were read by each layout.
    #[must_use]
    pub fn layouts(&self) -> &BTreeMap<String, u64> {
        &self.layouts
    }

    /// What a person should know about the source, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many rows came and what became of them.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the staging database fails, as on a full temporary folder.
    pub async fn counts(&self) -> Result<Counts> {
        self.staging.counts().await
    }

    /// Stops an import whose rejects are too many.
    ///
    /// # Errors
    /// [`Kind::InvalidData`] if more rows were rejected than `limit` allows.
    pub async fn check_rejects(&self, limit: MaxRejects) -> Result<()> {
        let counts = self.counts().await?;
        if limit.allows(counts.rejected, counts.read) {
            return Ok(());
        }
        Err(Error::new(
            Kind::InvalidData,
            "check the rejects",
            format!(
                "{} of {} rows were rejected, more than the limit of {limit}; nothing was changed",
                counts.rejected, counts.read
            ),
        )
        .with_hint(
            "this usually means a wrong tab or mapping; see the reasons, or raise --max-rejects",
        ))
    }

    /// Rows and cells that were set aside, in the order of the source: `limit` at the most,
    /// from the `offset`-th on.
    ///
    /// # Errors
    /// As [`Import::counts`].
    pub async fn set_aside(&self, offset: u64, limit: u64) -> Result<Vec<SetAside>> {
        let problems = self.staging.problems(offset, limit).await?;
        Ok(problems.into_iter().map(|(fate, problem)| SetAside { fate, problem }).collect())
    }

    /// Sees to it that an attempt that fails does not leave an empty database file behind.
    fn leave_no_empty_file(&self, file: &File) {
        if let Ok(mut slot) = self.empty_file.lock() {
            *slot = Some(EmptyFile(file.clone()));
        }
    }
}
