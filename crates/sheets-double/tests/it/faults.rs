//! Faults on demand.

use std::time::{Duration, Instant};

use serde_json::Value;
use sheets_double::{Books, Double, Endpoint, Fault, FaultKind, Options};

use crate::client::{self, READONLY};

const BOOK: &str = r#"{"title": "b", "sheets": [{"title": "Sheet1", "cells": [["a", 1]]}]}"#;
const VALUES: &str = "/v4/spreadsheets/x/values/Sheet1";
const METADATA: &str = "/v4/spreadsheets/x?includeGridData=false";

async fn started() -> (Double, String) {
    let books = Books::from_json(BOOK).unwrap();
    let double = Double::start(books, Options::default()).await.unwrap();
    let token = client::sign_in(&double, READONLY).await;
    (double, token)
}

fn faults(texts: &[&str]) -> Vec<Fault> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn answers_of_the_api() {
    let (double, token) = started().await;
    for (fault, status, state, message) in [
        ("429", 429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Read requests'"),
        ("503", 503, "UNAVAILABLE", "The service is currently unavailable."),
        ("500", 500, "INTERNAL", "Internal error encountered."),
        ("401", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        ("404", 404, "NOT_FOUND", "Requested entity was not found."),
        ("not-shared", 403, "PERMISSION_DENIED", "The caller does not have permission"),
        ("wrong-scope", 403, "PERMISSION_DENIED", "Request had insufficient authentication"),
        ("api-disabled", 403, "PERMISSION_DENIED", "Google Sheets API has not been used in"),
        ("xlsx", 400, "FAILED_PRECONDITION", "This operation is not supported for this document"),
    ] {
        double.set_faults(faults(&[&format!("{fault},times=1")]));
        for target in [VALUES, METADATA] {
            let got = client::get(double.base_url(), target, &token).await;
            if target == METADATA {
                // Once is once, wherever it was.
                assert_eq!(got.status, 200, "{fault}");
                continue;
            }
            assert_eq!(got.status, status, "{fault}");
            let error = &got.json()["error"];
            assert_eq!(error["code"], status);
            assert_eq!(error["status"], state);
            assert!(error["message"].as_str().unwrap().starts_with(message), "{error}");
            assert_eq!(got.header("retry-after"), None);
        }
    }
    double.set_faults(faults(&["429=7"]));
    let got = client::get(double.base_url(), VALUES, &token).await;
    assert_eq!(got.header("retry-after"), Some("7"));
    double.set_faults(faults(&["api-disabled"]));
    let details = client::get(double.base_url(), VALUES, &token).await.json();
    assert_eq!(details["error"]["details"][1]["reason"], "SERVICE_DISABLED");
}

#[tokio::test]
async fn a_page_of_html_also_from_the_token_endpoint() {
    let (double, token) = started().await;
    double.set_faults(faults(&["502", "502,on=token"]));
    let got = client::get(double.base_url(), METADATA, &token).await;
    assert_eq!((got.status, got.header("content-type")), (502, Some("text/html; charset=UTF-8")));
    assert!(got.text().contains("Error 502 (Server Error)!!1"));
    assert_eq!(client::exchange(double.base_url(), "x").await.status, 502);
}

#[tokio::test]
async fn connections_are_cut() {
    let (double, token) = started().await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    double.set_faults(faults(&["cut,times=1,on=values", "cut-body,times=1,on=values"]));
    let base = double.base_url();
    assert!(client::send(base, "GET", VALUES, &headers, "").await.is_none());
    let half = client::send(base, "GET", VALUES, &headers, "").await.unwrap();
    let whole = client::send(base, "GET", VALUES, &headers, "").await.unwrap();
    assert_eq!((half.status, half.whole), (200, false));
    assert!(whole.whole);
    assert_eq!(half.body, whole.body[..whole.body.len().div_ceil(2)]);
    let statuses: Vec<u16> = double.requests().iter().skip(1).map(|seen| seen.status).collect();
    assert_eq!(statuses, [0, 200, 200]);
}

#[tokio::test]
async fn bodies_dawdle() {
    let (double, token) = started().await;
    for (fault, least) in [("slow-body=20", 200), ("slow=150", 150)] {
        double.set_faults(faults(&[fault]));
        let start = Instant::now();
        let got = client::get(double.base_url(), VALUES, &token).await;
        assert!(start.elapsed() >= Duration::from_millis(least), "{fault}");
        assert!(got.whole && got.status == 200);
    }
}

#[tokio::test]
async fn tokens_die() {
    let (double, _) = started().await;
    double.set_faults(faults(&["revoked-token=0,times=1"]));
    let dead = client::sign_in(&double, READONLY).await;
    assert_eq!(client::get(double.base_url(), VALUES, &dead).await.status, 401);
    let alive = client::sign_in(&double, READONLY).await;
    assert_eq!(client::get(double.base_url(), VALUES, &alive).await.status, 200);
    double.set_faults(vec![Fault::new(FaultKind::ExpiringToken { seconds: 1 })]);
    let credentials = client::credentials(&double);
    let assertion = client::assertion(&credentials, &client::claims(&credentials, READONLY));
    let got = client::exchange(double.base_url(), &assertion).await.json();
    assert_eq!(got["expires_in"], 1);
    let token = got["access_token"].as_str().unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(client::get(double.base_url(), VALUES, token).await.status, 401);
}

#[tokio::test]
async fn the_account_the_key_and_the_clock() {
    let (double, token) = started().await;
    for (fault, text) in [
        ("account-deleted", "Invalid grant: account not found"),
        ("key-deleted", "Invalid JWT Signature."),
        ("wrong-clock=7200", "reasonable timeframe"),
        ("wrong-clock=-7200", "reasonable timeframe"),
    ] {
        double.set_faults(faults(&[fault]));
        let credentials = client::credentials(&double);
        let assertion = client::assertion(&credentials, &client::claims(&credentials, READONLY));
        let got = client::exchange(double.base_url(), &assertion).await;
        assert_eq!(got.status, 400, "{fault}");
        assert_eq!(got.json()["error"], "invalid_grant");
        assert!(got.json()["error_description"].as_str().unwrap().contains(text), "{fault}");
    }
    // The service that is two hours behind says so in its Date header.
    let behind = client::get(double.base_url(), VALUES, &token).await;
    double.set_faults(Vec::new());
    let right = client::get(double.base_url(), VALUES, &token).await;
    assert_ne!(hour(behind.header("date").unwrap()), hour(right.header("date").unwrap()));
    assert_eq!(behind.status, 200);
}

fn hour(date: &str) -> &str {
    &date[17..19]
}

#[tokio::test]
async fn faults_are_set_over_http_and_requests_are_seen() {
    let (double, token) = started().await;
    let base = double.base_url();
    let set = async |body: &str| client::send(base, "POST", "/double/faults", &[], body).await;
    assert_eq!(set(r#"["503,times=1"]"#).await.unwrap().status, 200);
    assert_eq!(client::get(base, VALUES, &token).await.status, 503);
    assert_eq!(client::get(base, VALUES, &token).await.status, 200);
    let refused = set(r#"["tea"]"#).await.unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"], "fault `tea`: no fault is called `tea`");
    let seen = client::send(base, "GET", "/double/requests", &[], "").await.unwrap().json();
    let seen: Vec<(&Value, &Value)> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|request| (&request["endpoint"], &request["status"]))
        .collect();
    assert_eq!(
        serde_json::to_string(&seen).unwrap(),
        r#"[["token",200],["values",503],["values",200]]"#
    );
    assert_eq!(double.count(Endpoint::Values), 2);
    double.forget_requests();
    assert!(double.requests().is_empty());
}

#[tokio::test]
async fn a_dropped_double_is_gone() {
    let (double, _) = started().await;
    let address = double.base_url().strip_prefix("http://").unwrap().to_owned();
    drop(double);
    let deadline = Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        assert!(Instant::now() < deadline, "still listening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
