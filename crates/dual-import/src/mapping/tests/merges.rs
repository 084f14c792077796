//! Duplicates, and what a new row gets.

use super::*;
use crate::columns::position;

fn rows(lines: &[&str]) -> Vec<SheetRecord> {
    let (outcomes, _) = read_by(&mapping(), lines);
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            RowOutcome::Record { record, .. } => record,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn j_a_stale_row_never_wins() {
    let stale = "2025-08-07 12:34:56|#n5|Анна|anna|registered|qr";
    let fresh =
        "2025-08-08 12:34:56|#n5|Аня|N/A|+79991234567|||Купон погашен|||2025-09-01 10:00:00";
    let mapping = mapping();
    for lines in [[stale, fresh], [fresh, stale]] {
        let mut both = rows(&lines);
        let later = both.pop().unwrap();
        let mut merged = both.pop().unwrap();
        let merge = merge(&mapping, &mut merged, later);
        let told = told(&merged);
        assert_eq!((merge.earlier, merge.later, merged.row), (1, 2, 2));
        for expected in [
            "username=anna",
            "status=redeemed|",
            "register_date=2025-08-07 12:34:56",
            "redeem_date=2025-09-01 10:00:00",
            "phone_number=+79991234567",
            "source=qr",
            if lines[0] == stale { "first_name=Аня" } else { "first_name=Анна" },
        ] {
            assert!(told.contains(expected), "{expected} in {told}");
        }
        let users = users();
        let mut columns: Vec<&str> =
            merge.columns.iter().map(|merged| &*users.columns()[merged.column].name).collect();
        columns.sort_unstable();
        assert_eq!(columns, ["first_name", "register_date", "status"]);
    }
}

#[test]
fn a_new_rows_last_activity_is_its_register_date() {
    let mut new = rows(&["2025-08-07 12:34:56|#n5|Анна|anna|issued"]).remove(0);
    mapping().complete_new(&mut new.values);
    let users = users();
    let at = |name| position(&users, name).unwrap();
    let date = Some(Value::Timestamp(instant("2025-08-07 12:34:56")));
    assert_eq!(new.values[at("last_activity")], date);
    assert_eq!(mapping().fallbacks(), [(at("last_activity"), at("register_date"))]);
    let known = Some(Value::Timestamp(instant("2025-08-09 00:00:00")));
    new.values[at("last_activity")] = known.clone();
    mapping().complete_new(&mut new.values);
    assert_eq!(new.values[at("last_activity")], known);
}
