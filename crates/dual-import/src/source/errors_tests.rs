use super::*;

/// Bodies as Google answered them.
const NOT_SHARED: &str = r#"{
  "error": {
    "code": 403,
    "message": "The caller does not have permission",
    "status": "PERMISSION_DENIED"
  }
}
"#;
const NOT_FOUND: &str = r#"{"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}}"#;
const SCOPE: &str = r#"{"error": {"code": 403, "message": "Request had insufficient authentication scopes.", "status": "PERMISSION_DENIED", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "domain": "googleapis.com"}]}}"#;
const DISABLED: &str = "Google Sheets API has not been used in project 1234 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/sheets.googleapis.com/overview?project=1234 then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.";
const LINK: &str =
    "https://console.developers.google.com/apis/api/sheets.googleapis.com/overview?project=1234";

fn refused(status: u16, body: &str) -> Error {
    let answer = Answer {
        status,
        host: "sheets.googleapis.com".to_string(),
        body: body.as_bytes().to_vec(),
        date: None,
        retry_after: None,
        location: None,
    };
    let subject = Subject {
        operation: "read the tab",
        client_email: "reader@guests.iam.gserviceaccount.com",
        key: "1AbC",
        tab: Some("Гости"),
    };
    explain(&answer, &subject)
}

fn body(status: &str, message: &str) -> String {
    serde_json::json!({"error": {"code": 0, "message": message, "status": status}}).to_string()
}

#[test]
fn every_refusal_has_its_sentence_and_a_way_out() {
    let gone = "Project 1234 is not found and cannot be used for API calls. If it is recently created, enable Google Sheets API by visiting …";
    let range = "Unable to parse range: Гости!A1:K5";
    let grid = "Range (Solar!Y1) exceeds grid limits. Max rows: 981, max columns: 24";
    let office = "This operation is not supported for this document";
    use Kind::{AccessDenied, SourceUnavailable};
    for (status, body, kind, message, hint) in [
        (
            403,
            NOT_SHARED.to_string(),
            AccessDenied,
            "1AbC is not shared",
            "with reader@guests.iam.gserviceaccount.com",
        ),
        (
            404,
            NOT_FOUND.to_string(),
            SourceUnavailable,
            "no spreadsheet with the key 1AbC",
            "between /d/",
        ),
        (
            403,
            SCOPE.to_string(),
            AccessDenied,
            "lacks the scope spreadsheets.readonly",
            "token_uri",
        ),
        (
            403,
            body("PERMISSION_DENIED", "Request had insufficient authentication scopes."),
            AccessDenied,
            "lacks the scope",
            "",
        ),
        (403, body("PERMISSION_DENIED", DISABLED), AccessDenied, "is not enabled", LINK),
        (
            403,
            body("PERMISSION_DENIED", gone),
            AccessDenied,
            "project does not exist",
            "a project that exists",
        ),
        (
            403,
            body("PERMISSION_DENIED", "A policy forbids it"),
            AccessDenied,
            "A policy forbids it",
            "reader@guests",
        ),
        (
            401,
            body("UNAUTHENTICATED", "Request had invalid authentication credentials."),
            AccessDenied,
            "does not accept a token",
            "new key",
        ),
        (
            400,
            body("INVALID_ARGUMENT", range),
            SourceUnavailable,
            "no tab «Гости»",
            "renamed or deleted",
        ),
        (400, body("INVALID_ARGUMENT", grid), SourceUnavailable, "became smaller", "nobody edits"),
        (
            400,
            body("FAILED_PRECONDITION", office),
            SourceUnavailable,
            "an Office file (.xlsx)",
            "Save as Google Sheets",
        ),
        (
            400,
            body("INVALID_ARGUMENT", "Invalid value"),
            SourceUnavailable,
            "(400 INVALID_ARGUMENT): Invalid value",
            "",
        ),
        (418, body("", ""), SourceUnavailable, "(418): no reason given", ""),
        (
            404,
            "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>".to_string(),
            SourceUnavailable,
            "a web page",
            "--sheets-endpoint",
        ),
        (403, "no".to_string(), SourceUnavailable, "something that is not", "--sheets-endpoint"),
        (400, r#"{"error": "invalid"}"#.to_string(), SourceUnavailable, "no reason given", ""),
        (400, String::new(), SourceUnavailable, "something that is not", ""),
    ] {
        let error = refused(status, &body);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(message), "{message}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{hint}: {:?}", error.hint());
        assert!(!error.message().ends_with('.') || message.is_empty(), "{error}");
    }
}

#[test]
fn the_reason_decides_before_the_message() {
    let body = serde_json::json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
    "message": "a text of next year",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.Help",
         "links": [{"description": "Activation", "url": LINK}]},
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"},
    ]}});
    let error = refused(403, &body.to_string());
    assert!(error.message().contains("is not enabled"));
    assert!(error.hint().unwrap().contains(LINK));
    // A link elsewhere is not passed on as Google's.
    let elsewhere = body.to_string().replace("https://console.developers", "https://evil");
    assert!(!refused(403, &elsewhere).hint().unwrap().contains("evil"));
}

#[test]
fn a_servers_text_cannot_write_to_the_terminal() {
    let error = refused(400, &body("X", &format!("a\u{1b}[31m\nb{}", "x".repeat(5_000))));
    assert!(!error.message().contains(['\u{1b}', '\n']) && error.message().len() < 600);
}
