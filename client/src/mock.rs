//! An API server of which a test says word for word what it answers.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::transport::Tuning;
use crate::{ConnectOptions, Connection};

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `GET /path?query`.
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) user_agent: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.line.contains(part)
    }
}

pub(crate) struct Mock {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Mock {
    /// Answers every request by `answer`, which gets its number (from 0) and the request.
    pub(crate) async fn start(
        http: Http,
        answer: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mock = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections, answer) = (
            mock.seen.clone(),
            mock.connections.clone(),
            Arc::new(answer),
        );
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (seen.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    async move {
                        let request = record(request).await;
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(request.clone());
                            seen.len() - 1
                        };
                        let answer = answer(number, &request);
                        if answer.status() == CUT {
                            return Err("cut");
                        }
                        Ok(answer)
                    }
                });
                tokio::spawn(async move {
                    let io = TokioIo::new(tcp);
                    let _ = match http {
                        Http::One => http1::Builder::new().serve_connection(io, service).await,
                        Http::Two => {
                            http2::Builder::new(TokioExecutor::new())
                                .max_concurrent_streams(100)
                                .serve_connection(io, service)
                                .await
                        }
                    };
                });
            }
        });
        mock
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn record(request: Request<Incoming>) -> Seen {
    let header = |name: &str| {
        let value = request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    Seen {
        line: format!(
            "{} {}",
            request.method(),
            request.uri().path_and_query().unwrap()
        ),
        content_type: header("content-type"),
        authorization: header("authorization"),
        user_agent: header("user-agent"),
        body: String::from_utf8(
            request
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .into(),
        )
        .unwrap(),
    }
}

/// The status of an answer that is not given: the connection is closed instead.
const CUT: u16 = 599;

pub(crate) fn cut() -> Answer {
    json(CUT, "")
}

pub(crate) fn json(code: u16, body: &str) -> Answer {
    let body = Full::new(Bytes::from(body.to_owned())).boxed();
    Response::builder().status(code).body(body).unwrap()
}

pub(crate) fn retry_after(code: u16, seconds: u64) -> Answer {
    let mut answer = json(code, "");
    answer.headers_mut().insert("retry-after", seconds.into());
    answer
}

/// What comes after the lines of a watch.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    End,
    /// Nothing any more, for ever.
    Silence,
}

/// A watch that sends these texts, each with a line end, and then that.
pub(crate) fn lines(texts: &[&str], then: Then) -> Answer {
    let frames: Vec<_> = texts
        .iter()
        .map(|text| Ok(Frame::data(Bytes::from(format!("{text}\n")))))
        .collect();
    let frames = stream::iter(frames);
    let body = match then {
        Then::End => BodyExt::boxed(StreamBody::new(frames)),
        Then::Silence => BodyExt::boxed(StreamBody::new(frames.chain(stream::pending()))),
    };
    Response::new(body)
}

/// A connection with a short deadline, over HTTP/1.1 or HTTP/2.
pub(crate) async fn connect(url: &str, http: Http) -> Connection {
    connect_as(Config::new(url.parse().unwrap()), http, 40).await
}

pub(crate) async fn connect_as(config: Config, http: Http, max_in_flight: usize) -> Connection {
    let options = ConnectOptions {
        deadline: Duration::from_secs(3),
        max_in_flight,
        ..ConnectOptions::default()
    };
    let tuning = Tuning {
        ping_after: Duration::from_millis(300),
        http2_without_tls: http == Http::Two,
        ..Tuning::new(&options)
    };
    Connection::tuned(config, options, tuning).await.unwrap()
}

/// A way to a server that can go silent without closing, as a dead middlebox does.
pub(crate) struct Wire {
    pub(crate) url: String,
    frozen: watch::Sender<bool>,
    asked: Arc<Mutex<String>>,
}

impl Wire {
    pub(crate) async fn to(url: &str) -> Self {
        Self::start(url, false).await
    }

    /// The same, but it wants to be asked for a tunnel first.
    pub(crate) async fn proxy_to(url: &str) -> Self {
        Self::start(url, true).await
    }

    /// What a proxy was asked for.
    pub(crate) fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }

    async fn start(url: &str, proxy: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = url.trim_start_matches("http://").to_owned();
        let wire = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            frozen: watch::Sender::new(false),
            asked: Arc::default(),
        };
        let (frozen, asked) = (wire.frozen.clone(), wire.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut frozen, asked) =
                    (server.clone(), frozen.subscribe(), asked.clone());
                // A connection of later is a new way around the dead one.
                frozen.mark_unchanged();
                tokio::spawn(async move {
                    if proxy {
                        let mut request = Vec::new();
                        while !request.ends_with(b"\r\n\r\n") {
                            request.push(near.read_u8().await.unwrap());
                        }
                        *asked.lock().unwrap() = String::from_utf8(request).unwrap();
                        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    }
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = frozen.changed() => std::future::pending().await,
                    }
                });
            }
        });
        wire
    }

    /// Makes all connections of now go silent for ever.
    pub(crate) fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}
