use std::fmt::Write as _;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

/// A fresh key, PKCS#8.
pub(in crate::source) fn key_der() -> Vec<u8> {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        writeln!(text, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    writeln!(text, "-----END {label}-----").unwrap();
    text
}

fn file(der: &[u8]) -> Value {
    json!({
        "type": "service_account",
        "project_id": "guests",
        "private_key_id": "0123abcd",
        "private_key": pem("PRIVATE KEY", der),
        "client_email": "reader@guests.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
    })
}

pub(in crate::source) fn account() -> ServiceAccount {
    ServiceAccount::from_text(&file(&key_der()).to_string(), "test").unwrap()
}

#[test]
fn every_damage_of_an_environment_variable_is_repaired() {
    let der = key_der();
    let file = file(&der);
    let line = file.to_string();
    let pretty = serde_json::to_string_pretty(&file).unwrap();
    let broken_lines = |text: &str| {
        let chunks = text.as_bytes().chunks(76).map(|part| std::str::from_utf8(part).unwrap());
        chunks.collect::<Vec<_>>().join("\n")
    };
    let mut spaced_key = file.clone();
    let key = spaced_key["private_key"].as_str().unwrap().replace('\n', " ");
    spaced_key["private_key"] = json!(key);
    for (damage, text) in [
        ("none", line.clone()),
        ("pretty", pretty.clone()),
        ("byte order mark and blanks", format!("\u{feff}  {pretty}\n\n")),
        ("line breaks inside the key", line.replace("\\n", "\n")),
        ("the same, from Windows", pretty.replace('\n', "\r\n").replace("\\n", "\r\n")),
        ("doubly escaped line breaks", line.replace("\\n", "\\\\n")),
        ("escaped as a text in a text", serde_json::to_string(&line).unwrap()),
        ("escaped pretty text", serde_json::to_string(&pretty).unwrap()),
        ("escaped without the outer quotes", line.replace('\\', "\\\\").replace('"', "\\\"")),
        ("single quotes around", format!("'{line}'")),
        ("spaces for line breaks in the key", spaced_key.to_string()),
        ("base64", STANDARD.encode(&pretty)),
        ("base64 unpadded", STANDARD_NO_PAD.encode(format!("{pretty} "))),
        ("base64url", URL_SAFE.encode(format!("{pretty}\n"))),
        ("base64url unpadded", URL_SAFE_NO_PAD.encode(&pretty)),
        ("base64 in lines", broken_lines(&STANDARD.encode(&pretty))),
        ("base64 of a damaged text", STANDARD.encode(line.replace("\\n", "\n"))),
    ] {
        let account = ServiceAccount::from_text(&text, "GOOGLE_CREDENTIALS_JSON")
            .unwrap_or_else(|error| panic!("{damage}: {error}"));
        assert_eq!(account.client_email(), "reader@guests.iam.gserviceaccount.com");
        assert_eq!(account.private_key_id(), Some("0123abcd"));
        let key = AsDer::<Pkcs8V1Der<'_>>::as_der(account.key()).unwrap();
        assert_eq!(key.as_ref(), der, "{damage}");
    }
}

#[test]
fn the_older_key_form_is_taken() {
    let der = key_der();
    // PKCS#8 wraps PKCS#1 in 26 bytes for a key of this size.
    let mut file = file(&der);
    file["private_key"] = json!(pem("RSA PRIVATE KEY", &der[26..]));
    ServiceAccount::from_text(&file.to_string(), "test").unwrap();
}

#[test]
fn what_is_no_service_account_is_named() {
    let der = key_der();
    let good = file(&der);
    let without = |names: &[&str]| {
        let mut file = good.clone();
        for name in names {
            file.as_object_mut().unwrap().remove(*name);
        }
        file.to_string()
    };
    let with = |name: &str, value: Value| {
        let mut file = good.clone();
        file[name] = value;
        file.to_string()
    };
    let text = good.to_string();
    for (text, sentence) in [
        (String::new(), "it is empty"),
        (" \n".to_string(), "it is empty"),
        ("<!DOCTYPE html><html>".to_string(), "HTML"),
        (pem("PRIVATE KEY", &der), "only the private key (PEM)"),
        ("/etc/creds.json".to_string(), "path of a file"),
        ("creds.json".to_string(), "path of a file"),
        ("~/creds".to_string(), "path of a file"),
        (text[..text.len() / 2].to_string(), "damaged or cut off"),
        ("[1, 2]".to_string(), "not an object"),
        ("17".to_string(), "not an object"),
        ("hello there".to_string(), "neither JSON nor JSON in base64"),
        (json!({"installed": {"client_id": "x"}}).to_string(), "OAuth client"),
        (json!({"web": {"client_id": "x"}}).to_string(), "OAuth client"),
        (json!({"type": "authorized_user"}).to_string(), "authorized_user"),
        (json!({"type": "external_account"}).to_string(), "external_account"),
        (with("type", json!("other")), "`type` other than service_account"),
        (with("type", json!(5)), "`type` other than service_account"),
        (without(&["type"]), "has no type"),
        (without(&["client_email"]), "has no client_email"),
        (without(&["client_email", "private_key"]), "has no client_email, no private_key"),
        (without(&["token_uri"]), "has no token_uri"),
        (with("private_key", json!("")), "has no private_key"),
        (with("private_key", json!("abc")), "is not PEM"),
        (with("private_key", json!(pem("PRIVATE KEY", &der[..500]))), "no usable RSA key"),
        (with("private_key", json!(pem("ENCRYPTED PRIVATE KEY", &der))), "passphrase"),
        (with("private_key", json!(pem("PUBLIC KEY", &der))), "public key"),
        (with("private_key", json!(pem("EC PRIVATE KEY", &der))), "sort other than"),
        (with("token_uri", json!("http://example.com/token")), "plain http to example.com"),
        ("{}".to_string(), "has no type"),
    ] {
        let error = ServiceAccount::from_text(&text, "GOOGLE_CREDENTIALS_JSON").unwrap_err();
        let all = format!("{error} {:?} {error:?} {}", error.hint(), error.chain());
        assert!(error.is_configuration(), "{error}");
        assert!(error.message().contains(sentence), "{sentence}: {error}");
        assert!(error.to_string().contains("GOOGLE_CREDENTIALS_JSON"), "{error}");
        assert!(!all.contains(&STANDARD.encode(&der)[..40]), "{all}");
    }
    ServiceAccount::from_text(&without(&["private_key_id", "project_id"]), "test").unwrap();
}

#[test]
fn debug_shows_no_key() {
    let der = key_der();
    let account = ServiceAccount::from_text(&file(&der).to_string(), "test").unwrap();
    let shown = format!("{account:?}");
    assert!(shown.contains("reader@guests") && shown.len() < 200, "{shown}");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("creds.json");
    let refused = |path: &Path| {
        let error = ServiceAccount::from_file(path).unwrap_err();
        assert!(error.is_configuration() && error.message().contains(&path.display().to_string()));
        error.message().to_string()
    };
    assert!(refused(&path).contains("there is no file"));
    assert!(refused(folder.path()).contains("is a folder"));
    std::fs::write(&path, vec![b' '; 70_000]).unwrap();
    assert!(refused(&path).contains("larger than 64 KiB"));
    std::fs::write(&path, [0xff, 0xfe, b'{', 0]).unwrap();
    assert!(refused(&path).contains("not UTF-8"));
    std::fs::write(&path, "{").unwrap();
    assert!(refused(&path).contains("damaged"));
    std::fs::write(&path, file(&key_der()).to_string()).unwrap();
    assert!(ServiceAccount::from_file(&path).is_ok());
}

proptest::proptest! {
    #[test]
    fn arbitrary_texts_never_panic(text in "\\PC{0,60}") {
        let _ = ServiceAccount::from_text(&text, "test");
        let _ = ServiceAccount::from_text(&format!("{{\"{text}\": \"\\n{text}"), "test");
        let _ = private_key(&format!("-----BEGIN {text}-----{text}-----END x"));
    }
}
