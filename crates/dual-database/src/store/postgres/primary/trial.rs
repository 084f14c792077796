//! Trying what a preparation is going to do: what a catalog says of rights, extensions and event
//! triggers is never the whole truth.

use tokio_postgres::types::Type;

use crate::protocol::Addition;
use crate::schema::Table;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::{
    Drift, Layout, SchemaStanding, drift, is_renewable, permitted, place, schema_locked,
};
use crate::store::postgres::{Parameter, SchemaPlan, Session, is_confirmed};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "try what is to be done in PostgreSQL";

/// What would take longer is not tried: writers of the table wait meanwhile.
const SHORT: &str = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '5s'";

/// A table of so many bytes is not written anew only to try it.
const LARGE: i64 = 64 << 20;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Trial {
    /// It will work.
    Passed,
    /// It will not, for these reasons.
    Refused(Vec<Error>),
    /// Nobody can say: somebody holds the table, or it takes too long.
    Untried(Error),
}

/// Does what `plan` says, unless something is in its way, and puts capture beside the table, but for taking the rows in; and takes all
/// of it back. Numbers are not handed out, and no sequence is set: that could not be taken back.
///
/// # Errors
/// As for [`Session::rollback`], and those of a connection that is lost.
pub(crate) async fn try_out(session: &Session, table: &Table, plan: &SchemaPlan) -> Result<Trial> {
    let layout = Layout::new(table, &plan.target).within(session);
    session.begin(OPERATION).await?;
    let lacking = lacking(session, table, &layout).await?;
    if !(lacking.is_empty() && plan.obstacles.is_empty()) {
        session.rollback(OPERATION).await?;
        return Ok(Trial::Refused(lacking));
    }
    let outcome = go(session, &layout, plan).await;
    if !session.is_closed() {
        session.rollback(OPERATION).await?;
    }
    match outcome {
        Ok(()) => Ok(Trial::Passed),
        Err(error) if session.is_closed() => Err(error),
        Err(error) if error.kind() == Kind::Unavailable(Store::Postgres) => {
            Ok(Trial::Untried(error))
        }
        Err(error) => Ok(Trial::Refused(vec![error])),
    }
}

/// The rights that are missing, all at once: whoever may grant them is asked once.
async fn lacking(session: &Session, table: &Table, layout: &Layout) -> Result<Vec<Error>> {
    let mut lacking = Vec::new();
    let standing = SchemaStanding::read(session, std::slice::from_ref(table)).await?;
    match standing.check(session) {
        Err(error) => lacking.push(error),
        Ok(()) if !standing.installs => {
            let is_mended = drift(session, layout).await? == Drift::None
                || is_renewable(session, layout).await?;
            if !is_mended {
                lacking.push(standing.for_the_owner(session, &layout.target));
            }
            return Ok(lacking);
        }
        Ok(()) => {}
    }
    let sql = "SELECT coalesce(has_table_privilege(to_regclass($1), 'TRIGGER'), true)";
    let target = layout.target.as_str();
    let parameters: [Parameter<'_>; 1] = [(&target, Type::TEXT)];
    let rows = session.query(OPERATION, sql, &parameters).await?;
    if !column::<bool>(rows.first().ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)? {
        let message = format!("no right to put triggers on {target}");
        let error = Error::new(Kind::AccessDenied, OPERATION, message);
        lacking.push(permitted(error, session, layout));
    }
    Ok(lacking)
}

/// Whether it would take long to write the table anew.
async fn is_large(session: &Session, layout: &Layout) -> Result<bool> {
    let sql = "SELECT pg_table_size(to_regclass($1)) > $2";
    let target = layout.target.as_str();
    let parameters: [Parameter<'_>; 2] = [(&target, Type::TEXT), (&LARGE, Type::INT8)];
    let rows = session.query(OPERATION, sql, &parameters).await?;
    column(rows.first().ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)
}

async fn go(session: &Session, layout: &Layout, plan: &SchemaPlan) -> Result<()> {
    session.batch(OPERATION, SHORT).await?;
    // Another program may be making the same just now.
    session.batch(OPERATION, &schema_locked()).await?;
    // What is in the way of that the plan has found in the catalog.
    let is_long = plan.steps.iter().any(|step| step.rewrites) && is_large(session, layout).await?;
    let is_tried = |step: &&Addition| !(step.sets_sequence() || is_long && step.rewrites);
    for step in plan.steps.iter().filter(is_tried) {
        session.batch(OPERATION, &step.statement()).await?;
    }
    if SchemaStanding::read(session, &[]).await?.installs {
        place(session, layout).await?;
    }
    is_confirmed(session, OPERATION).await
}
