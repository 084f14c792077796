use super::{Column, LogicalType, Role, Table};

/// The table that is known without a declaration, because its programs are older than any: nobody can declare its
/// columns otherwise, a store of before has no other, and it is made where nothing else is chosen. The rooms that
/// keep tables know of it by this alone.
pub(crate) fn built_in() -> Table {
    users()
}

/// The built-in table: the 16 columns that the documented system has.
#[must_use]
pub fn users() -> Table {
    use LogicalType::{BigInt, Bool, Int, Text, Timestamp};
    let data = |name, kind| Column::new(name, kind, Role::Data);
    let words = ["registered", "issued", "redeemed", "redeemed_and_left"];
    Table {
        name: "users".into(),
        label: "users".into(),
        schema: None,
        columns: vec![
            Column::new("id", Int, Role::Surrogate),
            Column::new("user_id", BigInt, Role::Key),
            data("username", Text),
            data("first_name", Text),
            data("status", Text).with_default("registered"),
            data("phone_number", Text),
            data("real_name", Text),
            data("birth_date", Text),
            // The bot's own name of it.
            Column { formerly: Some("signup_date".into()), ..data("register_date", Timestamp) },
            data("last_activity", Timestamp),
            data("redeem_date", Timestamp),
            data("source", Text),
            data("referrer_id", BigInt),
            data("brought_by_staff_id", Int),
            data("profile_completed", Bool).with_default(false),
            data("ai_concept", Text).with_default("evgenich"),
        ],
        key: 1,
        moments: vec!["register_date".into(), "last_activity".into()],
        words: vec![("status".into(), words.map(Into::into).into())],
        newest_by: Some("register_date".into()),
        revision: 0,
        dropped: Vec::new(),
        left_out: Vec::new(),
        widening: Vec::new(),
    }
}
