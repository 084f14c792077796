//! From what both sides have of a table to its declaration, or to the reason why there is none. Pure.

use std::sync::Arc;

use super::pairs::{Pair, Sides};
use super::{ChosenColumn, Declared};
use crate::schema::{
    Column, Dialect, LogicalType, RelationColumn, RelationKey, RelationSort, Role, Table, built_in,
};

/// So many columns are tried and documented.
const WIDEST: usize = 120;

/// PostgreSQL cuts what is longer.
const LONGEST_NAME: usize = 63;

/// Why a table is not kept, and what would make it fit.
type Reason = (String, String);

impl Sides<'_> {
    /// What makes it no table that can be kept, whatever its columns.
    fn is_a_table(&self) -> Result<(), Reason> {
        let refuse = |what: &str, hint: &str| Err((what.to_owned(), hint.to_owned()));
        let here = self.local.map(|relation| relation.sort);
        let there = self.remote.map(|relation| relation.sort);
        let base = "join the table that its rows are in";
        match (there, here) {
            (Some(RelationSort::View), _) => return refuse("it is a view in PostgreSQL", base),
            (_, Some(RelationSort::View)) => return refuse("it is a view in SQLite", base),
            (Some(RelationSort::Foreign), _) => return refuse("it is a foreign table", base),
            (_, Some(RelationSort::Foreign)) => return refuse("it is a virtual table", base),
            (Some(RelationSort::Part), _) => {
                return refuse("it is a part of another table", "join that one");
            }
            _ => {}
        }
        let begins = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
        };
        for (prefix, whose) in [("sqlite_", "SQLite's own"), ("dual_", "ours")] {
            if begins(prefix) {
                let reason = format!("names that begin with {prefix} are {whose} in the file");
                return Err((reason, "give it another name".into()));
            }
        }
        Ok(())
    }
}

impl Pair<'_> {
    /// The type for both sides, or why the column is not carried.
    pub(super) fn kind(&self) -> Result<LogicalType, String> {
        if self.declared.is_some_and(|declared| declared.leaves_out(self.name)) {
            return Err("the settings leave it out".into());
        }
        if let Some(taken) = &self.taken {
            return Err(taken.clone());
        }
        if self.name.len() > LONGEST_NAME {
            return Err(format!("its name is longer than {LONGEST_NAME} bytes"));
        }
        let generated = |column: Option<&RelationColumn>| column.is_some_and(|c| c.generated);
        if generated(self.remote) || generated(self.local) {
            return Err("it is computed: each side does that by itself".into());
        }
        let first = self.remote.or(self.local);
        // Of what PostgreSQL has, PostgreSQL says the type.
        let said = self.declared.filter(|_| self.remote.is_none());
        let own = self.local.map_or("", |column| &column.name);
        let said = said.and_then(|said| said.kind(self.name).or_else(|| said.kind(own)));
        let kind = said.or_else(|| first.and_then(|column| column.kind.clone()));
        let declared = first.map_or("", |column| column.declared.as_str());
        let kind = kind.ok_or_else(|| match self.remote {
            Some(_) => format!("its type {declared} is none that is carried"),
            None => "its values are of no one type that is carried".to_owned(),
        })?;
        if let Some(local) = self.local
            && !kind.fits(&local.declared)
        {
            let in_binary = first.and_then(|column| column.in_binary.clone());
            if let Some(other) = in_binary.filter(|other| other.fits(&local.declared)) {
                return Ok(other);
            }
            return Err(format!(
                "it is declared {} in SQLite, which changes values of {declared}",
                local.declared
            ));
        }
        Ok(kind)
    }

    /// PostgreSQL keeps less of a moment than the file: what the file calls a row by would be another one there.
    fn is_cut(&self) -> bool {
        let is_moment = |column: &RelationColumn| {
            matches!(column.kind, Some(LogicalType::Timestamp | LogicalType::TimestampTz))
        };
        let cut = |column: &RelationColumn| {
            column.declared.contains('(') && !column.declared.contains("(6)")
        };
        self.remote.is_some_and(|column| is_moment(column) && cut(column))
    }

    /// A row that says nothing of it is taken by either side, and what the one takes the other one does.
    fn is_plain(&self) -> bool {
        let takes = |column: &RelationColumn| !column.not_null || column.default.is_some();
        let sides = [self.remote, self.local];
        let alike =
            |(there, here): (&RelationColumn, &RelationColumn)| there.not_null == here.not_null;
        sides.into_iter().flatten().all(takes) && sides[0].zip(sides[1]).is_none_or(alike)
    }

    fn column(&self, kind: LogicalType, role: Role) -> Column {
        let defaults = [self.remote, self.local].map(|column| column.map(|c| c.default.clone()));
        let default = match defaults {
            [Some(there), Some(here)] => there.filter(|value| here.as_ref() == Some(value)),
            [one, other] => one.or(other).flatten(),
        };
        let default = default.filter(|_| role == Role::Data);
        let sides = [self.remote, self.local];
        let is_numbered = sides.into_iter().flatten().any(|column| column.numbered);
        let automatic = is_numbered && role == Role::Key && kind.is_whole_number();
        let column = Column::new(Arc::clone(self.name), kind, role);
        let column = match self.named {
            Some(named) => column.called(Arc::clone(named)),
            None => column,
        };
        Column { default, automatic, ..column }
    }
}

/// The declaration of the table; `known` is the one in force, to which new columns are added. A new one
/// gets `number` as its label.
pub(super) fn table(
    sides: &Sides<'_>,
    known: Option<&Table>,
    schema: Option<&str>,
    number: u32,
) -> Result<Table, Reason> {
    if let Some(known) = known {
        // One that has grown too wide is kept as it is.
        return Ok(widened(known.clone(), sides).unwrap_or_else(|_| known.clone()));
    }
    if is_built_in(sides) {
        return widened(built_in().within(schema.map(Arc::from)), sides);
    }
    sides.is_a_table()?;
    if sides.name.len() > LONGEST_NAME {
        let reason = format!("its name is longer than {LONGEST_NAME} bytes");
        return Err((reason, "give it a shorter name".into()));
    }
    let pairs = sides.pairs();
    if pairs.len() > WIDEST {
        let reason = format!("it has {} columns, more than {WIDEST}", pairs.len());
        return Err((reason, "split it in two tables of one key".into()));
    }
    let key = key(sides)?;
    let surrogate = surrogate(sides, &key, &pairs);
    let mut columns = Vec::with_capacity(pairs.len());
    for (at, pair) in pairs.iter().enumerate() {
        let is_one = |name: &Arc<str>| name.eq_ignore_ascii_case(pair.name);
        // One that only the file has, under the name of one that it calls otherwise, is none of it.
        let is_other = pair.remote.is_none() && pair.taken.is_some();
        let is_key = !is_other && key.columns.iter().any(is_one);
        let is_surrogate = !is_other && surrogate.as_ref().is_some_and(is_one);
        let role = match is_key {
            true => Role::Key,
            false if is_surrogate => Role::Surrogate,
            false => Role::Data,
        };
        match pair.kind() {
            Ok(_) if is_key && pair.is_cut() => {
                let reason =
                    format!("{}, of its key, keeps no microseconds in PostgreSQL", pair.name);
                return Err((reason, "change the type of that column, or the key".into()));
            }
            Ok(kind) => {
                let column = pair.column(kind, role).labelled(format!("c{}", at + 1));
                let numbered = sides.declared.and_then(|declared| declared.automatic);
                let is_numbered = is_key && numbered.unwrap_or(column.automatic);
                let automatic = is_numbered && key.columns.len() == 1;
                columns.push(Column { automatic, ..column });
            }
            Err(why) if is_key => {
                let reason = format!("{}, of its key, is not carried: {why}", pair.name);
                return Err((reason, "change the type of that column, or the key".into()));
            }
            Err(_) => {}
        }
    }
    let table = Table::declare(Arc::clone(sides.name), columns).map_err(|error| {
        (error.message().to_owned(), "nothing but its columns could change that".into())
    })?;
    let left_out = sides.declared.map_or(Vec::new(), Declared::left_out);
    let table = table.labelled(number.to_string()).within(schema.map(Arc::from));
    Ok(table.leaving_out(left_out))
}

/// Whether it is the table of the documented system.
pub(super) fn is_built_in(sides: &Sides<'_>) -> bool {
    let built_in = built_in();
    let key = &built_in.key().name;
    **sides.name == *built_in.name()
        && sides.remote.is_none_or(|relation| relation.column(key).is_some())
        && sides.local.is_none_or(|relation| relation.column(key).is_some())
}

/// The declaration with the columns that one of the sides has besides.
fn widened(table: Table, sides: &Sides<'_>) -> Result<Table, Reason> {
    let pairs = sides.pairs();
    with(table.clone(), &besides(&table, &pairs))
}

/// The columns that one of the sides has besides, and could be carried. Of those that a person has dropped both
/// sides must have it: one of them only did not take it away.
fn besides<'p, 's>(table: &Table, pairs: &'p [Pair<'s>]) -> Vec<&'p Pair<'s>> {
    let is_back = |pair: &Pair<'_>| pair.remote.is_some() && pair.local.is_some();
    let is_new = |pair: &Pair<'_>| {
        !table.knows(pair.name) && (!table.has_dropped(pair.name) || is_back(pair))
    };
    let is_meant = |pair: &Pair<'_>| is_new(pair) && !table.leaves_out(pair.name);
    pairs.iter().filter(|pair| is_meant(pair) && pair.kind().is_ok()).collect()
}

fn with(table: Table, besides: &[&Pair<'_>]) -> Result<Table, Reason> {
    if table.columns().len() + besides.len() > WIDEST {
        let reason = format!("it has more than {WIDEST} columns");
        return Err((reason, "take the new ones away, or split the table".into()));
    }
    let used = table.labels().filter_map(|label| label.strip_prefix('c')?.parse().ok());
    let first = used.max().unwrap_or(table.columns().len());
    let carried =
        besides.iter().filter_map(|pair| Some(pair.column(pair.kind().ok()?, Role::Data)));
    let columns = carried
        .enumerate()
        .map(|(at, column)| column.labelled(format!("c{}", first + at + 1)))
        .collect();
    table.with_columns(columns).map_err(|error| (error.message().to_owned(), String::new()))
}

/// The declaration with what both sides have besides, as far as nobody has to be asked about it; `None` if
/// that is nothing.
pub(super) fn grown(known: &Table, sides: &Sides<'_>) -> Option<Table> {
    let pairs = sides.pairs();
    let mut besides = besides(known, &pairs);
    besides.retain(|pair| pair.is_plain());
    // One that grows too wide is kept as it is.
    Some(besides)
        .filter(|besides| !besides.is_empty())
        .and_then(|new| with(known.clone(), &new).ok())
}

/// The columns by which its rows are told apart, as PostgreSQL calls them.
fn key(sides: &Sides<'_>) -> Result<RelationKey, Reason> {
    let Some(first) = sides.remote.or(sides.local) else {
        return Err(("it is not there".into(), String::new()));
    };
    let said = sides.declared.and_then(Declared::as_key);
    let others: Vec<&RelationKey> = first.keys.iter().filter(|key| !key.primary).collect();
    let own = said.as_ref().or_else(|| first.keys.iter().find(|key| key.primary));
    let key = match (own, others.as_slice()) {
        (Some(own), _) => own,
        (None, [only]) => only,
        (None, []) => {
            return Err((
                "it has no key: nothing tells its rows apart".into(),
                format!(
                    "give it a PRIMARY KEY, or UNIQUE columns that are NOT NULL; or name its key in the settings, \
                     [tables.{}]",
                    sides.name
                ),
            ));
        }
        (None, several) => {
            let names = several.iter().map(|key| key.columns.join(", ")).collect::<Vec<_>>();
            return Err((
                format!(
                    "it has no primary key, and several that could be it: {}",
                    names.join("; ")
                ),
                "make one of them the PRIMARY KEY".into(),
            ));
        }
    };
    // What only the file has, and what a person says, may have the names of the file.
    let there = |name: &Arc<str>| {
        let is_there = sides.remote.is_some_and(|relation| relation.column(name).is_some());
        let other = sides.named_there(name).filter(|_| !is_there);
        Arc::clone(other.unwrap_or(name))
    };
    let key =
        RelationKey { columns: key.columns.iter().map(there).collect(), primary: key.primary };
    let lacks_there =
        |name: &&Arc<str>| sides.remote.is_some_and(|relation| relation.column(name).is_none());
    let lacks_here = |name: &&Arc<str>| sides.local.is_some() && sides.here(name).is_none();
    for (side, missing) in [
        ("PostgreSQL", key.columns.iter().find(lacks_there)),
        ("SQLite", key.columns.iter().find(lacks_here)),
    ] {
        if let Some(missing) = missing {
            let missing = sides.named(missing).filter(|_| side == "SQLite").unwrap_or(missing);
            return Err((
                format!("{missing}, of its key, is not in {side}"),
                "add the column there and fill it".into(),
            ));
        }
    }
    Ok(key)
}

/// The column of a primary key that is not the key: numbers that a side hands out. PostgreSQL's are those of both
/// sides then.
fn surrogate(sides: &Sides<'_>, key: &RelationKey, pairs: &[Pair<'_>]) -> Option<Arc<str>> {
    let primary = sides.remote.or(sides.local)?.keys.iter().find(|key| key.primary)?;
    let [name] = primary.columns.as_slice() else { return None };
    let name = sides.named_there(name).filter(|_| sides.remote.is_none()).unwrap_or(name);
    if key.columns.iter().any(|one| one.eq_ignore_ascii_case(name)) {
        return None;
    }
    let pair = pairs.iter().find(|pair| pair.name == name)?;
    let is_numbered = [pair.remote, pair.local].into_iter().flatten().any(|one| one.numbered);
    let is_whole = pair.kind().is_ok_and(|kind| kind.is_whole_number());
    (is_numbered && is_whole).then(|| Arc::clone(name))
}

/// Keys that both sides have besides a primary one that a side numbers, for a table that is not joined: each could
/// tell its rows apart as well.
pub(super) fn natural(sides: &Sides<'_>, table: &Table) -> Vec<Vec<Arc<str>>> {
    let said = |declared: &Declared| !declared.key.is_empty() || declared.automatic.is_some();
    let (Some(remote), Some(local)) = (sides.remote, sides.local) else { return Vec::new() };
    if !table.has_automatic_key() || sides.declared.is_some_and(said) {
        return Vec::new();
    }
    let there = |own: &Arc<str>| Arc::clone(sides.named_there(own).unwrap_or(own));
    let is_same = |one: &RelationKey, other: &RelationKey| {
        let others: Vec<Arc<str>> = other.columns.iter().map(there).collect();
        let has = |name: &Arc<str>| others.iter().any(|own| own.eq_ignore_ascii_case(name));
        one.columns.len() == other.columns.len() && one.columns.iter().all(has)
    };
    let makes_one = |key: &&RelationKey| {
        let name = |name: &Arc<str>| table.column(name).map(|column| Arc::clone(&column.name));
        let names: Option<Vec<Arc<str>>> = key.columns.iter().map(name).collect();
        names.is_some_and(|names| table.keyed_by(&names).is_ok())
    };
    let both = remote.keys.iter().filter(|key| !key.primary);
    let both = both.filter(|key| local.keys.iter().any(|own| !own.primary && is_same(key, own)));
    let mut found: Vec<Vec<Arc<str>>> = Vec::new();
    for key in both.filter(makes_one) {
        if !found.contains(&key.columns) {
            found.push(key.columns.clone());
        }
    }
    found
}

/// What both sides have of the columns, for people.
pub(super) fn columns(sides: &Sides<'_>, table: &Table) -> Vec<ChosenColumn> {
    let pairs = sides.pairs();
    let shown = |pair: &Pair<'_>| {
        let column = table.column(pair.name).filter(|_| pair.taken.is_none());
        let known = column.map(|column| &column.kind);
        let evidence = pair.local.and_then(|column| column.evidence.clone());
        let remark = match known {
            Some(_) => evidence.filter(|_| pair.remote.is_none()),
            None if table.leaves_out(pair.name) => Some("it was left out".into()),
            None if table.has_dropped(pair.name) => Some("it was dropped on the other side".into()),
            None => pair.kind().err().or_else(|| Some("it is read from under another name".into())),
        };
        ChosenColumn {
            name: Arc::clone(pair.name),
            local: column.and_then(Column::other_name).cloned(),
            kind: known.map(|kind| kind.sql(Dialect::Postgres).to_owned()),
            postgres: pair.remote.map(|column| column.declared.clone()),
            sqlite: pair.local.map(|column| column.declared.clone()),
            remark,
            width: None,
        }
    };
    let mut shown: Vec<ChosenColumn> = pairs.iter().map(shown).collect();
    for column in table.columns() {
        let is_it = |one: &ChosenColumn| {
            let is_told = one.kind.is_some() || !column.has_own_name();
            is_told && one.name.eq_ignore_ascii_case(&column.name)
        };
        if !shown.iter().any(is_it) {
            let kind = Some(column.kind.sql(Dialect::Postgres).to_owned());
            let (name, local) = (Arc::clone(&column.name), column.other_name().cloned());
            let (postgres, sqlite, remark, width) = (None, None, None, None);
            shown.push(ChosenColumn { name, local, kind, postgres, sqlite, remark, width });
        }
    }
    shown
}
