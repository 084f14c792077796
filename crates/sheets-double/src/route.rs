//! From a request to an answer: which endpoint, which fault, which book, who may.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::answer::{Answer, Service};
use crate::book::Books;
use crate::clock;
use crate::drive;
use crate::faults::{Endpoint, Fault, FaultKind, Plan};
use crate::json::Node;
use crate::metadata;
use crate::query::{Query, decode};
use crate::token::{Account, Tokens};
use crate::values;

/// Requests that are kept for [`Double::requests`](crate::Double::requests).
const KEPT_REQUESTS: usize = 10_000;

/// A request as it came in. Assertions and tokens are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as sent, percent-encoded.
    pub target: String,
    /// Names in lower case and values; the value of `authorization` is the scheme alone.
    pub headers: Vec<(String, String)>,
    /// Where the request went.
    pub endpoint: Endpoint,
    /// The status answered; 0 when the connection was cut instead.
    pub status: u16,
}

/// A request whose body has been read.
#[derive(Debug)]
pub(crate) struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What is sent back, and how.
pub(crate) struct Reply {
    pub answer: Answer,
    pub fault: Option<FaultKind>,
    /// The service's clock, in milliseconds since 1970.
    pub clock: i64,
}

/// Everything that the connections share.
pub(crate) struct State {
    pub account: Account,
    books: Mutex<Books>,
    plan: Mutex<Plan>,
    tokens: Mutex<Tokens>,
    seen: Mutex<Vec<SeenRequest>>,
    /// When the double was started, as Drive prints times.
    started: String,
}

/// The path's meaning.
enum Route {
    Token,
    Spreadsheet { id: String },
    Values { id: String, range: String },
    BatchGet { id: String },
    Files,
    File { id: String },
    Faults,
    Requests,
    Nowhere,
}

impl Route {
    fn of(path: &str) -> Self {
        let parts: Option<Vec<String>> = path.split('/').skip(1).map(decode).collect();
        let Some(parts) = parts else { return Self::Nowhere };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let owned = |text: &str| text.to_owned();
        match parts.as_slice() {
            ["token"] => Self::Token,
            ["v4", "spreadsheets", id] => Self::Spreadsheet { id: owned(id) },
            ["v4", "spreadsheets", id, "values:batchGet"] => Self::BatchGet { id: owned(id) },
            ["v4", "spreadsheets", id, "values", range] => {
                Self::Values { id: owned(id), range: owned(range) }
            }
            ["drive", "v3", "files"] => Self::Files,
            ["drive", "v3", "files", id] => Self::File { id: owned(id) },
            ["double", "faults"] => Self::Faults,
            ["double", "requests"] => Self::Requests,
            _ => Self::Nowhere,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Self::Token => Endpoint::Token,
            Self::Spreadsheet { .. } => Endpoint::Metadata,
            Self::Values { .. } | Self::BatchGet { .. } => Endpoint::Values,
            Self::Files | Self::File { .. } => Endpoint::Drive,
            Self::Faults | Self::Requests | Self::Nowhere => Endpoint::Other,
        }
    }
}

/// A panic elsewhere must not take the double down with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn new(account: Account, books: Books, faults: Vec<Fault>) -> Self {
        Self {
            account,
            books: Mutex::new(books),
            plan: Mutex::new(Plan::new(faults)),
            tokens: Mutex::default(),
            seen: Mutex::default(),
            started: clock::rfc3339(clock::now_millis()),
        }
    }

    pub(crate) fn set_faults(&self, faults: Vec<Fault>) {
        *lock(&self.plan) = Plan::new(faults);
    }

    pub(crate) fn set_books(&self, books: Books) {
        *lock(&self.books) = books;
    }

    pub(crate) fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.seen).clone()
    }

    pub(crate) fn forget_requests(&self) {
        lock(&self.seen).clear();
    }

    /// Answers a request and remembers it.
    pub(crate) fn reply(&self, request: Request) -> Reply {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let route = Route::of(path);
        let endpoint = route.endpoint();
        let admin = matches!(route, Route::Faults | Route::Requests);
        let (fault, ahead) = if admin {
            (None, 0)
        } else {
            let mut plan = lock(&self.plan);
            (plan.strike(endpoint), plan.clock_ahead(endpoint))
        };
        let clock = clock::now_millis().saturating_add(ahead.saturating_mul(1_000));
        let answer = self.answer(&route, query, &request, fault, clock);
        if !admin {
            let status = if fault == Some(FaultKind::Cut) { 0 } else { answer.status };
            let mut seen = lock(&self.seen);
            if seen.len() < KEPT_REQUESTS {
                seen.push(seen_request(request, endpoint, status));
            }
        }
        Reply { answer, fault, clock }
    }

    fn answer(
        &self,
        route: &Route,
        query: &str,
        request: &Request,
        fault: Option<FaultKind>,
        clock: i64,
    ) -> Answer {
        let service = match route.endpoint() {
            Endpoint::Drive => Service::Drive,
            _ => Service::Sheets,
        };
        if let Some(answer) = fault.and_then(|fault| faulty(fault, service, route)) {
            return answer;
        }
        let Some(query) = Query::parse(query) else {
            return Answer::html(400, "Bad Request", "Your client has issued a malformed request.");
        };
        match (request.method.as_str(), route) {
            ("POST", Route::Token) => {
                let born = clock::now_millis();
                let mut tokens = lock(&self.tokens);
                self.account.exchange(&request.body, clock, born, fault, &mut tokens)
            }
            ("POST", Route::Faults) => self.take_faults(&request.body),
            ("DELETE", Route::Faults) => self.take_faults(b"[]"),
            ("GET", Route::Requests) => self.list_requests(),
            (_, Route::Nowhere | Route::Token | Route::Faults | Route::Requests) => {
                Answer::no_such_page()
            }
            ("GET", _) => {
                let read = self.read(route, &query, request, service);
                read.unwrap_or_else(|refusal| refusal)
            }
            _ => Answer::unimplemented(),
        }
    }

    fn read(
        &self,
        route: &Route,
        query: &Query,
        request: &Request,
        service: Service,
    ) -> Result<Answer, Answer> {
        let bearer = header(&request.headers, "authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .or_else(|| query.get("access_token"));
        let allowed = bearer
            .and_then(|token| lock(&self.tokens).allowed(token, clock::now_millis()))
            .ok_or_else(|| Answer::unauthenticated(service))?;
        let in_scope = match service {
            Service::Sheets => allowed.sheets,
            Service::Drive => allowed.drive,
        };
        if !in_scope {
            return Err(Answer::insufficient_scope(service));
        }
        let book = |id: &str| {
            let book = lock(&self.books).get(id).cloned();
            match (book, service) {
                (Some(book), Service::Sheets) if !book.shared => Err(Answer::not_shared()),
                (Some(book), _) if book.shared => Ok(book),
                (_, Service::Drive) => Err(Answer::file_not_found(id)),
                _ => Err(Answer::not_found()),
            }
        };
        match route {
            Route::Spreadsheet { id } => metadata::get(&*book(id)?, id, query),
            Route::Values { id, range } => values::get(&*book(id)?, range, query),
            Route::BatchGet { id } => values::batch_get(&*book(id)?, id, query),
            Route::File { id } => drive::file(&*book(id)?, id, query, &self.started),
            Route::Files => drive::list(&lock(&self.books).clone(), query, &self.started),
            Route::Token | Route::Faults | Route::Requests | Route::Nowhere => {
                Err(Answer::no_such_page())
            }
        }
    }

    /// Puts a JSON list of descriptions in place of the faults in force.
    fn take_faults(&self, body: &[u8]) -> Answer {
        let faults = serde_json::from_slice::<Vec<String>>(body)
            .map_err(|error| format!("a JSON list of fault descriptions is expected: {error}"))
            .and_then(|texts| {
                texts
                    .iter()
                    .map(|text| text.parse::<Fault>().map_err(|error| error.to_string()))
                    .collect::<Result<Vec<_>, _>>()
            });
        match faults {
            Ok(faults) => {
                self.set_faults(faults);
                Answer::ok(Node::Object(Vec::new()).to_body())
            }
            Err(message) => Answer::compact(400, &Node::object([("error", Node::text(message))])),
        }
    }

    fn list_requests(&self) -> Answer {
        let requests = self.requests().into_iter().map(|request| {
            Node::object([
                ("method", Node::text(request.method)),
                ("target", Node::text(request.target)),
                ("endpoint", Node::text(request.endpoint.to_string())),
                ("status", Node::Int(i64::from(request.status))),
                (
                    "headers",
                    Node::object(request.headers.into_iter().map(|(k, v)| (k, Node::text(v)))),
                ),
            ])
        });
        Answer::ok(Node::Array(requests.collect()).to_body())
    }
}

/// The answer that a fault gives by itself. Faults of the connection, of the clock and of
/// tokens act elsewhere.
fn faulty(fault: FaultKind, service: Service, route: &Route) -> Option<Answer> {
    match fault {
        FaultKind::RateLimit { retry_after } => Some(Answer::rate_limited(retry_after)),
        FaultKind::Unavailable => Some(Answer::unavailable()),
        FaultKind::Internal => Some(Answer::internal()),
        FaultKind::BadGateway => Some(Answer::bad_gateway()),
        FaultKind::NotFound => Some(match route {
            Route::File { id } => Answer::file_not_found(id),
            _ => Answer::not_found(),
        }),
        FaultKind::NotShared => Some(Answer::not_shared()),
        FaultKind::WrongScope => Some(Answer::insufficient_scope(service)),
        FaultKind::ApiDisabled => Some(Answer::api_disabled()),
        FaultKind::Xlsx => Some(Answer::not_a_sheet()),
        FaultKind::RejectToken => Some(Answer::unauthenticated(service)),
        FaultKind::Cut
        | FaultKind::CutBody
        | FaultKind::SlowBody { .. }
        | FaultKind::Slow { .. }
        | FaultKind::ExpiringToken { .. }
        | FaultKind::RevokedToken { .. }
        | FaultKind::WrongClock { .. }
        | FaultKind::AccountDeleted
        | FaultKind::KeyDeleted => None,
    }
}

/// The value of a header; `name` in lower case.
pub(crate) fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn seen_request(mut request: Request, endpoint: Endpoint, status: u16) -> SeenRequest {
    for (name, value) in &mut request.headers {
        if name == "authorization" {
            let scheme = value.split(' ').next().unwrap_or("").to_owned();
            *value = scheme;
        }
    }
    let target = match request.target.find("access_token=") {
        Some(_) => request.target.split('?').next().unwrap_or("").to_owned(),
        None => request.target,
    };
    SeenRequest { method: request.method, target, headers: request.headers, endpoint, status }
}
