use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::super::credentials::tests::account;
use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        host: "oauth2.googleapis.com".to_string(),
        body: body.as_bytes().to_vec(),
        date: None,
        retry_after: None,
        location: None,
    }
}

fn grant(description: &str) -> String {
    json!({"error": "invalid_grant", "error_description": description}).to_string()
}

#[test]
fn the_assertion_is_signed_and_short_lived() {
    let account = account();
    let now: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
    let text = assertion(&account, now).unwrap();
    assert!(!text.contains(['=', '+', '/']));
    let parts: Vec<&str> = text.split('.').collect();
    let decoded = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(decoded(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "0123abcd"}));
    assert_eq!(
        decoded(parts[1]),
        json!({
            "iss": "reader@guests.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/spreadsheets.readonly",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": now.as_second() - 10,
            "exp": now.as_second() - 10 + 3600,
        })
    );
    let public =
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, account.key().public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
}

#[test]
fn tokens_are_renewed_before_their_end() {
    let started = Instant::now();
    let lives = |body: &str| {
        let token = token(body.as_bytes(), started).unwrap();
        assert_eq!(token.secret(), "ya29.c.secret");
        assert!(!format!("{token:?}").contains("secret"));
        token.renew_at.duration_since(started).as_secs()
    };
    let with = |expires: &str| {
        lives(&format!(r#"{{"access_token":"ya29.c.secret","expires_in":{expires}}}"#))
    };
    assert_eq!(with("3599"), 3599 - 225);
    assert_eq!(with("\"3599\""), 3599 - 225);
    assert_eq!(with("10"), 5);
    assert_eq!(with("0"), 0);
    assert_eq!(with("18446744073709551615"), 86_400 - 225);
    assert_eq!(lives(r#"{"access_token":"ya29.c.secret"}"#), 3600 - 225);
    for body in ["", "{}", "[]", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#] {
        assert!(token(body.as_bytes(), started).is_none(), "{body}");
    }
}

#[test]
fn every_refusal_has_its_sentence_and_a_way_out() {
    let account = account();
    let skew = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
    let audience = "Invalid JWT: Failed audience check. The right audience is https://oauth2.googleapis.com/token";
    for (status, body, message, hint) in [
        (
            400,
            grant("Invalid JWT Signature."),
            "does not know the key of reader@guests",
            "0123abcd",
        ),
        (400, grant(skew), "clock is wrong", "timedatectl"),
        (400, grant(audience), "another audience", "token_uri"),
        (400, grant("Invalid grant: account not found"), "does not exist any more", "share"),
        (401, json!({"error": "disabled_client"}).to_string(), "is disabled", "enable"),
        (
            400,
            json!({"error": "invalid_scope", "error_description": "x"}).to_string(),
            "does not give the scope",
            "token_uri",
        ),
        (400, grant("something new"), "(400): invalid_grant, something new", "new key"),
        (403, String::new(), "(403): no reason given", "new key"),
        (404, "<html>".to_string(), "no token service at https://oauth2", "token_uri"),
        (302, String::new(), "redirects (302)", "proxy"),
    ] {
        let refusal = refusal(&answer(status, &body), "assertion", &account, clock::now());
        let Trouble::Stop(error) = refusal else { panic!("{refusal:?}") };
        assert!(error.message().contains(message), "{message}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{hint}: {:?}", error.hint());
    }
}

#[test]
fn what_passes_is_tried_again() {
    let account = account();
    for (status, body) in [
        (502, "<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>"),
        (400, "\n <html>"),
        (200, "<html>"),
        (503, ""),
        (429, "{}"),
        (400, r#"{"error": "temporarily_unavailable"}"#),
    ] {
        let refusal = refusal(&answer(status, body), "assertion", &account, clock::now());
        assert!(matches!(refusal, Trouble::Again(_)), "{status} {body}: {refusal:?}");
    }
}

#[test]
fn a_wrong_clock_is_told_by_how_much() {
    let server: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
    for (ours, sentence) in [
        ("2026-02-03T06:18:06Z", "this machine's clock is 2 h 13 min ahead of Google's"),
        ("2026-02-03T03:55:06Z", "this machine's clock is 10 min behind Google's"),
        ("2020-02-03T04:05:06Z", "this machine's clock is 2192 d behind Google's"),
    ] {
        assert_eq!(clock_is_off(Some(server), ours.parse().unwrap()), sentence);
    }
    assert!(clock_is_off(None, server).contains("clock is wrong"));
}

#[test]
fn an_echoed_assertion_is_not_repeated() {
    let account = account();
    let text = assertion(&account, clock::now()).unwrap();
    let body = grant(&format!("bad assertion {text}"));
    let refusal = refusal(&answer(400, &body), &text, &account, clock::now());
    assert!(!format!("{refusal:?}").contains(&text[..40]));
}
