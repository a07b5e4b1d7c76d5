//! `inhaul queue`: the tree of queues with what each is entitled to and uses, or one queue and who waits in its line.

use jiff::Timestamp;
use placement_api::kinds::{Queue, QueueOrder, Workload, api};
use placement_api::names::DEFAULT_QUEUE;
use serde_json::json;

use crate::args;
use crate::cluster::Cluster;
use crate::failure::{self, Failure};
use crate::output::{self, Format, Paint};
use crate::session::Session;

pub(crate) mod line;
mod tree;

/// Shows all queues, or one.
pub(crate) async fn run(session: &Session, args: args::Queue) -> Result<(), Failure> {
    let hub = session.hub().await?;
    let queues: Vec<Queue> = hub.list(&api::QUEUES, None).await?;
    let Some(name) = args.name else {
        return all(&queues, args.output);
    };
    let queue = queues.iter().find(|queue| name_of(queue) == name);
    if queue.is_none() && name != DEFAULT_QUEUE {
        let known: Vec<String> = queues.iter().map(name_of).collect();
        return Err(failure::unknown("queue", &name, &known));
    }
    let workloads: Vec<Workload> = hub.list(&api::WORKLOADS, None).await?;
    let mut line = line::of(&name, &workloads);
    let order = queue.map(|queue| queue.spec.order).unwrap_or_default();
    if !line.is_empty() {
        by_plan(&hub, &mut line, order).await;
    }
    match args.output {
        Some(Format::Json) => output::structured(&json!({"queue": queue, "line": line}), false),
        Some(Format::Yaml) => output::structured(&json!({"queue": queue, "line": line}), true),
        Some(Format::Name) => output::data(&format!("queue.inhaul.dev/{name}\n")),
        Some(Format::Wide) | None => {
            let wide = args.output == Some(Format::Wide);
            let mut text = match queue {
                Some(queue) => tree::describe(queue, &queues),
                None => format!(
                    "Queue {DEFAULT_QUEUE}: there is no such object; work that names no queue waits here, under the root\n"
                ),
            };
            text.push('\n');
            text.push_str(&line::render(
                &line,
                wide,
                Timestamp::now(),
                Paint::stdout(),
            ));
            output::data(&text)
        }
    }
}

/// Only a planner knows when those may be expected to start who have no promise, and the order of a queue that does not go by age.
async fn by_plan(hub: &Cluster, line: &mut [line::Waiter], order: QueueOrder) {
    match crate::whatif::read::view(hub).await {
        Ok(view) => {
            let outlook = view.plan();
            line::expect(line, &outlook.workloads);
            if order != QueueOrder::Age {
                line::reorder(line, &outlook.workloads);
            }
        }
        Err(_) if order == QueueOrder::Age => {}
        // It is shown all the same.
        Err(_) => output::warn(&format!(
            "the queue goes by {order:?}; to know that order one has to see the whole fleet, so the line is shown by priority and age"
        )),
    }
}

fn all(queues: &[Queue], format: Option<Format>) -> Result<(), Failure> {
    let rows = tree::rows(queues);
    match format {
        Some(Format::Json) => output::structured(&tree::plain(&rows), false),
        Some(Format::Yaml) => output::structured(&tree::plain(&rows), true),
        Some(Format::Name) => {
            let names = rows
                .iter()
                .map(|(_, queue)| format!("queue.inhaul.dev/{}\n", name_of(queue)));
            output::data(&names.collect::<String>())
        }
        Some(Format::Wide) | None if rows.is_empty() => {
            output::talk(
                "There is no Queue; all work waits in the queue \"default\", first come, first served",
            );
            Ok(())
        }
        Some(Format::Wide) | None => {
            let table = tree::table(&rows, format == Some(Format::Wide));
            output::data(&table.render(Paint::stdout()))
        }
    }
}

fn name_of(queue: &Queue) -> String {
    queue.metadata.name.clone().unwrap_or_default()
}
