//! `dual init`.

use std::path::Path;
use std::time::Duration;

use dual_database::init::{Choice, Joining, apply, apply_for, choose, plan, sql};
use dual_database::store::postgres::Limits;
use dual_database::{Error, Kind, Result};

use super::stop_signal;
use crate::arguments::Init;
use crate::exit::Exit;
use crate::output::{self, InitReport, message};
use crate::settings::{self, Stores};

/// A first copy of a large table takes minutes.
const FIRST_EXCHANGE: Duration = Duration::from_secs(60 * 60);
/// Capturing a large table is one statement.
const STATEMENT: Duration = Duration::from_secs(15 * 60);
/// How long another program's lock on the file is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Shows what has to be made or joined; with `--apply` does it, with `--sql` writes down what PostgreSQL
/// lacks.
///
/// # Errors
/// Those of reaching both sides; with `--apply` what stands in the way of joining, after which
/// nothing was changed.
pub async fn run(
    stores: &Stores,
    json: bool,
    config: Option<&Path>,
    arguments: Init,
) -> Result<Exit> {
    let mut both = stores.both(Limits { statement: STATEMENT, ..Limits::default() });
    both.sqlite.busy = BUSY;
    let mut joining = Joining {
        prefer: arguments.prefer.into(),
        copy: !arguments.no_copy,
        rejoin: arguments.rejoin,
        different: Vec::new(),
    };
    let choice = Choice {
        all: arguments.all,
        tables: arguments.tables,
        except: arguments.except,
        schema: arguments.schema,
        same: arguments.same,
        different: arguments.different,
        widen: arguments.widen,
        declared: settings::declared(config)?,
    };
    let work = async {
        let survey = choose(&mut both, &choice).await?;
        joining.different.clone_from(&survey.different);
        if arguments.write_config {
            let path = settings::write_declared(config, &survey)?;
            message(&format!("the tables stand in {path} now; `dual init` reads them there"));
        }
        let runtime = arguments.runtime.as_deref();
        if arguments.sql {
            let sql = sql(&both, runtime).await?;
            output::data(&if json { output::sql_document(&sql) } else { sql });
            return Ok(Exit::Done);
        }
        let report = if arguments.apply {
            message("joining both sides …");
            let joined = match runtime {
                Some(role) => apply_for(&both, joining, role, FIRST_EXCHANGE).await?,
                None => apply(&both, joining, FIRST_EXCHANGE).await?,
            };
            InitReport::joined(survey, joined)
        } else {
            InitReport::planned(survey, plan(&both, joining).await?, &choice)
        };
        output::data(&if json { report.document() } else { report.text() });
        Ok(report.exit())
    };
    tokio::select! {
        ended = work => ended,
        () = stop_signal() => {
            let sentence = if arguments.apply {
                "stopped; what was done holds, and the same command goes on"
            } else {
                "stopped; nothing was changed"
            };
            Err(Error::new(Kind::Interrupted, "make one database of both", sentence))
        }
    }
}
