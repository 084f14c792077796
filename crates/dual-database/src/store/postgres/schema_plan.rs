//! What a table of PostgreSQL's lacks, as steps, and what is in the way, as it is told.

use std::sync::Arc;

use super::capture::guarded;
use super::found::FoundTable;
use crate::protocol::Addition;
use crate::schema::{QualifiedName, Table, quoted, quoted_text};
use crate::{Error, Kind, Store};

impl Addition {
    /// The statement that does it unless it is done; one without a condition can be repeated.
    #[must_use]
    pub fn statement(&self) -> String {
        match &self.done {
            Some(done) => guarded(&format!("NOT {done}"), &self.sql),
            None => self.sql.clone(),
        }
    }

    /// Whether it sets a sequence, which no rollback takes back.
    pub(in crate::store::postgres) fn sets_sequence(&self) -> bool {
        self.sql.starts_with("SELECT ")
    }
}

/// What sort of thing is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObstacleKind {
    /// A right is missing.
    Right,
    /// The table is of another shape.
    Shape,
}

/// Something that only a person can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What sort of thing.
    pub kind: ObstacleKind,
    /// The column that it is about.
    pub column: Option<String>,
    /// What is in the way, as a clause.
    pub what: String,
    /// What the owner could run, if a statement can help.
    pub sql: Option<String>,
}

/// What is to be done before rows can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaPlan {
    /// The table's name, existing or to be made.
    pub target: QualifiedName,
    /// Whether the table is to be made.
    pub creates: bool,
    /// What is to be run, in this order.
    pub steps: Vec<Addition>,
    /// What is in the way; if there is anything, no step may be run.
    pub obstacles: Vec<Obstacle>,
    /// Whether the owner's rights do not suffice to remove them.
    pub(super) superuser: bool,
    /// What it was called before somebody took it away.
    was: Option<String>,
    /// What a person could do, where no statement of the owner's helps.
    pub advice: Option<String>,
    /// The most characters of a text column that has a limit.
    pub lengths: Vec<(Arc<str>, u32)>,
    /// Columns besides key and surrogate that refuse NULL.
    pub required: Vec<Arc<str>>,
    /// Integer columns whose values the server keeps in 64 bits although 32 are declared.
    pub wider: Vec<Arc<str>>,
}

impl SchemaPlan {
    /// Nothing is to be done and nothing is in the way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.obstacles.is_empty()
    }

    /// The error that the obstacles are, if there are any: access denied if only rights are
    /// missing, else about the schema. Its hint is the SQL for the owner.
    #[must_use]
    pub fn refusal(&self, operation: &'static str) -> Option<Error> {
        self.refusal_of(operation, |_| true)
    }

    /// The same of what no right would help with.
    pub(super) fn shape_refusal(&self, operation: &'static str) -> Option<Error> {
        self.refusal_of(operation, |kind| kind == ObstacleKind::Shape)
    }

    fn refusal_of(
        &self,
        operation: &'static str,
        counts: impl Fn(ObstacleKind) -> bool,
    ) -> Option<Error> {
        let obstacles: Vec<&Obstacle> =
            self.obstacles.iter().filter(|obstacle| counts(obstacle.kind)).collect();
        if obstacles.is_empty() {
            return None;
        }
        let rights = obstacles.iter().all(|obstacle| obstacle.kind == ObstacleKind::Right);
        let kind = if rights { Kind::AccessDenied } else { Kind::Schema(Store::Postgres) };
        let reasons: Vec<&str> = obstacles.iter().map(|obstacle| obstacle.what.as_str()).collect();
        let about = self.was.clone().unwrap_or_else(|| self.target.to_string());
        let error = Error::new(kind, operation, format!("{about}: {}", reasons.join("; ")));
        let statements: Vec<&str> =
            obstacles.iter().filter_map(|obstacle| obstacle.sql.as_deref()).collect();
        if let Some(advice) = &self.advice {
            return Some(error.with_hint(advice));
        }
        if statements.is_empty() {
            return Some(error);
        }
        let who = if self.superuser { "a superuser" } else { "the owner" };
        Some(error.with_hint(format!("{who} can run: {};", statements.join("; "))))
    }

    /// Somebody has taken away what was tracked: that is for a person to decide about.
    pub(super) fn taken_away(&mut self, was: &str, what: &str, advice: &str) {
        self.was = Some(was.to_owned());
        self.advice = Some(advice.to_owned());
        self.obstacles.clear();
        self.shape(None, what, None);
    }

    /// What capture cannot live with, of a table that is to be tracked.
    pub(super) fn capture(&mut self, found: &FoundTable) {
        if let Some(parent) = &found.parent {
            let what = format!("it is a part of {parent}: writes to that would pass it by");
            self.shape(None, what, None);
            self.advice.get_or_insert(format!("join {parent} under that name instead"));
        }
        for rule in &found.rules {
            let rule = quoted(rule);
            let what = format!("the rule {rule} rewrites the writes to it; a trigger can do that");
            let sql = format!("DROP RULE {rule} ON {}", self.target);
            self.shape(None, what, Some(sql));
        }
    }

    /// In a database that takes bytes of any kind a text may be none, and nobody could be told of its row.
    pub(super) fn any_bytes(&mut self, table: &Table) {
        for column in table.key_columns().filter(|column| column.kind.is_text()) {
            let what = format!(
                "{} is of its key, and a text of this database, which is SQL_ASCII, may be bytes of any kind",
                quoted(&column.name)
            );
            self.shape(Some(&column.name), what, None);
        }
    }

    pub(super) fn step(
        &mut self,
        what: impl Into<String>,
        sql: impl Into<String>,
        done: Option<String>,
    ) {
        self.steps.push(Addition { done, ..Addition::new(what, sql) });
    }

    /// One that writes the whole table anew, for which writers and readers wait.
    pub(super) fn rewriting(&mut self, what: String, sql: String, done: String) {
        let step = Addition { done: Some(done), rewrites: true, ..Addition::new(what, sql) };
        self.steps.push(step);
    }

    /// The column has that, a condition over its `pg_attribute` as `a`.
    pub(super) fn column_has(&self, name: &str, what: &str) -> String {
        format!(
            "EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass({}) \
             AND a.attname = {} AND NOT a.attisdropped AND {what})",
            quoted_text(&self.target.to_string()),
            quoted_text(name)
        )
    }

    pub(super) fn shape(
        &mut self,
        column: Option<&str>,
        what: impl Into<String>,
        sql: Option<String>,
    ) {
        let column = column.map(str::to_owned);
        self.obstacles.push(Obstacle { kind: ObstacleKind::Shape, column, what: what.into(), sql });
    }

    pub(super) fn right(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        let (kind, what, sql) = (ObstacleKind::Right, what.into(), Some(sql.into()));
        self.obstacles.push(Obstacle { kind, column: None, what, sql });
    }
}
