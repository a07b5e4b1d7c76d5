//! A connection to one API server and the calls on it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use placement_api::api_type::{ApiType, ObjectKey};
use placement_api::raw::RawObject;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Call, JSON, execute};
use crate::connect::ConnectOptions;
use crate::delete::{DeleteOptions, DeletePreconditions, Deleted, Propagation};
use crate::error::{ApiError, Class};
use crate::metrics::Metrics;
use crate::path::{self, Query};
use crate::places::{Place, Places};
use crate::transport::Transport;

/// Objects in one page of a list: large enough to be quick, small enough for an answer within the deadline.
pub(crate) const PAGE: &str = "500";

/// A connection to one API server. Clones are cheap and share everything but [`deadline`](Self::with_deadline)
/// and [`urgent`](Self::urgent).
///
/// Reads are tried again on transient errors while the deadline lasts. Writes are sent once: after an error whose
/// [`outcome_unknown`](ApiError::outcome_unknown) says so, the caller reads before it writes again.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    deadline: Duration,
    urgent: bool,
}

struct Shared {
    transport: Transport,
    server: String,
    places: Places,
    metrics: Metrics,
    /// Until the server refuses them: see `watch`.
    streaming_lists: AtomicBool,
}

impl Connection {
    pub(crate) fn over(transport: Transport, server: String, options: &ConnectOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                transport,
                server,
                places: Places::new(options.max_in_flight),
                metrics: Metrics::new(),
                streaming_lists: AtomicBool::new(true),
            }),
            deadline: options.deadline,
            urgent: false,
        }
    }

    /// The same connection with another deadline for its calls.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// The same connection for calls that wait for no others: heartbeats and leases, a few at a time.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self {
            urgent: true,
            ..self.clone()
        }
    }

    /// Where the server is, without a slash at the end.
    pub fn server_url(&self) -> String {
        self.shared.server.clone()
    }

    /// Reads one object; `None` when there is none (or no such kind).
    pub async fn get<T>(&self, api: &ApiType, key: &ObjectKey) -> Result<Option<T>, ApiError>
    where
        T: DeserializeOwned + 'static,
    {
        let call = Call::read("get", &api.plural, path::object(api, key, None));
        match execute(self, &call).await {
            Ok(body) => decode(&call, api, &body).map(Some),
            Err(error) if error.class() == Class::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all objects of a kind, in one namespace or everywhere, page by page. The deadline is for each page.
    pub async fn list<T>(
        &self,
        api: &ApiType,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Vec<T>, ApiError>
    where
        T: DeserializeOwned + 'static,
    {
        let scope = Query::default().with_some("labelSelector", selector);
        let namespace = namespace.unwrap_or_default();
        let mut items = Vec::new();
        let mut page: Page<T> = self.page(api, namespace, scope.clone(), "").await?;
        loop {
            items.append(&mut page.items);
            if page.metadata.continues.is_empty() {
                return Ok(items);
            }
            page = match self
                .page(api, namespace, scope.clone(), &page.metadata.continues)
                .await
            {
                // The snapshot that we were paging through has been compacted away: once more, in one piece.
                Err(error) if error.class() == Class::Gone => {
                    items.clear();
                    let call = Call::read("list", &api.plural, path::collection(api, namespace))
                        .query(scope.clone());
                    decode_page(&call, api, &execute(self, &call).await?)?
                }
                other => other?,
            };
        }
    }

    /// Creates an object; `namespace` is `""` for kinds outside namespaces.
    pub async fn create<B, T>(
        &self,
        api: &ApiType,
        namespace: &str,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let path = path::collection(api, namespace);
        self.write(
            "create",
            Method::POST,
            api,
            path,
            managed(manager),
            JSON,
            body,
        )
        .await
    }

    /// Replaces an object by `body`, whose resource version is the precondition.
    pub async fn replace<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        body: &B,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let path = path::object(api, key, None);
        self.write(
            "update",
            Method::PUT,
            api,
            path,
            Query::default(),
            JSON,
            body,
        )
        .await
    }

    /// Replaces a subresource (`status`) by that of `body`, whose resource version is the precondition.
    pub async fn replace_subresource<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: &str,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let path = path::object(api, key, Some(subresource));
        self.write(
            "update",
            Method::PUT,
            api,
            path,
            managed(manager),
            JSON,
            body,
        )
        .await
    }

    /// Server-side apply. With `force`, fields that other managers own are taken over.
    pub async fn apply<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        body: &B,
        manager: &str,
        force: bool,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        self.apply_at(api, path::object(api, key, None), body, manager, force)
            .await
    }

    /// Server-side apply of a subresource, such as `status`.
    pub async fn apply_subresource<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: &str,
        body: &B,
        manager: &str,
        force: bool,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        self.apply_at(
            api,
            path::object(api, key, Some(subresource)),
            body,
            manager,
            force,
        )
        .await
    }

    /// JSON merge patch of an object or a subresource of it. A resource version in the body is a precondition.
    pub async fn merge_patch<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: Option<&str>,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let kind = "application/merge-patch+json";
        self.patch(api, key, subresource, kind, body, manager).await
    }

    /// JSON patch: a list of operations, of which `test` makes preconditions.
    pub async fn json_patch<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: Option<&str>,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let kind = "application/json-patch+json";
        self.patch(api, key, subresource, kind, body, manager).await
    }

    /// Strategic merge patch; only for kinds that Kubernetes has built in.
    pub async fn strategic_patch<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: Option<&str>,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let kind = "application/strategic-merge-patch+json";
        self.patch(api, key, subresource, kind, body, manager).await
    }

    /// Creates through a subresource: `serviceaccounts/NAME/token`, `pods/NAME/eviction` or `binding`.
    pub async fn create_subresource<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: &str,
        body: &B,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let path = path::object(api, key, Some(subresource));
        self.write(
            "create",
            Method::POST,
            api,
            path,
            Query::default(),
            JSON,
            body,
        )
        .await
    }

    /// Deletes an object if the preconditions hold (else the error is a [`Class::Conflict`]).
    pub async fn delete(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        preconditions: DeletePreconditions,
        propagation: Propagation,
    ) -> Result<Deleted, ApiError> {
        let options = DeleteOptions {
            api_version: "v1",
            kind: "DeleteOptions",
            propagation_policy: propagation,
            preconditions: &preconditions,
        };
        let path = path::object(api, key, None);
        let answer: Result<RawObject, ApiError> = self
            .write(
                "delete",
                Method::DELETE,
                api,
                path,
                Query::default(),
                JSON,
                &options,
            )
            .await;
        match answer {
            // Either a Status, or the object as it now stands.
            Ok(object) if object.is_deleting() => Ok(Deleted::Deleting),
            Ok(_) => Ok(Deleted::Gone),
            Err(error) if error.class() == Class::NotFound => Ok(Deleted::Gone),
            Err(error) => Err(error),
        }
    }

    /// The server's version, such as `v1.36.3`.
    pub async fn version(&self) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            git_version: String,
        }
        let call = Call::read("get", "version", "/version".to_owned());
        let version: Version = parse(&call, &execute(self, &call).await?)?;
        Ok(version.git_version)
    }

    /// Reads any path, query included.
    pub async fn raw_get(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        let call = Call::read("get", "raw", path.to_owned());
        execute(self, &call).await.map(Vec::from)
    }

    /// Puts this connection's metrics into a registry; `server` (`hub`, `member`) tells it from others.
    pub fn register(&self, registry: &mut Registry, server: &str) {
        self.shared.metrics.register(registry, server);
    }

    /// Writing requests sent so far.
    pub fn writes(&self) -> u64 {
        self.shared.metrics.writes()
    }

    /// Reading requests sent so far, starts of watches included.
    pub fn reads(&self) -> u64 {
        self.shared.metrics.reads()
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.shared.transport
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Waits for a place among the calls under way; urgent calls go without.
    pub(crate) async fn place(&self) -> Option<Place<'_>> {
        if self.urgent {
            return None;
        }
        Some(self.shared.places.take().await)
    }

    pub(crate) fn streaming_lists(&self) -> bool {
        self.shared.streaming_lists.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_streaming_lists(&self) {
        self.shared.streaming_lists.store(false, Ordering::Relaxed);
    }

    /// One page of a list.
    pub(crate) async fn page<T>(
        &self,
        api: &ApiType,
        namespace: &str,
        scope: Query,
        continues: &str,
    ) -> Result<Page<T>, ApiError>
    where
        T: DeserializeOwned + 'static,
    {
        let query = scope
            .with("limit", PAGE)
            .with_some("continue", Some(continues));
        let call = Call::read("list", &api.plural, path::collection(api, namespace)).query(query);
        decode_page(&call, api, &execute(self, &call).await?)
    }

    async fn apply_at<B, T>(
        &self,
        api: &ApiType,
        path: String,
        body: &B,
        manager: &str,
        force: bool,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let mut query = managed(manager);
        if force {
            query = query.with("force", "true");
        }
        let kind = "application/apply-patch+yaml";
        self.write("apply", Method::PATCH, api, path, query, kind, body)
            .await
    }

    async fn patch<B, T>(
        &self,
        api: &ApiType,
        key: &ObjectKey,
        subresource: Option<&str>,
        content_type: &'static str,
        body: &B,
        manager: &str,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let path = path::object(api, key, subresource);
        self.write(
            "patch",
            Method::PATCH,
            api,
            path,
            managed(manager),
            content_type,
            body,
        )
        .await
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one request, each given by its one caller above"
    )]
    async fn write<B, T>(
        &self,
        verb: &'static str,
        method: Method,
        api: &ApiType,
        path: String,
        query: Query,
        content_type: &'static str,
        body: &B,
    ) -> Result<T, ApiError>
    where
        B: Serialize,
        T: DeserializeOwned + 'static,
    {
        let body = serde_json::to_vec(body)
            .map_err(|error| ApiError::local(verb, &path, "Malformed", error.to_string()))?;
        let call = Call {
            method,
            body: Bytes::from(body),
            content_type,
            ..Call::read(verb, &api.plural, path).query(query)
        };
        decode(&call, api, &execute(self, &call).await?)
    }
}

/// One page of a list.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Page<T> {
    #[serde(default)]
    pub(crate) metadata: PageMeta,
    #[serde(default = "Vec::new", deserialize_with = "null_is_empty")]
    pub(crate) items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageMeta {
    #[serde(default)]
    pub(crate) resource_version: String,
    #[serde(default, rename = "continue")]
    pub(crate) continues: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn managed(manager: &str) -> Query {
    Query::default().with_some("fieldManager", Some(manager))
}

fn decode_page<T: DeserializeOwned + 'static>(
    call: &Call,
    api: &ApiType,
    body: &[u8],
) -> Result<Page<T>, ApiError> {
    let mut page: Page<T> = parse(call, body)?;
    for item in &mut page.items {
        add_types(item, api);
    }
    Ok(page)
}

fn decode<T: DeserializeOwned + 'static>(
    call: &Call,
    api: &ApiType,
    body: &[u8],
) -> Result<T, ApiError> {
    let mut object = parse(call, body)?;
    add_types(&mut object, api);
    Ok(object)
}

pub(crate) fn parse<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| malformed(call, &error))
}

/// The reader's own words may quote the text, which may be a secret: only where it stopped is told.
fn malformed(call: &Call, error: &serde_json::Error) -> ApiError {
    let message = format!(
        "the answer does not read as what was asked for ({:?} error at column {} of line {})",
        error.classify(),
        error.column(),
        error.line()
    );
    ApiError::local(call.verb, &call.path, "Malformed", message)
}

/// Kinds that Kubernetes has built in come without `apiVersion` and `kind` in lists.
fn add_types<T: 'static>(object: &mut T, api: &ApiType) {
    let object: &mut dyn Any = object;
    if let Some(object) = object.downcast_mut::<RawObject>() {
        if object.kind.is_empty() {
            object.kind = api.kind.to_string();
            object.api_version = api.api_version();
        }
    } else if let Some(Value::Object(map)) = object.downcast_mut::<Value>()
        && !map.contains_key("kind")
    {
        map.insert("kind".to_owned(), Value::from(&*api.kind));
        map.insert("apiVersion".to_owned(), Value::from(api.api_version()));
    }
}
