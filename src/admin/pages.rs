//! What each address answers.
//!
//! Decides: status, type and body of the answers. Never does: compute what it shows.

use super::Readiness;
use crate::telemetry::metrics::MetricsHandle;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, web};

const INDEX: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>cupping</title>\
<h1>cupping</h1><ul>\
<li><a href=/metrics>/metrics</a>: numbers, in Prometheus' text format\
<li><a href=/livez>/livez</a>: 200 while the process answers\
<li><a href=/readyz>/readyz</a>: 200 when ready to work, 503 with the reasons when not\
</ul>\n";

/// `/`: what there is.
pub(super) async fn index() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::html()).body(INDEX)
}

/// `/metrics`.
pub(super) async fn metrics(metrics: web::Data<MetricsHandle>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(metrics.render())
}

/// `/livez`: the process answers, and that is all.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "alive" }))
}

/// `/readyz`: every component with its state.
pub(super) async fn ready(readiness: web::Data<dyn Readiness>) -> HttpResponse {
    let report = readiness.report();
    let (mut response, status) = if report.ready() {
        (HttpResponse::Ok(), "ready")
    } else {
        (HttpResponse::ServiceUnavailable(), "not ready")
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(serde_json::json!({ "status": status, "components": report.components }))
}

/// Anything else.
pub(super) async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().json(serde_json::json!({
        "status": "not found",
        "try": ["/", "/metrics", "/livez", "/readyz"],
    }))
}
