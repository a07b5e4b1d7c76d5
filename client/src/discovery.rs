//! What an API server serves.

use placement_api::api_type::{ApiType, GroupKind};
use serde::Deserialize;

use crate::Connection;
use crate::call::{Call, execute};
use crate::connection::parse;
use crate::error::ApiError;

/// Everything that an API server serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Kinds in each served version, the version that the server prefers first.
    pub apis: Vec<ServedApi>,
    /// Group versions (`metrics.k8s.io/v1beta1`) whose own server did not answer: what is missing from `apis` there is unknown,
    /// not absent.
    pub unavailable: Vec<String>,
}

/// A kind as it is served in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedApi {
    /// The kind.
    pub api: ApiType,
    /// What may be done with it: `get`, `list`, `watch`, `create`, …
    pub verbs: Vec<String>,
    /// Its subresources, such as `status` and `scale`.
    pub subresources: Vec<String>,
    /// Short names, as kubectl takes them.
    pub short_names: Vec<String>,
    /// Whether this is the version that the server prefers among those that serve this kind.
    pub preferred: bool,
}

impl ServedApi {
    /// Whether a verb is served.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|have| have == verb)
    }
}

impl Discovery {
    /// A kind in the version that the server prefers.
    pub fn find(&self, kind: &GroupKind) -> Option<&ServedApi> {
        self.apis.iter().find(|served| {
            served.preferred && served.api.group == kind.group && served.api.kind == kind.kind
        })
    }

    /// A kind in exactly this version.
    pub fn find_version(&self, api_version: &str, kind: &str) -> Option<&ServedApi> {
        self.apis
            .iter()
            .find(|served| served.api.kind == kind && served.api.api_version() == api_version)
    }
}

impl Connection {
    /// Asks what the server serves: all groups, all versions. Two requests where the server knows aggregated discovery
    /// (Kubernetes from 1.26), else one for each group version.
    pub async fn discover(&self) -> Result<Discovery, ApiError> {
        let mut discovery = Discovery::default();
        for root in ["/api", "/apis"] {
            let call = Call {
                accept: ACCEPT,
                ..Call::read("get", "discovery", root.to_owned())
            };
            let body = execute(self, &call).await?;
            let answer: Root = parse(&call, &body)?;
            if answer.kind == "APIGroupDiscoveryList" {
                for group in answer.items {
                    discovery.add_group(group);
                }
            } else {
                self.discover_one_by_one(answer, &mut discovery).await?;
            }
        }
        Ok(discovery)
    }

    async fn discover_one_by_one(
        &self,
        root: Root,
        discovery: &mut Discovery,
    ) -> Result<(), ApiError> {
        let mut versions: Vec<(String, String)> = root
            .versions
            .into_iter()
            .map(|version| (String::new(), version))
            .collect();
        for group in root.groups {
            let mut of_group: Vec<String> = group
                .versions
                .into_iter()
                .map(|version| version.version)
                .collect();
            // Stable: the order of the others is the server's.
            of_group.sort_by_key(|version| *version != group.preferred_version.version);
            versions.extend(
                of_group
                    .into_iter()
                    .map(|version| (group.name.clone(), version)),
            );
        }
        for (group, version) in versions {
            let group_version = group_version(&group, &version);
            let root = if group.is_empty() { "/api" } else { "/apis" };
            let call = Call::read("get", "discovery", format!("{root}/{group_version}"));
            match execute(self, &call).await {
                Ok(body) => {
                    let list: ResourceList = parse(&call, &body)?;
                    discovery.add_list(&group, &version, list);
                }
                // The server behind one group is away, or the group has just gone; the others stand.
                Err(error) if error.code.is_some() => discovery.unavailable.push(group_version),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Discovery {
    fn add_group(&mut self, group: Group) {
        for version in group.versions {
            if version.freshness == "Stale" {
                self.unavailable
                    .push(group_version(&group.metadata.name, &version.version));
            }
            for resource in version.resources {
                self.add(ServedApi {
                    api: ApiType::new(
                        group.metadata.name.clone(),
                        version.version.clone(),
                        resource.response_kind.unwrap_or_default().kind,
                        resource.plural,
                        resource.scope == "Namespaced",
                    ),
                    verbs: resource.verbs,
                    subresources: resource
                        .subresources
                        .into_iter()
                        .map(|sub| sub.subresource)
                        .collect(),
                    short_names: resource.short_names,
                    preferred: false,
                });
            }
        }
    }

    fn add_list(&mut self, group: &str, version: &str, list: ResourceList) {
        let (subresources, resources): (Vec<_>, Vec<_>) = list
            .resources
            .into_iter()
            .partition(|resource| resource.name.contains('/'));
        for resource in resources {
            let of_this = subresources.iter().filter_map(|sub| {
                let (parent, name) = sub.name.split_once('/')?;
                (parent == resource.name).then(|| name.to_owned())
            });
            self.add(ServedApi {
                subresources: of_this.collect(),
                api: ApiType::new(
                    group,
                    version,
                    resource.kind,
                    resource.name,
                    resource.namespaced,
                ),
                verbs: resource.verbs,
                short_names: resource.short_names,
                preferred: false,
            });
        }
    }

    /// Versions come in the server's order of preference, so the first that serves a kind is the preferred one.
    fn add(&mut self, mut served: ServedApi) {
        if served.api.kind.is_empty() {
            return;
        }
        served.preferred = !self.apis.iter().rev().any(|have| {
            have.api.group == served.api.group
                && have.api.kind == served.api.kind
                && have.api.plural == served.api.plural
        });
        self.apis.push(served);
    }
}

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Any of the three answers to `/api` and `/apis`.
#[derive(Deserialize)]
struct Root {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
    #[serde(default)]
    versions: Vec<String>,
    #[serde(default)]
    groups: Vec<OldGroup>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: GroupMeta,
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Default, Deserialize)]
struct GroupMeta {
    /// Empty for the core group.
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    #[serde(default)]
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    subresources: Vec<Subresource>,
}

#[derive(Default, Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Subresource {
    subresource: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldGroup {
    name: String,
    versions: Vec<OldVersion>,
    #[serde(default)]
    preferred_version: OldVersion,
}

#[derive(Default, Deserialize)]
struct OldVersion {
    #[serde(default)]
    version: String,
}

#[derive(Deserialize)]
struct ResourceList {
    #[serde(default)]
    resources: Vec<OldResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldResource {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    short_names: Vec<String>,
}
