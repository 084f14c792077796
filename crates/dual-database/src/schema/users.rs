use super::{Column, LogicalType, Role, Table};
use crate::value::Value;

/// The built-in table: the 16 columns that the documented system has.
#[must_use]
pub fn users() -> Table {
    use LogicalType::{BigInt, Bool, Int, Text, Timestamp};
    let data = |name, kind| Column { name, kind, role: Role::Data, default: None };
    let defaulted = |name, kind, default| Column { default: Some(default), ..data(name, kind) };
    Table {
        name: "users",
        columns: vec![
            Column { role: Role::Surrogate, ..data("id", Int) },
            Column { role: Role::Key, ..data("user_id", BigInt) },
            data("username", Text),
            data("first_name", Text),
            defaulted("status", Text, Value::Text("registered".into())),
            data("phone_number", Text),
            data("real_name", Text),
            data("birth_date", Text),
            data("register_date", Timestamp),
            data("last_activity", Timestamp),
            data("redeem_date", Timestamp),
            data("source", Text),
            data("referrer_id", BigInt),
            data("brought_by_staff_id", Int),
            defaulted("profile_completed", Bool, Value::Bool(false)),
            defaulted("ai_concept", Text, Value::Text("evgenich".into())),
        ],
        key: 1,
        surrogate: 0,
        moments: vec!["register_date", "last_activity"],
        words: vec![("status", &["registered", "issued", "redeemed", "redeemed_and_left"])],
    }
}
