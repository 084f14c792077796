//! The table into which an import goes.

use super::prepare::{Planned, plan_known};
use crate::Result;
use crate::schema::Table;
use crate::store::postgres::capture::{
    Layout, SchemaStanding, has_record_of_imports, may_record_imports, not_kept_elsewhere,
    ours_alone,
};
use crate::store::postgres::{Catalog, Session};

/// What the server has of the table that an import means: the one that is tracked, wherever the search
/// path leads.
#[derive(Clone, Debug)]
pub struct Importable {
    /// The table, and what this role may do.
    pub catalog: Catalog,
    /// Another table of that name, to which the search path leads instead.
    pub shadowed: Option<String>,
}

/// Looks for the table, in the session's transaction, and whether this role may import into it.
///
/// # Errors
/// Access denied, with the statements that give what is lacking; configuration if the schema of ours
/// is not ours alone, or an installation in another one keeps the table; else as for [`Session::query`].
pub async fn importable(session: &Session, table: &Table) -> Result<Importable> {
    let tables = std::slice::from_ref(table);
    let standing = SchemaStanding::read(session, tables).await?;
    standing.trusted(session)?;
    standing.kept_nowhere_else(session, tables).await?;
    standing.check(session)?;
    // Which table is tracked is read below: who may not, would take the one to which the path leads.
    may_record_imports(session, &standing).await?;
    let Planned { plan, catalog, shadowed } = plan_known(session, table, true).await?;
    let layout = Layout::new(table, &plan.target).within(session);
    not_kept_elsewhere(session, &layout).await?;
    if standing.installs {
        ours_alone(session, table, catalog.rights.schema.as_deref()).await?;
    } else if !has_record_of_imports(session).await? {
        return Err(standing.for_the_owner(session, &layout.target));
    }
    Ok(Importable { catalog, shadowed })
}
