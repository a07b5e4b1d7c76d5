//! The CustomResourceDefinitions: schemas generated from the types, and beside them the rules with
//! which the API server itself refuses what is older.
//!
//! The rules stand at the root of the object, because a rule on a field does not see that the field
//! is removed. They hold whoever writes: that is the fence behind every promise about order.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule,
};
use kube::CustomResourceExt;

use super::{
    AppliedAssignment, Assignment, FleetPolicy, Inventory, KindProfile, Location, Placement, Queue,
    SyncPolicy, SyncTarget, Workload,
};

/// CRDs of the hub, in a stable order.
pub fn hub_crds() -> Vec<CustomResourceDefinition> {
    vec![
        finish(Assignment::crd(), &assignment_rules()),
        finish(FleetPolicy::crd(), &[only_default("FleetPolicy")]),
        finish(Inventory::crd(), &inventory_rules()),
        finish(
            KindProfile::crd(),
            &[immutable("spec.group"), immutable("spec.kind")],
        ),
        finish(Location::crd(), &[]),
        finish(Placement::crd(), &placement_rules()),
        finish(Queue::crd(), &queue_rules()),
        finish(SyncTarget::crd(), &target_rules()),
        finish(
            without_status_subresource(Workload::crd()),
            &workload_rules(),
        ),
    ]
}

/// CRDs of a member, in a stable order.
pub fn member_crds() -> Vec<CustomResourceDefinition> {
    vec![
        finish(AppliedAssignment::crd(), &ledger_rules()),
        finish(SyncPolicy::crd(), &[only_default("SyncPolicy")]),
    ]
}

type Rule = (String, String);

fn rule(expression: impl Into<String>, message: impl Into<String>) -> Rule {
    (expression.into(), message.into())
}

/// `field` (a path of required fields) never gets smaller.
fn never_falls(field: &str) -> Rule {
    rule(
        format!("self.{field} >= oldSelf.{field}"),
        format!("{field} never falls: a newer writer has been here"),
    )
}

fn immutable(field: &str) -> Rule {
    rule(
        format!("self.{field} == oldSelf.{field}"),
        format!("{field} is immutable: delete the object and create a new one"),
    )
}

/// A field of an optional status: once there, it stays and never gets smaller.
fn status_never_falls(field: &str) -> Rule {
    rule(
        format!(
            "!has(oldSelf.status) || !has(oldSelf.status.{field}) || \
             (has(self.status) && has(self.status.{field}) && self.status.{field} >= oldSelf.status.{field})"
        ),
        format!("status.{field} never falls and is never removed: a newer writer has been here"),
    )
}

/// A field of an optional status: once there, it stays as it is.
fn status_immutable(field: &str) -> Rule {
    rule(
        format!(
            "!has(oldSelf.status) || !has(oldSelf.status.{field}) || \
             (has(self.status) && has(self.status.{field}) && self.status.{field} == oldSelf.status.{field})"
        ),
        format!("status.{field} is immutable once it is known"),
    )
}

fn only_default(kind: &str) -> Rule {
    rule(
        "self.metadata.name == 'default'",
        format!("there is one {kind}, and its name is \"default\""),
    )
}

fn assignment_rules() -> Vec<Rule> {
    vec![
        never_falls("spec.term"),
        never_falls("spec.epoch"),
        immutable("spec.workload"),
        rule(
            "oldSelf.spec.state != 'Removed' || self.spec.state == 'Removed' || self.spec.epoch > oldSelf.spec.epoch",
            "spec.state: a tombstone stays; only a newer epoch starts the workload here again",
        ),
        status_never_falls("session"),
        status_never_falls("epoch"),
        rule(
            "!has(oldSelf.status) || !has(oldSelf.status.phase) || \
             !(oldSelf.status.phase in ['Succeeded', 'Failed', 'Removed']) || \
             (has(self.status) && has(self.status.phase) && (self.status.phase == oldSelf.status.phase || \
              self.status.phase == 'Removed' || self.status.epoch > oldSelf.status.epoch))",
            "status.phase: finished stays finished",
        ),
    ]
}

fn workload_rules() -> Vec<Rule> {
    vec![
        never_falls("spec.term"),
        never_falls("spec.epoch"),
        immutable("spec.root"),
        rule(
            "!has(oldSelf.status) || !has(oldSelf.status.state) || oldSelf.status.state != 'Finished' || \
             (has(self.status) && has(self.status.state) && self.status.state == 'Finished')",
            "status.state: finished stays finished",
        ),
    ]
}

fn inventory_rules() -> Vec<Rule> {
    vec![
        never_falls("spec.minTerm"),
        immutable("spec.hubUID"),
        immutable("spec.target"),
        status_never_falls("session"),
        status_immutable("clusterUID"),
    ]
}

fn ledger_rules() -> Vec<Rule> {
    vec![
        never_falls("spec.epoch"),
        never_falls("spec.term"),
        immutable("spec.hubUID"),
        immutable("spec.workload"),
        rule(
            "!has(oldSelf.spec.finished) || self.spec.epoch > oldSelf.spec.epoch || \
             (has(self.spec.finished) && self.spec.finished.succeeded == oldSelf.spec.finished.succeeded)",
            "spec.finished: finished stays finished",
        ),
    ]
}

fn target_rules() -> Vec<Rule> {
    vec![
        rule(
            "self.metadata.name.size() <= 49",
            "metadata.name: at most 49 characters, because the target's namespace is inhaul-target-<name>",
        ),
        status_immutable("clusterUID"),
        rule(
            "!self.spec.drain || self.spec.unschedulable",
            "spec.drain needs spec.unschedulable: true (`inhaul target drain` sets both)",
        ),
    ]
}

fn placement_rules() -> Vec<Rule> {
    vec![
        rule(
            "!has(self.spec.gangPerTarget) || self.spec.gangPerTarget >= 1",
            "spec.gangPerTarget: at least 1",
        ),
        rule(
            "!has(self.spec.divide) || !has(self.spec.divide.by) || self.spec.divide.by != 'Weight' || \
             (has(self.spec.divide.weights) && self.spec.divide.weights.size() > 0)",
            "spec.divide.weights: by Weight needs at least one weight",
        ),
        rule(
            "!has(self.spec.spread) || self.spec.spread.all(s, !has(s.minGroups) || !has(s.maxGroups) || s.minGroups <= s.maxGroups)",
            "spec.spread: minGroups must not exceed maxGroups",
        ),
    ]
}

fn queue_rules() -> Vec<Rule> {
    vec![
        rule(
            "!has(self.spec.parent) || self.spec.parent != self.metadata.name",
            "spec.parent: a queue is not its own parent",
        ),
        rule(
            "!has(self.spec.accelerators) || self.spec.accelerators.all(a, a.product != '')",
            "spec.accelerators: product is the name of an accelerator, as the nodes' labels say it",
        ),
    ]
}

/// Puts the rules at the root of the schema.
fn finish(mut crd: CustomResourceDefinition, rules: &[Rule]) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        known_formats(schema);
        if rules.is_empty() {
            continue;
        }
        schema.x_kubernetes_validations = Some(
            rules
                .iter()
                .map(|(expression, message)| ValidationRule {
                    rule: expression.clone(),
                    message: Some(message.clone()),
                    ..ValidationRule::default()
                })
                .collect(),
        );
        // The CEL cost estimator needs bounds on what it iterates.
        for (list, most) in [("spread", 16), ("accelerators", 64)] {
            if let Some(list) = schema
                .properties
                .as_mut()
                .and_then(|p| p.get_mut("spec"))
                .and_then(|s| s.properties.as_mut())
                .and_then(|p| p.get_mut(list))
            {
                list.max_items = Some(most);
            }
        }
    }
    crd
}

/// Kubernetes knows no unsigned formats and warns about each; `minimum: 0` beside them says the same.
fn known_formats(schema: &mut JSONSchemaProps) {
    if schema
        .format
        .as_deref()
        .is_some_and(|format| format.starts_with("uint"))
    {
        schema.format = None;
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        known_formats(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => known_formats(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(known_formats),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        known_formats(values);
    }
}

/// One write carries demand, decision and explanation: the Workload has one writer.
fn without_status_subresource(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        version.subresources = None;
    }
    crd
}

/// All CRDs as one YAML stream, as `inhaul crds` prints them.
///
/// # Errors
/// Where a schema cannot be written as YAML, which a test rules out.
pub fn crds_yaml(crds: &[CustomResourceDefinition]) -> Result<String, serde_yaml_ng::Error> {
    let mut out = String::from("# Generated by `inhaul crds` from placement-api; do not edit.\n");
    for crd in crds {
        out.push_str("---\n");
        out.push_str(&serde_yaml_ng::to_string(crd)?);
    }
    Ok(out)
}
