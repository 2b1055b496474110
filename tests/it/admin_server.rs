//! The admin server over real sockets.

use cupping::admin::{self, AdminError, Component, ReadinessReport};
use cupping::telemetry::metrics::{MetricsHandle, recorder};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn numbers() -> MetricsHandle {
    MetricsHandle::of(&recorder().expect("the buckets are valid"), None)
}

/// Status, and body, of `GET path`.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.expect("a body"))
}

#[actix_web::test]
async fn numbers_and_health_are_served_and_readiness_tells_the_reasons() {
    let reachable = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reachable);
    let readiness = move || ReadinessReport {
        components: vec![
            Component::up("index", "240 beans"),
            match seen.load(Ordering::Relaxed) {
                true => Component::up("database", "answers"),
                false => Component::down("database", "connection refused"),
            },
        ],
    };
    let admin = admin::bind(ANY_PORT.into(), numbers(), Arc::new(readiness)).expect("bound");
    let (address, handle) = (admin.address, admin.handle());
    let serving = actix_web::rt::spawn(admin.server);

    let (status, body) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("# TYPE cupping_messages_received_total counter"), "{body}");
    assert_eq!(get(address, "/livez").await.0, 200);
    let (status, body) = get(address, "/").await;
    assert!(status == 200 && body.contains("/readyz"), "{body}");
    assert_eq!(get(address, "/nothing").await.0, 404);

    let (status, body) = get(address, "/readyz").await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["status"]), (503, &"not ready".into()));
    assert_eq!(body["components"][0]["ready"], true);
    assert_eq!(body["components"][1]["name"], "database");
    assert_eq!(body["components"][1]["detail"], "connection refused");

    reachable.store(true, Ordering::Relaxed);
    let (status, body) = get(address, "/readyz").await;
    assert!(status == 200 && body.contains("\"status\":\"ready\""), "{body}");

    handle.stop(true).await;
    serving.await.expect("joined").expect("ended well");
    assert!(TcpStream::connect(address).await.is_err(), "still listening after stop");
}

#[actix_web::test]
async fn a_taken_address_is_refused_with_what_to_do() {
    let taken = std::net::TcpListener::bind(SocketAddr::from(ANY_PORT)).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let refused = admin::bind(address, numbers(), Arc::new(ReadinessReport::default));
    let AdminError::Bind { .. } = refused.as_ref().expect_err("taken") else {
        panic!("another error");
    };
    let text = refused.expect_err("taken").to_string();
    for part in [&address.to_string(), "admin.listen", "admin.enabled=false"] {
        assert!(text.contains(part), "{text}");
    }
}
