//! `dual user`.

use std::io::Read as _;

use dual_database::database::Written;
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{Error, Kind, Result, Store};
use futures_util::StreamExt as _;

use super::{Look, Write};
use crate::arguments::{ById, Changes, List, NewUser, User};
use crate::exit::Exit;
use crate::output::{self, UserList};
use crate::settings::Stores;

/// So many users are listed in one piece.
const PAGE: u64 = 1_000;

/// Adds, reads, changes, lists and deletes users.
///
/// # Errors
/// Those of opening and of the call; [`Kind::NotFound`] if there is no such user.
pub async fn run(stores: &Stores, json: bool, command: User) -> Result<Exit> {
    match command {
        User::Add(new) => add(stores, json, &new).await,
        User::Upsert(new) => upsert(stores, json, &new).await,
        User::Update(changes) => update(stores, json, &changes).await,
        User::Delete(user) => delete(stores, json, &user).await,
        User::Get(user) => get(stores, json, &user).await,
        User::List(list) => self::list(stores, json, list).await,
    }
}

async fn add(stores: &Stores, json: bool, new: &NewUser) -> Result<Exit> {
    let user = patch(&new.json_object)?;
    Write::with(stores, async |database| {
        let written = database.add_user(&user).await?;
        let away = output::away(database, &written, written.value().user_id).await;
        output::data(&output::user_written(&written, away, "added", json));
        Ok(exit_of(&written))
    })
    .await
}

async fn upsert(stores: &Stores, json: bool, new: &NewUser) -> Result<Exit> {
    let user = patch(&new.json_object)?;
    Write::with(stores, async |database| {
        let written = database.upsert_user(&user).await?;
        let away = output::away(database, &written, written.value().user_id).await;
        output::data(&output::user_written(&written, away, "written", json));
        Ok(exit_of(&written))
    })
    .await
}

async fn update(stores: &Stores, json: bool, changes: &Changes) -> Result<Exit> {
    let patch = patch(&changes.json_object)?;
    Write::with(stores, async |database| {
        let written = database.update_user(changes.user_id, &patch).await?;
        let away = output::away(database, &written, written.value().user_id).await;
        output::data(&output::user_written(&written, away, "updated", json));
        Ok(exit_of(&written))
    })
    .await
}

async fn delete(stores: &Stores, json: bool, user: &ById) -> Result<Exit> {
    Write::with(stores, async |database| {
        let written = database.delete_user(user.user_id).await?;
        let away = output::away(database, &written, user.user_id).await;
        output::data(&output::user_deleted(&written, away, user.user_id, json));
        Ok(exit_of(&written))
    })
    .await
}

async fn get(stores: &Stores, json: bool, user: &ById) -> Result<Exit> {
    let id = user.user_id;
    Look::with(stores, async |database| {
        let found = database.get_user(id).await?;
        let Some(user) = &found.value else {
            let message = format!("users {id} is not there, says {}", found.source);
            return Err(Error::new(Kind::NotFound, "get the user", message));
        };
        output::data(&output::user_found(user, &found, json));
        Ok(Exit::Done)
    })
    .await
}

async fn list(stores: &Stores, json: bool, list: List) -> Result<Exit> {
    let mut filter = UserFilter::new();
    if let Some(status) = list.status {
        filter = filter.equals("status", status.as_str())?;
    }
    for part in &list.contains {
        filter = filter.contains(&part.column, &part.text)?;
    }
    let limit = list.limit.unwrap_or(u64::MAX);
    Look::with(stores, async |database| {
        let mut printed = UserList::new(json);
        // A short list is of one moment; a long one comes in pages, in constant memory.
        let first = database.find_users(&filter, Some(limit.min(PAGE))).await?;
        if limit <= PAGE || (first.value.len() as u64) < PAGE {
            first.value.iter().for_each(|user| printed.add(user));
            printed.end(&first);
            return Ok(Exit::Done);
        }
        let mut users = std::pin::pin!(
            database.users(&filter).take(usize::try_from(limit).unwrap_or(usize::MAX))
        );
        while let Some(user) = users.next().await {
            match user {
                Ok(user) => printed.add(&user),
                Err(error) => return printed.fail(error),
            }
        }
        printed.end(&first);
        Ok(Exit::Done)
    })
    .await
}

/// The columns of a JSON object, or of stdin for `-`.
fn patch(given: &str) -> Result<UserPatch> {
    if given != "-" {
        return UserPatch::from_json(given);
    }
    let mut bytes = Vec::new();
    let wrong = |message: &str| Error::new(Kind::InvalidData, "read the user from stdin", message);
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|cause| wrong("stdin cannot be read").with_source(cause))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("it is not UTF-8").with_hint("save or send it as UTF-8"))?;
    UserPatch::from_json(text.trim_start_matches('\u{feff}'))
}

fn exit_of<T>(written: &Written<T>) -> Exit {
    let everywhere = written.is_in(Store::Postgres) && written.is_in(Store::Sqlite);
    if everywhere { Exit::Done } else { Exit::OneSide }
}
