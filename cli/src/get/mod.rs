//! `inhaul get`: tables of what there is.

use std::collections::BTreeMap;

use client::Class;
use jiff::Timestamp;
use placement_api::api_type::{ApiType, ObjectKey};
use placement_api::kinds::api;
use placement_api::raw::RawObject;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args;
use crate::cluster::Cluster;
use crate::failure::{self, Failure};
use crate::output::{self, Format, Paint};
use crate::session::Session;
use crate::table::Table;
use crate::target;

mod owners;
pub(crate) mod state;
mod watch;
mod workloads;

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Workloads,
    Targets,
    Queues,
    Placements,
    Locations,
}

impl What {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "workloads" | "workload" | "wl" => Self::Workloads,
            "targets" | "target" | "synctargets" | "synctarget" | "st" => Self::Targets,
            "queues" | "queue" | "q" => Self::Queues,
            "placements" | "placement" | "pl" => Self::Placements,
            "locations" | "location" | "loc" => Self::Locations,
            _ => return None,
        })
    }

    fn api(self) -> ApiType {
        match self {
            Self::Workloads => api::WORKLOADS,
            Self::Targets => api::SYNC_TARGETS,
            Self::Queues => api::QUEUES,
            Self::Placements => api::PLACEMENTS,
            Self::Locations => api::LOCATIONS,
        }
    }

    /// Kinds that the table needs besides.
    fn beside(self) -> &'static [ApiType] {
        const OF_WORKLOADS: &[ApiType] = &[api::ASSIGNMENTS, api::SYNC_TARGETS];
        if self == Self::Workloads {
            OF_WORKLOADS
        } else {
            &[]
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Workloads => "workload",
            Self::Targets => "target",
            Self::Queues => "queue",
            Self::Placements => "placement",
            Self::Locations => "location",
        }
    }

    /// What to say where there is none.
    fn none(self) -> &'static str {
        match self {
            Self::Workloads => {
                "No workload here. What a Placement selects shows up: inhaul get placements"
            }
            Self::Targets => {
                "There is no target yet: inhaul target register NAME --member-kubeconfig FILE"
            }
            Self::Queues => {
                "There is no Queue; all work waits in the queue \"default\", first come, first served"
            }
            Self::Placements => "There is no Placement yet, so nothing is placed",
            Self::Locations => {
                "There is no Location; a Placement without locations may use every target"
            }
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Query {
    what: What,
    name: Option<String>,
    /// `None`: all namespaces.
    namespace: Option<String>,
    wide: bool,
}

impl Query {
    fn new(session: &Session, args: &args::Get) -> Result<Self, Failure> {
        let (what, name) = match (args.what.as_deref(), args.name.as_deref()) {
            (None, _) => (What::Workloads, None),
            // KIND/NAME of an object of the user.
            (Some(object), None) if object.contains('/') => {
                (What::Workloads, Some(object.to_owned()))
            }
            (Some(word), name) => (
                What::parse(word).ok_or_else(|| unknown_word(word))?,
                name.map(str::to_owned),
            ),
        };
        let namespaced = what == What::Workloads;
        if !namespaced && (args.scope.namespace.is_some() || args.scope.all_namespaces) {
            output::warn(&format!("{}s have no namespace", what.word()));
        }
        let namespace = if args.scope.all_namespaces || !namespaced {
            None
        } else {
            Some(session.namespace(args.scope.namespace.as_deref())?)
        };
        Ok(Self {
            what,
            name,
            namespace,
            wide: args.output == Some(Format::Wide),
        })
    }

    /// The namespace to list a kind in.
    fn namespace_of(&self, api: &ApiType) -> Option<&str> {
        if *api == self.what.api() {
            self.namespace.as_deref()
        } else {
            None
        }
    }

    /// Whether an object of the first kind was asked for.
    fn wants(&self, object: &RawObject) -> bool {
        let Some(name) = &self.name else {
            return true;
        };
        if self.what == What::Workloads {
            workloads::is_named(object, name)
        } else {
            object.metadata.name == *name
        }
    }
}

fn unknown_word(word: &str) -> Failure {
    Failure::typed(format!("{word:?} is nothing that inhaul shows"))
        .hint("known: workloads, targets, queues, placements, locations")
        .hint("for an object of yours: inhaul get KIND/NAME, or inhaul explain KIND/NAME")
}

/// All objects that a table is made of.
#[derive(Debug, Default)]
struct Snapshot {
    /// By plural and key. A kind that may not be read is missing.
    objects: BTreeMap<String, BTreeMap<ObjectKey, RawObject>>,
}

impl Snapshot {
    fn of(&self, api: &ApiType) -> Option<&BTreeMap<ObjectKey, RawObject>> {
        self.objects.get(&*api.plural)
    }

    fn parsed<T: DeserializeOwned>(&self, api: &ApiType) -> Result<Option<Vec<T>>, Failure> {
        self.of(api)
            .map(|objects| parse(objects.values()))
            .transpose()
    }

    /// Reads everything once.
    async fn read(hub: &Cluster, query: &Query) -> Result<Self, Failure> {
        let mut snapshot = Self::default();
        let first = query.what.api();
        let objects: Vec<RawObject> = hub.list(&first, query.namespace_of(&first)).await?;
        snapshot.put(&first, objects);
        for api in query.what.beside() {
            match hub.connection.list::<RawObject>(api, None, None).await {
                Ok(objects) => snapshot.put(api, objects),
                // Users see their workloads and not the fleet; the table says less then.
                Err(error) if error.class() == Class::Denied => {}
                Err(error) => return Err(hub.failure(&error)),
            }
        }
        Ok(snapshot)
    }

    fn put(&mut self, api: &ApiType, objects: Vec<RawObject>) {
        self.objects.insert(
            api.plural.to_string(),
            objects.into_iter().map(|o| (o.key(), o)).collect(),
        );
    }
}

/// Shows what was asked for.
pub(crate) async fn run(session: &Session, args: args::Get) -> Result<(), Failure> {
    let query = Query::new(session, &args)?;
    let hub = session.hub().await?;
    if args.watch {
        if matches!(
            args.output,
            Some(Format::Json | Format::Yaml | Format::Name)
        ) {
            return Err(Failure::typed("--watch prints tables only")
                .hint("for machines: kubectl get --watch -o json"));
        }
        return watch::run(&hub, &query).await;
    }
    let snapshot = Snapshot::read(&hub, &query).await?;
    let first: Vec<RawObject> = snapshot
        .of(&query.what.api())
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter(|o| query.wants(o))
        .cloned()
        .collect();
    if let (Some(name), true) = (&query.name, first.is_empty()) {
        return Err(no_such(&query, name, &snapshot));
    }
    if let Some(done) = machine(&first, args.output, query.name.as_deref()) {
        return done;
    }
    let table = table(&hub, &query, &snapshot, Timestamp::now()).await?;
    if table.is_empty() {
        output::talk(query.what.none());
        if let Some(namespace) = &query.namespace {
            output::talk(&format!("(in namespace {namespace}; all namespaces: -A)"));
        }
        return Ok(());
    }
    output::data(&table.render(Paint::stdout()))
}

fn no_such(query: &Query, name: &str, snapshot: &Snapshot) -> Failure {
    let objects = snapshot.of(&query.what.api());
    let known: Vec<String> = objects
        .into_iter()
        .flatten()
        .map(|(key, object)| {
            if query.what == What::Workloads {
                workloads::shown_name(object)
            } else {
                key.name.clone()
            }
        })
        .collect();
    let failure = failure::unknown(query.what.word(), name, &known);
    match &query.namespace {
        Some(namespace) => failure.hint(format!(
            "this was namespace {namespace}; choose another with -n, or all with -A"
        )),
        None => failure,
    }
}

/// The table that was asked for.
async fn table(
    hub: &Cluster,
    query: &Query,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Table, Failure> {
    let objects: Vec<&RawObject> = snapshot
        .of(&query.what.api())
        .into_iter()
        .flat_map(BTreeMap::values)
        .filter(|o| query.wants(o))
        .collect();
    Ok(match query.what {
        What::Workloads => workloads::table(
            &parse(objects)?,
            snapshot.parsed(&api::ASSIGNMENTS)?.as_deref(),
            &snapshot.parsed(&api::SYNC_TARGETS)?.unwrap_or_default(),
            now,
            query.namespace.is_none(),
            query.wide,
        ),
        What::Targets => {
            let targets = parse(objects)?;
            let contacts = target::contacts(hub, &targets).await?;
            target::list_rows(&targets, &contacts, now, query.wide)
        }
        What::Queues => owners::queues(&parse(objects)?, now),
        What::Placements => owners::placements(&parse(objects)?, now),
        What::Locations => owners::locations(&parse(objects)?, now),
    })
}

/// Objects read as a type.
pub(crate) fn parse<'a, T: DeserializeOwned>(
    objects: impl IntoIterator<Item = &'a RawObject>,
) -> Result<Vec<T>, Failure> {
    objects
        .into_iter()
        .map(|o| {
            o.parse().map_err(|e| {
                Failure::failed(format!("cannot read {e}"))
                    .hint("is this inhaul as new as the one on the hub?")
            })
        })
        .collect()
}

/// Prints objects for machines; `None` where a table was asked for. One that was asked for by name is printed by itself.
pub(crate) fn machine(
    objects: &[RawObject],
    format: Option<Format>,
    name: Option<&str>,
) -> Option<Result<(), Failure>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a> {
        api_version: &'a str,
        kind: &'a str,
        items: &'a [RawObject],
    }
    let print = |yaml: bool| match (objects, name) {
        ([one], Some(_)) => output::structured(one, yaml),
        _ => output::structured(
            &List {
                api_version: "v1",
                kind: "List",
                items: objects,
            },
            yaml,
        ),
    };
    match format? {
        Format::Json => Some(print(false)),
        Format::Yaml => Some(print(true)),
        Format::Name => Some(output::data(
            &objects.iter().map(resource_name).collect::<String>(),
        )),
        Format::Wide => None,
    }
}

/// `workload.inhaul.dev/web-1`, as kubectl takes it.
fn resource_name(object: &RawObject) -> String {
    let kind = object.kind.to_ascii_lowercase();
    let group = object.group_kind().group;
    let dot = if group.is_empty() { "" } else { "." };
    format!("{kind}{dot}{group}/{}\n", object.metadata.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_kinds() {
        for (word, what) in [
            ("workloads", What::Workloads),
            ("Target", What::Targets),
            ("q", What::Queues),
            ("synctargets", What::Targets),
        ] {
            assert_eq!(What::parse(word), Some(what), "{word}");
        }
        assert_eq!(What::parse("pods"), None);
        let failure = unknown_word("pods");
        assert_eq!(failure.exit_code(), 2);
        assert!(
            failure
                .text()
                .contains("workloads, targets, queues, placements, locations")
        );
    }

    #[test]
    fn names_for_kubectl() {
        let object = RawObject::new(&api::WORKLOADS, &ObjectKey::new("shop", "deployment-web-1"));
        assert_eq!(
            resource_name(&object),
            "workload.inhaul.dev/deployment-web-1\n"
        );
    }
}
