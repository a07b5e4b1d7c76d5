//! The way to the server: HTTP/2 over one TCP connection where the server offers it, HTTP/1.1 else.
//!
//! An API server allows about a hundred streams on a connection, and a watch keeps one for as long as it lives. So a connection
//! takes at most [`WATCHES_PER_CONNECTION`]; further watches open another. The first one also carries the calls, if they fit.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::ConfigExt;
use kube::client::middleware::{AuthLayer, BaseUriLayer, ExtraHeadersLayer};
use rustls::pki_types::ServerName;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};

use crate::connect::{ConnectError, ConnectOptions};
use crate::proxy;

/// Streams that an API server allows on one HTTP/2 connection (100 since the rapid-reset attacks), less a margin.
const STREAMS_PER_CONNECTION: usize = 96;
/// Watches on one connection; the rest of the streams is for calls.
const WATCHES_PER_CONNECTION: usize = 48;
/// A silent peer is pinged after this long, and given up when the answer takes as long again: gone is noticed within 20 s.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Enough for any address that answers at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How connections are made.
pub(crate) struct Tuning {
    pub(crate) user_agent: String,
    pub(crate) max_in_flight: usize,
    pub(crate) ping_after: Duration,
    /// Without TLS there is nothing to agree on HTTP/2 with; tests just know.
    pub(crate) http2_without_tls: bool,
}

impl Tuning {
    pub(crate) fn new(options: &ConnectOptions) -> Self {
        Self {
            user_agent: options.user_agent.clone(),
            max_in_flight: options.max_in_flight.max(1),
            ping_after: PING_AFTER,
            http2_without_tls: false,
        }
    }
}

/// A service that sends one request; a clone shares the connection.
pub(crate) type Sender = BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, BoxError>;

/// All connections to one server.
pub(crate) struct Transport {
    factory: Factory,
    calls: Sender,
    /// Each with a token that its watches hold a copy of.
    watches: Mutex<Vec<(Sender, Arc<()>)>>,
}

/// A place for one watch on a connection; free again when dropped.
pub(crate) struct WatchPlace {
    pub(crate) sender: Sender,
    _token: Arc<()>,
}

impl Transport {
    /// Prepares credentials and certificates. Blocks while an exec plugin runs; connects to nothing.
    pub(crate) fn new(config: &Config, tuning: Tuning) -> Result<Self, ConnectError> {
        let shared = tuning.max_in_flight + WATCHES_PER_CONNECTION <= STREAMS_PER_CONNECTION;
        let factory = Factory::new(config, tuning)?;
        let calls = factory.sender();
        let mut watches = Vec::new();
        if shared {
            watches.push((calls.clone(), Arc::new(())));
        }
        Ok(Self {
            factory,
            calls,
            watches: Mutex::new(watches),
        })
    }

    /// Sends one call.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, BoxError> {
        self.calls.clone().oneshot(request).await
    }

    /// A place on a connection that has room for a watch.
    pub(crate) fn watch_place(&self) -> WatchPlace {
        let mut connections = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let free = connections
            .iter()
            .find(|(_, token)| Arc::strong_count(token) <= WATCHES_PER_CONNECTION);
        if let Some((sender, token)) = free {
            return WatchPlace {
                sender: sender.clone(),
                _token: token.clone(),
            };
        }
        let (sender, token) = (self.factory.sender(), Arc::new(()));
        connections.push((sender.clone(), token.clone()));
        WatchPlace {
            sender,
            _token: token,
        }
    }
}

/// What every connection to this server has in common: one set of credentials, refreshed once for all.
struct Factory {
    tls: rustls::ClientConfig,
    server_name: Option<ServerName<'static>>,
    proxy: Option<Uri>,
    base: BaseUriLayer,
    auth: Option<AuthLayer>,
    headers: ExtraHeadersLayer,
    user_agent: HeaderValue,
    tuning: Tuning,
}

impl Factory {
    fn new(config: &Config, tuning: Tuning) -> Result<Self, ConnectError> {
        // Fails where the process has chosen already, and then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server_name = config
            .tls_server_name
            .as_ref()
            .map(|name| ServerName::try_from(name.clone()))
            .transpose()
            .map_err(credentials)?;
        Ok(Self {
            tls: config.rustls_client_config().map_err(credentials)?,
            server_name,
            proxy: proxy::of(
                config,
                &std::env::var("NO_PROXY")
                    .or_else(|_| std::env::var("no_proxy"))
                    .unwrap_or_default(),
            )
            .map_err(credentials)?,
            base: config.base_uri_layer(),
            auth: config.auth_layer().map_err(credentials)?,
            headers: config.extra_headers_layer().map_err(credentials)?,
            user_agent: HeaderValue::from_str(&tuning.user_agent).map_err(credentials)?,
            tuning,
        })
    }

    /// A new connection, made when the first request needs it and again whenever it is lost.
    fn sender(&self) -> Sender {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // For HTTP/1.1, which has no pings.
        tcp.set_keepalive(Some(Duration::from_secs(15)));
        tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
        tcp.set_keepalive_retries(Some(3));
        match &self.proxy {
            None => self.sender_over(tcp),
            Some(proxy) => self.sender_over(Tunnel::new(proxy.clone(), tcp)),
        }
    }

    fn sender_over<C>(&self, connector: C) -> Sender
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Send + Unpin + 'static,
        C::Future: Send + 'static,
        C::Error: Into<BoxError>,
    {
        let mut tls = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http();
        if let Some(server_name) = &self.server_name {
            tls = tls.with_server_name_resolver(FixedServerNameResolver::new(server_name.clone()));
        }
        let connector = tls.enable_all_versions().wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            // Pings find dead connections; a quiet one is no reason to shake hands again.
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(8)
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(8 << 20)
            .http2_keep_alive_interval(self.tuning.ping_after)
            .http2_keep_alive_timeout(self.tuning.ping_after)
            .http2_keep_alive_while_idle(true)
            .http2_only(self.tuning.http2_without_tls);
        let client: Client<_, Full<Bytes>> = builder.build(connector);
        let user_agent = self.user_agent.clone();
        let stack = ServiceBuilder::new()
            .layer(&self.base)
            .option_layer(self.auth.as_ref().map(ByRef))
            .layer(&self.headers)
            .map_request(move |mut request: Request<Full<Bytes>>| {
                request.headers_mut().insert(USER_AGENT, user_agent.clone());
                request
            })
            .map_err(BoxError::from)
            .service(client);
        BoxCloneSyncService::new(stack)
    }
}

/// A layer that is used by many stacks.
struct ByRef<'a, L>(&'a L);

impl<S, L: Layer<S>> Layer<S> for ByRef<'_, L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

fn credentials(source: impl Into<Box<dyn StdError + Send + Sync>>) -> ConnectError {
    ConnectError::Credentials(source.into())
}
