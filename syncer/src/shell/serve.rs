//! `/healthz`, `/readyz` and `/metrics` over plain HTTP/1.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once: scrapers and probes, nobody else.
const CONNECTIONS: usize = 32;
/// A request has to arrive within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers for ever.
pub async fn serve(listener: TcpListener, registry: Arc<Registry>, ready: Arc<AtomicBool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: others have to go first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (registry, ready) = (Arc::clone(&registry), Arc::clone(&ready));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(
                    request.uri().path(),
                    &registry,
                    ready.load(Ordering::Relaxed),
                );
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = http1::Builder::new();
            server
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT);
            // A client that goes away in the middle is its own affair.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
            drop(place);
        });
    }
}

fn answer(path: &str, registry: &Registry, ready: bool) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain";
    let (status, kind, body) = match path {
        "/healthz" | "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if ready => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let text = "the first look at hub and member is not complete\n";
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned())
        }
        "/metrics" => {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, registry) {
                Ok(()) => (
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text,
                ),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, String::new()),
            }
        }
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "/healthz /readyz /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered() {
        let registry = Registry::default();
        let code = |path: &str, ready| answer(path, &registry, ready).status().as_u16();
        assert_eq!(
            [
                code("/healthz", false),
                code("/readyz", false),
                code("/readyz", true)
            ],
            [200, 503, 200]
        );
        assert_eq!([code("/metrics", true), code("/other", true)], [200, 404]);
    }
}
