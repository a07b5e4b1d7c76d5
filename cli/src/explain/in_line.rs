//! The queue of a workload that waits, and its place in the line.

use client::Class;
use placement_api::kinds::{Queue, QueueOrder, Workload, WorkloadPhase, api};
use placement_api::quantity::{Quantity, ResourceList};
use placement_api::resources::CPU;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::queue::line;
use crate::words;

/// How a workload stands in its queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InLine {
    /// Of what the workload asks most dearly: resource, used and entitled by the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<(String, Quantity, Quantity)>,
    /// Place and length of the line, in a queue that goes by age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<(usize, usize)>,
}

impl InLine {
    /// `uses 20 of the 24 gpu that it is entitled to; 2nd of 5 in line; `.
    pub(super) fn words(&self) -> String {
        let share = self.share.as_ref().map(|(resource, used, entitled)| {
            let list: ResourceList = [(resource.clone(), *entitled)].into();
            let entitled = if entitled.is_zero() {
                "no share of its own".to_owned()
            } else {
                format!("the {} that it is entitled to", words::gpus(&list))
            };
            format!("uses {} of {entitled}; ", words::amount(resource, *used))
        });
        let place = self
            .place
            .map(|(place, all)| format!("{} of {all} in line; ", words::ordinal(place)));
        share.unwrap_or_default() + &place.unwrap_or_default()
    }
}

/// Reads what it takes; what one may not see is left out. `None`: it does not wait.
pub(super) async fn of(hub: &Cluster, workload: &Workload) -> Result<Option<InLine>, Failure> {
    let status = workload.status.as_ref();
    if status.is_none_or(|status| status.state != WorkloadPhase::Pending) {
        return Ok(None);
    }
    let queues: Option<Vec<Queue>> = seen(hub, &api::QUEUES).await?;
    let workloads: Option<Vec<Workload>> = seen(hub, &api::WORKLOADS).await?;
    let name = &workload.spec.queue;
    let mut queues = queues.iter().flatten();
    let queue = queues.find(|one| one.metadata.name.as_ref() == Some(name));
    let by_age = queue.is_none_or(|one| one.spec.order == QueueOrder::Age);
    let place = workloads
        .filter(|_| by_age)
        .and_then(|workloads| place(workload, &workloads));
    Ok(Some(InLine {
        share: queue.and_then(|queue| share(workload, queue)),
        place,
    }))
}

async fn seen<T: DeserializeOwned + 'static>(
    hub: &Cluster,
    api: &placement_api::api_type::ApiType,
) -> Result<Option<Vec<T>>, Failure> {
    match hub.connection.list(api, None, None).await {
        Ok(list) => Ok(Some(list)),
        Err(error) if error.class() == Class::Denied => Ok(None),
        Err(error) => Err(hub.failure(&error)),
    }
}

fn place(workload: &Workload, all: &[Workload]) -> Option<(usize, usize)> {
    let root = &workload.spec.root;
    let line = line::of(&workload.spec.queue, all);
    let is_it = |one: &&line::Waiter| {
        one.name == root.name && one.kind == root.kind && one.namespace == root.namespace
    };
    let place = line.iter().find(is_it)?.position?;
    Some((
        place,
        line.iter().filter(|one| one.position.is_some()).count(),
    ))
}

/// Accelerators where it asks for some, else CPUs.
fn share(workload: &Workload, queue: &Queue) -> Option<(String, Quantity, Quantity)> {
    let status = queue.status.as_ref()?;
    let sets = workload.spec.pod_sets.iter();
    let mut asked = sets.flat_map(|set| set.requests.keys());
    let resource = asked
        .find(|name| name.contains('/'))
        .map_or(CPU, String::as_str);
    let of = |list: &ResourceList| list.get(resource).copied().unwrap_or_default();
    let (used, entitled) = (of(&status.used), of(&status.entitled));
    (!used.is_zero() || !entitled.is_zero()).then(|| (resource.to_owned(), used, entitled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_words() {
        let gpu = |n| Quantity::from_units(n);
        let line = InLine {
            share: Some(("nvidia.com/gpu".to_owned(), gpu(20), gpu(24))),
            place: Some((2, 5)),
        };
        assert_eq!(
            line.words(),
            "uses 20 of the 24 gpu that it is entitled to; 2nd of 5 in line; "
        );
        assert_eq!(InLine::default().words(), "");
    }
}
