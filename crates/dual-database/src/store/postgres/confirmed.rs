//! Whether anybody is there who would confirm a COMMIT.

use super::Session;
use crate::Result;

/// A role that may not see how the standbys stand is told only of there being none at all.
const LOOK: &str = "DO $dual$ BEGIN
  IF current_setting('synchronous_standby_names') <> ''
    AND current_setting('synchronous_commit') <> 'local'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_replication AS r
      WHERE r.sync_state IS DISTINCT FROM 'async') THEN
    RAISE EXCEPTION 'commits wait for a synchronous standby' USING ERRCODE = 'DU008';
  END IF;
END $dual$";

/// Refuses, in the session's transaction, what is large or made once if its COMMIT would wait for a
/// standby that is gone: it would do so with all its locks, no time-out of the server's ends that, and
/// nobody could say afterwards whether it was done.
///
/// # Errors
/// Unavailable while no synchronous standby is connected and one is asked for; else as for
/// [`Session::batch`].
pub async fn is_confirmed(session: &Session, operation: &'static str) -> Result<()> {
    session.batch(operation, LOOK).await
}
