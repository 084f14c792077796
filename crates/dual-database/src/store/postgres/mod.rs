//! PostgreSQL: settings, connection, TLS, catalog, errors.
//!
//! - [`Settings`]: what a connection URL says, checked, with its password masked;
//! - [`Session`]: one connection on which no wait is endless;
//! - [`Catalog`]: what the server has of a declared table, and what we may do with it;
//! - [`SchemaPlan`]: what is missing and what is in the way, as SQL.

mod adopt;
mod answer;
pub mod capture;
mod catalog;
mod certificate;
mod confirmed;
mod connect;
mod copy;
mod environment;
mod failure;
mod found;
mod handshake;
mod key;
mod keyword;
mod mask;
mod parameter;
mod passfile;
mod peer;
pub mod primary;
mod relations;
mod schema_name;
mod schema_plan;
mod session;
mod tls;
mod url;

pub use adopt::plan;
pub use confirmed::is_confirmed;
pub use copy::{CopyIn, CopyOut};
pub use environment::Environment;
use failure::is_unsupported;
pub use failure::{ServerError, is_retryable, sqlstate};
pub use found::{Catalog, FoundColumn, FoundTable, RelationKind, Rights, Sequence, UniqueIndex};
pub use mask::{Masked, mask};
pub(crate) use relations::{NarrowReference, narrow_references, relations};
pub use schema_name::SchemaName;
pub use schema_plan::{Obstacle, ObstacleKind, SchemaPlan};
pub(crate) use session::{Access, Parameter};
pub use session::{Call, Limits, OURS, Session, USERS};
use session::{both, every, switched};
pub use url::Settings;
