//! The token endpoint and what tokens allow.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sheets_double::{Book, Books, Double, Options};

use crate::client::{self, DRIVE, Got, READONLY};

async fn started() -> Double {
    Double::start(Books::single(Book::new("b")), Options::default()).await.unwrap()
}

fn invalid_grant(description: &str) -> String {
    format!(r#"{{"error":"invalid_grant","error_description":"{description}"}}"#)
}

const CLOCK: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a \
                     reasonable timeframe. Check your iat and exp values in the JWT claim.";

async fn exchanged(double: &Double, change: impl FnOnce(&mut Value)) -> Got {
    let credentials = client::credentials(double);
    let mut claims = client::claims(&credentials, READONLY);
    change(&mut claims);
    client::exchange(double.base_url(), &client::assertion(&credentials, &claims)).await
}

#[tokio::test]
async fn a_good_assertion_gives_a_token_that_reads() {
    let double = started().await;
    let token_uri = format!("{}/token", double.base_url());
    assert_eq!(client::credentials(&double)["token_uri"], token_uri);
    // Python sends Google's address as the audience, others send token_uri.
    let got = exchanged(&double, |claims| claims["aud"] = json!(token_uri)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.json()["token_type"], "Bearer");
    assert_eq!(got.json()["expires_in"], 3599);
    let token = got.json()["access_token"].as_str().unwrap().to_owned();
    let read = client::get(double.base_url(), "/v4/spreadsheets/x", &token).await;
    assert_eq!(read.status, 200);
}

#[tokio::test]
async fn base64_may_be_padded() {
    let double = started().await;
    let credentials = client::credentials(&double);
    let plain = client::assertion(&credentials, &client::claims(&credentials, READONLY));
    // Only the signature can be padded afterwards; header and claims are signed as sent.
    let (message, signature) = plain.rsplit_once('.').unwrap();
    let padded = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(signature).unwrap());
    assert!(padded.ends_with('='));
    let escaped = format!("{message}.{}", padded.replace('=', "%3D"));
    assert_eq!(client::exchange(double.base_url(), &escaped).await.status, 200);
}

#[tokio::test]
async fn bad_assertions_are_refused_in_googles_words() {
    let double = started().await;
    let clock = invalid_grant(CLOCK);
    let got = exchanged(&double, |claims| claims["exp"] = json!(1)).await;
    assert_eq!((got.status, got.text()), (400, clock.clone()));
    assert!(got.header("date").unwrap().ends_with(" GMT"));
    for shift in [-7_200_i64, 7_200] {
        let got = exchanged(&double, |claims| {
            for key in ["iat", "exp"] {
                claims[key] = json!(claims[key].as_i64().unwrap() + shift);
            }
        })
        .await;
        assert_eq!(got.text(), clock, "{shift}");
    }
    let got = exchanged(&double, |claims| {
        claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 60);
    })
    .await;
    assert_eq!(got.text(), clock);
    let got = exchanged(&double, |claims| claims["aud"] = json!("https://example.org")).await;
    assert!(got.text().contains("Invalid JWT: Failed audience check."), "{}", got.text());
    let got = exchanged(&double, |claims| claims["iss"] = json!("x@example.org")).await;
    assert_eq!(got.text(), invalid_grant("Invalid grant: account not found"));
    let got = exchanged(&double, |claims| claims["scope"] = json!("tea")).await;
    assert_eq!(got.json()["error"], "invalid_scope");

    let other = started().await;
    let credentials = client::credentials(&other);
    let foreign = client::assertion(&credentials, &client::claims(&credentials, READONLY));
    let got = client::exchange(double.base_url(), &foreign).await;
    assert_eq!((got.status, got.text()), (400, invalid_grant("Invalid JWT Signature.")));
    for broken in ["", "x", "a.b.c", "a.b.c.d", "%ff"] {
        let got = client::exchange(double.base_url(), broken).await;
        assert_eq!(got.status, 400, "{broken}");
        assert!(got.json()["error"].is_string());
    }
    let got = client::send(double.base_url(), "POST", "/token", &[], "grant_type=password").await;
    assert_eq!(got.unwrap().json()["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_token_allows_what_its_scope_says() {
    let double = started().await;
    let base = double.base_url();
    let (sheets, drive) = ("/v4/spreadsheets/x/values/A1", "/drive/v3/files");
    for (scope, sheets_status, drive_status) in [
        (READONLY, 200, 403),
        (DRIVE, 200, 200),
        ("https://www.googleapis.com/auth/drive.metadata.readonly", 403, 200),
        ("https://www.googleapis.com/auth/documents openid", 403, 403),
    ] {
        let token = client::sign_in(&double, scope).await;
        assert_eq!(client::get(base, sheets, &token).await.status, sheets_status, "{scope}");
        assert_eq!(client::get(base, drive, &token).await.status, drive_status, "{scope}");
    }
    let token = client::sign_in(&double, "openid").await;
    let refused = client::get(base, sheets, &token).await.json();
    assert_eq!(refused["error"]["message"], "Request had insufficient authentication scopes.");
    assert_eq!(refused["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
}

#[tokio::test]
async fn without_a_token_nothing_is_read() {
    let double = started().await;
    for headers in
        [&[][..], &[("Authorization", "Bearer made-up")], &[("Authorization", "Basic x")]]
    {
        let got = client::send(double.base_url(), "GET", "/v4/spreadsheets/x", headers, "").await;
        let got = got.unwrap();
        assert_eq!(got.status, 401);
        assert_eq!(got.json()["error"]["status"], "UNAUTHENTICATED");
        assert_eq!(
            got.header("www-authenticate"),
            Some(r#"Bearer realm="https://accounts.google.com/", error="invalid_token""#)
        );
    }
    let requests = double.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests[1].headers.contains(&("authorization".to_owned(), "Bearer".to_owned())));
    assert!(!format!("{requests:?}").contains("made-up"));
}
