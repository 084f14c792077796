//! `dual user`: the rows of `users`, in words of their own.

use dual_database::Result;

use super::row;
use crate::arguments::{ByKey, ColumnText, NewRow, Row, RowChanges, RowList, User};
use crate::exit::Exit;
use crate::output::Words;
use crate::settings::Stores;

/// The table.
const USERS: &str = "users";

/// Adds, reads, changes, lists and deletes users.
///
/// # Errors
/// Those of [`row::run`].
pub async fn run(stores: &Stores, json: bool, command: User) -> Result<Exit> {
    let table = || USERS.to_owned();
    let by_key = |user_id: i64| ByKey { table: table(), key: user_id.to_string() };
    let command = match command {
        User::Add(new) => Row::Add(NewRow { table: table(), json_object: new.json_object }),
        User::Upsert(new) => Row::Upsert(NewRow { table: table(), json_object: new.json_object }),
        User::Update(changes) => Row::Update(RowChanges {
            table: table(),
            key: changes.user_id.to_string(),
            json_object: changes.json_object,
        }),
        User::Delete(user) => Row::Delete(by_key(user.user_id)),
        User::Get(user) => Row::Get(by_key(user.user_id)),
        User::List(list) => Row::List(RowList {
            table: table(),
            limit: list.limit,
            equals: Vec::from_iter(
                list.status.map(|text| ColumnText { column: "status".into(), text }),
            ),
            contains: list.contains,
            order: list.order,
        }),
    };
    row::run(stores, json, Words::Users, command).await
}
