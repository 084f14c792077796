//! A database that is prepared as the product does it.

use std::sync::Arc;
use std::time::Duration;

use dual_database::schema::{Column, LogicalType, Role, Table, users};
use dual_database::store::postgres::primary::{Pool, Pooled, RemoteTable};
use dual_database::store::postgres::{Limits, Settings};
use throwaway_postgres::{Database, Server};
use uuid::Uuid;

pub const FILE: Uuid = Uuid::from_u128(7);

/// As the calls have them.
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        statement: Duration::from_secs(10),
        lock: Duration::from_secs(5),
        grace: Duration::from_millis(500),
    }
}

pub struct Scene<'server> {
    pub database: Database<'server>,
    pub pool: Pool,
    pub tables: Arc<[RemoteTable]>,
}

impl Scene<'_> {
    /// A new database on the server with these tables.
    pub async fn on(server: &'static Server, tables: Vec<Table>) -> Scene<'static> {
        let database = server.database("primary").unwrap();
        let pool = pool(&database.url(), tables);
        let tables = pool.prepare().await.unwrap().tables;
        Scene { database, pool, tables }
    }

    pub async fn session(&self) -> Pooled {
        self.pool.get().await.unwrap()
    }

    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.execute(sql).unwrap()
    }

    /// The only value of the only row.
    pub fn one(&self, sql: &str) -> String {
        self.sql(sql)[0][0].clone().unwrap_or_default()
    }
}

pub fn pool(url: &str, tables: Vec<Table>) -> Pool {
    Pool::new(Settings::parse(url).unwrap(), limits(), tables.into(), 4)
}

/// The built-in table, and one that names things as the generated SQL does.
pub fn tables() -> Vec<Table> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let awkward = Table::declare(
        "it's \"awkward\" {k}{t} $dual$",
        vec![
            column("own", LogicalType::BigInt, Role::Key),
            column("id", LogicalType::Int, Role::Surrogate),
            column("moment", LogicalType::Text, Role::Data),
            column("proposal", LogicalType::Timestamp, Role::Data),
            column("it's \"so\" $dual$", LogicalType::Int, Role::Data),
        ],
    );
    vec![users(), awkward.unwrap()]
}
