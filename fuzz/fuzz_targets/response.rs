//! What comes from outside as text: answers of the API, key files, addresses, URLs of
//! databases. No panic, and a password never comes back out.
#![no_main]

use arbitrary::{Result, Unstructured};
use dual_import::source::{Cell, Endpoint, ServiceAccount, SpreadsheetKey};
use dual_database::store::postgres::{Settings, mask};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

/// No part of it occurs in a sentence of ours.
const SECRET: &str = "qZ7xW0jK";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    values: Vec<Vec<Cell>>,
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(answer) = serde_json::from_slice::<Answer>(bytes) {
        for cell in answer.values.iter().flatten() {
            assert_ne!(*cell, Cell::Text(String::new()));
            let _ = cell.raw();
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Settings::parse(text);
        let _ = ServiceAccount::from_text(text, "fuzz");
        let _ = Endpoint::parse(text, "fuzz");
        let _ = SpreadsheetKey::parse(text);
        let _ = mask(text);
    }
    let mut bytes = Unstructured::new(bytes);
    let _ = keeps_the_password(&mut bytes);
});

fn keeps_the_password(bytes: &mut Unstructured<'_>) -> Result<()> {
    let around = |part: &str| part.chars().filter(|c| !c.is_control()).collect::<String>();
    let (before, after) = (around(bytes.arbitrary()?), around(bytes.arbitrary()?));
    let password = format!("{before}{SECRET}{after}");
    let user = around(bytes.arbitrary()?).replace(':', "");
    // `?user=…` inside of it makes it another URL, whose parameter may hold anything.
    if [&user, &before].iter().any(|part| part.contains('=')) {
        return Ok(());
    }
    let host = around(bytes.arbitrary()?);
    let rest = around(bytes.arbitrary()?);
    let scheme = bytes.choose(&["postgresql", "postgres", "POSTGRES", "mysql", "sqlite", "x"])?;
    let text = match bytes.int_in_range(0..=4_u8)? {
        0 => format!("{scheme}://{user}:{password}@{host}/{rest}"),
        1 => format!("{scheme}://{user}:{password}@{host}?{rest}"),
        2 => format!("{scheme}://:{password}@{host},{rest}"),
        3 => format!("{scheme}://{host}/db?user=u&password={SECRET}&{rest}"),
        _ => {
            let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
            format!("host=db password = '{quoted}' user=u")
        }
    };
    let shown = match Settings::parse(&text) {
        Ok(settings) => format!("{settings} {settings:?}"),
        Err(error) => format!("{error} {error:?} {} {:?}", error.chain(), error.hint()),
    };
    assert!(!shown.contains(SECRET), "{text:?} is told as {shown:?}");
    let masked = mask(&text);
    assert!(!masked.contains(SECRET), "{text:?} is masked as {masked:?}");
    let key_file = serde_json::json!({
        "type": "service_account",
        "client_email": user,
        "token_uri": "https://oauth2.googleapis.com/token",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{password}\n-----END PRIVATE KEY-----\n"),
    });
    if let Err(error) = ServiceAccount::from_text(&key_file.to_string(), "fuzz") {
        let shown = format!("{error} {error:?} {} {:?}", error.chain(), error.hint());
        assert!(!shown.contains(SECRET), "a key is told as {shown:?}");
    }
    Ok(())
}
