use clap::{Args, Subcommand, ValueEnum};
use dual_database::Store;
use dual_database::database::RepairPreference;

/// Arguments of `dual init`.
#[derive(Args, Debug)]
pub struct Init {
    /// Do what the plan says
    #[arg(long, group = "does")]
    pub apply: bool,

    /// Print what is to be done in PostgreSQL as statements that an administrator can run by psql;
    /// change nothing
    #[arg(long, group = "does", conflicts_with_all = ["rejoin", "prefer", "no_copy"])]
    pub sql: bool,

    /// Write the plan of the tables that are not joined yet behind the settings file, as [tables.NAME],
    /// to be changed there
    #[arg(long, conflicts_with = "does")]
    pub write_config: bool,

    /// The role that runs the programs and owns nothing: it is granted what it needs, and no more
    /// [with --sql, default: the one that connects]
    #[arg(long, value_name = "ROLE", requires = "does")]
    pub runtime: Option<String>,

    /// Keep the tables, too, that only PostgreSQL has; else those of the file are kept
    #[arg(long, conflicts_with = "tables")]
    pub all: bool,

    /// Keep these tables, besides those that are joined already
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub tables: Vec<String>,

    /// Keep none of these
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub except: Vec<String>,

    /// Of these, rows of both sides under one automatic number are the same row: they are merged
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub same: Vec<String>,

    /// Of these, such rows are two if they are not equal: those of the file get other numbers, and
    /// what refers to them follows
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub different: Vec<String>,

    /// Columns of whole numbers that PostgreSQL may make bigint, with what refers to them; of a table
    /// alone those in which the file has numbers that do not fit. It writes the table anew, while
    /// everybody who uses it waits
    #[arg(long, value_name = "TABLE[.COLUMN],…", value_delimiter = ',')]
    pub widen: Vec<String>,

    /// The schema of PostgreSQL's in which the tables stand [default: the first of the search path]
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,

    /// Whose value stands where both sides have one and nothing tells which is the newer
    #[arg(long, value_enum, value_name = "SIDE", default_value_t = Side::Postgres)]
    pub prefer: Side,

    /// Do not copy a file that was there before beside itself first
    #[arg(long)]
    pub no_copy: bool,

    /// Let a file of another installation join this one, which stands in its place; what waits in
    /// the file goes over
    #[arg(long)]
    pub rejoin: bool,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Side {
    /// PostgreSQL
    Postgres,
    /// The SQLite file
    Sqlite,
}

impl From<Side> for Store {
    fn from(side: Side) -> Store {
        match side {
            Side::Postgres => Store::Postgres,
            Side::Sqlite => Store::Sqlite,
        }
    }
}

/// Arguments of `dual status`.
#[derive(Args, Debug)]
pub struct Status {
    /// Mark what it tells of damaged files as seen
    #[arg(long)]
    pub review: bool,
}

/// Arguments of `dual schema`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Schema {
    /// These tables alone
    #[arg(value_name = "TABLE")]
    pub tables: Vec<String>,
    /// What to do with it, besides showing it
    #[command(subcommand)]
    pub apply: Option<SchemaChange>,
}

/// What can be done with what is declared.
#[derive(Subcommand, Debug)]
pub enum SchemaChange {
    /// Declare a table as it is now: with PostgreSQL's types, and the names that are given
    Apply(SchemaApply),
}

/// Arguments of `dual schema apply`.
#[derive(Args, Debug)]
pub struct SchemaApply {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// A column that has another name now; it keeps its values and gets that name on both sides
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed)]
    pub rename: Vec<(String, String)>,
    /// A column that has another name in files; it gets that name there, and PostgreSQL keeps its own
    #[arg(long, value_name = "COLUMN=NAME", value_parser = renamed)]
    pub file_name: Vec<(String, String)>,
    /// A column that was dropped on one side, and is to be carried no more
    #[arg(long, value_name = "COLUMN")]
    pub drop: Vec<String>,
    /// A column of whole numbers that PostgreSQL makes bigint, also one of the key. It writes the table anew,
    /// while everybody who uses it waits
    #[arg(long, value_name = "COLUMN")]
    pub widen: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.into(), new.into())),
        _ => Err("give the old name, =, and the new one".into()),
    }
}

/// Arguments of `dual sql`.
#[derive(Args, Debug)]
pub struct Sql {
    /// The statement, or - to read it from stdin; ?1, ?2 … stand for the parameters
    #[arg(value_name = "SQL")]
    pub sql: String,
    /// Its parameters, as JSON or as texts
    #[arg(value_name = "PARAMETER", allow_negative_numbers = true)]
    pub parameters: Vec<String>,
}

/// Arguments of `dual repair`.
#[derive(Args, Debug)]
pub struct Repair {
    /// Which side is right where they differ
    #[arg(long, value_enum, value_name = "SIDE", required_unless_present = "stamps")]
    pub prefer: Option<Prefer>,
    /// Set back the stamps that lie in the future, which `dual verify` tells of; values stay as they are
    #[arg(long)]
    pub stamps: bool,
}

/// Which side is right.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Prefer {
    /// PostgreSQL
    Postgres,
    /// The SQLite file
    Sqlite,
    /// The newer value of each column, as always
    Newest,
}

impl From<Prefer> for RepairPreference {
    fn from(prefer: Prefer) -> RepairPreference {
        match prefer {
            Prefer::Postgres => RepairPreference::Postgres,
            Prefer::Sqlite => RepairPreference::Sqlite,
            Prefer::Newest => RepairPreference::Newest,
        }
    }
}

/// Arguments of `dual sync`.
#[derive(Args, Debug)]
pub struct Sync {
    /// End when nothing is pending either way; without --watch this is what happens
    #[arg(long, conflicts_with = "watch")]
    pub once: bool,

    /// Go on until Ctrl-C or SIGTERM
    #[arg(long)]
    pub watch: bool,
}

/// Arguments of `dual conflicts`.
#[derive(Args, Debug)]
pub struct Conflicts {
    /// Mark all as reviewed
    #[arg(long)]
    pub review: bool,

    /// Show at most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}

/// Arguments of `dual uninstall`.
#[derive(Args, Debug)]
pub struct Uninstall {
    /// Do it although changes have not reached the other side: they stay where they are
    #[arg(long)]
    pub abandon_pending: bool,

    /// Only from the SQLite file, whatever stands in its tables `dual_…`: `dual init --apply` makes them
    /// anew, and compares
    #[arg(long)]
    pub file_only: bool,

    /// Answer yes to the question
    #[arg(long)]
    pub yes: bool,
}
