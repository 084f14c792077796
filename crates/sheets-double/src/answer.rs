//! Answers: Google's bodies and headers, the errors among them.

use crate::json::Node;

/// The number of the project that the service account belongs to.
pub(crate) const PROJECT_NUMBER: &str = "1071851248496";
const JSON: &str = "application/json; charset=UTF-8";

/// A status, headers and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

/// Which service an error comes from: Drive adds `errors[]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Sheets,
    Drive,
}

impl Answer {
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        Self { status: 200, content_type: JSON, headers: Vec::new(), body }
    }

    pub(crate) fn compact(status: u16, body: &Node) -> Self {
        let content_type = "application/json; charset=utf-8";
        Self { status, content_type, headers: Vec::new(), body: body.to_compact().into_bytes() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// `{"error": {"code", "message", "status"[, "details"]}}` [R 40, 42, 47].
    fn error(code: u16, status: &'static str, message: &str, details: Vec<Node>) -> Self {
        let mut members = vec![
            ("code", Node::Int(i64::from(code))),
            ("message", Node::text(message.to_owned())),
            ("status", Node::text(status)),
        ];
        if !details.is_empty() {
            members.push(("details", Node::Array(details)));
        }
        let body = Node::object([("error", Node::object(members))]).to_body();
        Self { status: code, content_type: JSON, headers: Vec::new(), body }
    }

    /// Drive's form: `errors[]` between message and status [R 45, 48].
    fn drive_error(code: u16, status: Option<&'static str>, message: &str, error: Node) -> Self {
        let mut members = vec![
            ("code", Node::Int(i64::from(code))),
            ("message", Node::text(message.to_owned())),
            ("errors", Node::Array(vec![error])),
        ];
        members.extend(status.map(|status| ("status", Node::text(status))));
        let body = Node::object([("error", Node::object(members))]).to_body();
        Self { status: code, content_type: JSON, headers: Vec::new(), body }
    }

    /// [R 40]
    pub(crate) fn not_found() -> Self {
        Self::error(404, "NOT_FOUND", "Requested entity was not found.", Vec::new())
    }

    /// [R 48]
    pub(crate) fn file_not_found(id: &str) -> Self {
        let message = format!("File not found: {id}.");
        let error = Node::object([
            ("message", Node::text(message.clone())),
            ("domain", Node::text("global")),
            ("reason", Node::text("notFound")),
            ("location", Node::text("fileId")),
            ("locationType", Node::text("parameter")),
        ]);
        Self::drive_error(404, None, &message, error)
    }

    /// [R 41]
    pub(crate) fn not_shared() -> Self {
        let message = "The caller does not have permission";
        Self::error(403, "PERMISSION_DENIED", message, Vec::new())
    }

    /// The message is in googleworkspace/java-samples#110, the header's form in
    /// a-marenkov/gsheets#40.
    pub(crate) fn insufficient_scope(service: Service) -> Self {
        let message = "Request had insufficient authentication scopes.";
        let challenge = "Bearer realm=\"https://accounts.google.com/\", \
                         error=\"insufficient_scope\", \
                         scope=\"https://www.googleapis.com/auth/drive \
                         https://www.googleapis.com/auth/drive.readonly \
                         https://www.googleapis.com/auth/drive.file \
                         https://www.googleapis.com/auth/spreadsheets \
                         https://www.googleapis.com/auth/spreadsheets.readonly\"";
        let answer = match service {
            Service::Sheets => {
                let details = error_info(
                    "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                    [
                        ("method", "google.apps.sheets.v4.SpreadsheetsService.GetSpreadsheet"),
                        ("service", "sheets.googleapis.com"),
                    ],
                );
                Self::error(403, "PERMISSION_DENIED", message, vec![details])
            }
            Service::Drive => {
                let error = Node::object([
                    ("message", Node::text("Insufficient Permission")),
                    ("domain", Node::text("global")),
                    ("reason", Node::text("insufficientPermissions")),
                ]);
                Self::drive_error(403, Some("PERMISSION_DENIED"), message, error)
            }
        };
        answer.with("WWW-Authenticate", challenge)
    }

    /// Message and details as in home-assistant/core#79744 and burnash/gspread#1286.
    pub(crate) fn api_disabled() -> Self {
        let address = format!(
            "https://console.developers.google.com/apis/api/sheets.googleapis.com/overview?project={PROJECT_NUMBER}"
        );
        let message = format!(
            "Google Sheets API has not been used in project {PROJECT_NUMBER} before or it is \
             disabled. Enable it by visiting {address} then retry. If you enabled this API \
             recently, wait a few minutes for the action to propagate to our systems and retry."
        );
        let help = Node::object([
            ("@type", Node::text("type.googleapis.com/google.rpc.Help")),
            (
                "links",
                Node::Array(vec![Node::object([
                    ("description", Node::text("Google developers console API activation")),
                    ("url", Node::text(address)),
                ])]),
            ),
        ]);
        let consumer = format!("projects/{PROJECT_NUMBER}");
        let info = error_info(
            "SERVICE_DISABLED",
            [("service", "sheets.googleapis.com"), ("consumer", &consumer)],
        );
        Self::error(403, "PERMISSION_DENIED", &message, vec![help, info])
    }

    /// [R 45] for Drive; the Sheets form has no `errors[]`.
    pub(crate) fn unauthenticated(service: Service) -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access \
                       token, login cookie or other valid authentication credential. See \
                       https://developers.google.com/identity/sign-in/web/devconsole-project.";
        let answer = match service {
            Service::Sheets => Self::error(401, "UNAUTHENTICATED", message, Vec::new()),
            Service::Drive => {
                let error = Node::object([
                    ("message", Node::text("Invalid Credentials")),
                    ("domain", Node::text("global")),
                    ("reason", Node::text("authError")),
                    ("location", Node::text("Authorization")),
                    ("locationType", Node::text("header")),
                ]);
                Self::drive_error(401, Some("UNAUTHENTICATED"), message, error)
            }
        };
        let challenge = "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"";
        answer.with("WWW-Authenticate", challenge)
    }

    /// [R 42], which came without Retry-After.
    pub(crate) fn rate_limited(retry_after: Option<u64>) -> Self {
        let message = format!(
            "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute \
             per user' of service 'sheets.googleapis.com' for consumer \
             'project_number:{PROJECT_NUMBER}'."
        );
        let consumer = format!("projects/{PROJECT_NUMBER}");
        let details = error_info(
            "RATE_LIMIT_EXCEEDED",
            [
                ("consumer", consumer.as_str()),
                ("quota_limit", "ReadRequestsPerMinutePerUser"),
                ("quota_metric", "sheets.googleapis.com/read_requests"),
                ("service", "sheets.googleapis.com"),
            ],
        );
        let answer = Self::error(429, "RESOURCE_EXHAUSTED", &message, vec![details]);
        match retry_after {
            Some(seconds) => answer.with("Retry-After", seconds.to_string()),
            None => answer,
        }
    }

    /// burnash/gspread#724
    pub(crate) fn unavailable() -> Self {
        Self::error(503, "UNAVAILABLE", "The service is currently unavailable.", Vec::new())
    }

    /// burnash/gspread#1341
    pub(crate) fn internal() -> Self {
        Self::error(500, "INTERNAL", "Internal error encountered.", Vec::new())
    }

    /// burnash/gspread#732
    pub(crate) fn not_a_sheet() -> Self {
        let message = "This operation is not supported for this document";
        Self::error(400, "FAILED_PRECONDITION", message, Vec::new())
    }

    /// A request that the double does not serve, as it only reads.
    pub(crate) fn unimplemented() -> Self {
        let message = "The sheets double answers reads only.";
        Self::error(501, "UNIMPLEMENTED", message, Vec::new())
    }

    /// A range that cannot be served: no details.
    pub(crate) fn bad_range(message: &str) -> Self {
        Self::error(400, "INVALID_ARGUMENT", message, Vec::new())
    }

    /// An option whose value does not bind, in the form of R 46. `kind` is the type's name.
    pub(crate) fn bad_option(field: &str, kind: &str, value: &str) -> Self {
        let message = format!("Invalid value at '{field}' ({kind}), \"{value}\"");
        Self::bad_request(&message, Some(field))
    }

    /// An option that the method does not have [K].
    pub(crate) fn unknown_option(name: &str) -> Self {
        let message = format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query \
             parameter. Field '{name}' could not be found in request message."
        );
        Self::bad_request(&message, None)
    }

    /// A member of a field mask that does not exist [K].
    pub(crate) fn unknown_field(path: &str) -> Self {
        let description = format!(
            "Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'."
        );
        let details = violations(&description, Some(path));
        let message = "Request contains an invalid argument.";
        Self::error(400, "INVALID_ARGUMENT", message, vec![details])
    }

    fn bad_request(message: &str, field: Option<&str>) -> Self {
        Self::error(400, "INVALID_ARGUMENT", message, vec![violations(message, field)])
    }

    /// Front ends answer in HTML (burnash/gspread#1564 for the token endpoint).
    pub(crate) fn html(status: u16, reason: &str, sentence: &str) -> Self {
        let body = format!(
            "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  \
             <title>Error {status} ({reason})!!1</title>\n  \
             <p><b>{status}.</b> <ins>That’s an error.</ins>\n  \
             <p>{sentence}  <ins>That’s all we know.</ins>\n"
        );
        let content_type = "text/html; charset=UTF-8";
        Self { status, content_type, headers: Vec::new(), body: body.into_bytes() }
    }

    pub(crate) fn no_such_page() -> Self {
        let sentence = "The requested URL was not found on this server.";
        Self::html(404, "Not Found", sentence)
    }

    pub(crate) fn bad_gateway() -> Self {
        let sentence = "The server encountered a temporary error and could not complete your \
                        request.<p>Please try again in 30 seconds.";
        Self::html(502, "Server Error", sentence)
    }
}

fn error_info<const N: usize>(reason: &'static str, metadata: [(&'static str, &str); N]) -> Node {
    let metadata = metadata.map(|(key, value)| (key, Node::text(value.to_owned())));
    Node::object([
        ("@type", Node::text("type.googleapis.com/google.rpc.ErrorInfo")),
        ("reason", Node::text(reason)),
        ("domain", Node::text("googleapis.com")),
        ("metadata", Node::object(metadata)),
    ])
}

fn violations(description: &str, field: Option<&str>) -> Node {
    let field = field.map(|field| ("field", Node::text(field.to_owned())));
    let description = ("description", Node::text(description.to_owned()));
    let violation = Node::object(field.into_iter().chain([description]));
    Node::object([
        ("@type", Node::text("type.googleapis.com/google.rpc.BadRequest")),
        ("fieldViolations", Node::Array(vec![violation])),
    ])
}
