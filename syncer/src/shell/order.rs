//! An Assignment as it came, read when it is looked at: the text is a tenth of the parsed value, and most orders rest.

use placement_api::kinds::{AssignmentSpec, AssignmentState, AssignmentStatus};
use placement_api::raw::RawObject;

use crate::decide::desired::{id_of, secret_id};
use crate::decide::diff;
use crate::decide::object_id::ObjectId;

/// An Assignment, read.
pub struct Order {
    /// UID on the hub.
    pub uid: String,
    /// Generation.
    pub generation: i64,
    /// What is ordered.
    pub spec: AssignmentSpec,
    /// What the hub has been told.
    pub status: Option<AssignmentStatus>,
}

impl Order {
    /// Reads it; the error says what is wrong.
    pub fn read(object: &RawObject) -> Result<Self, String> {
        let spec = object
            .section_as("spec")
            .map_err(|error| error.to_string())?;
        Ok(Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation.unwrap_or_default(),
            spec: spec.ok_or_else(|| "it has no spec".to_owned())?,
            // A status of another version of Inhaul is written anew.
            status: object.section_as("status").ok().flatten(),
        })
    }

    /// Its head.
    pub fn head(&self) -> diff::Order<'_> {
        diff::Order {
            workload: &self.spec.workload,
            epoch: self.spec.epoch,
            term: self.spec.term,
            digest: &self.spec.digest,
            state: self.spec.state,
        }
    }

    /// The objects that it orders, each with its `apiVersion` and the hub's version.
    pub fn objects(&self) -> Vec<(ObjectId, String, i64)> {
        if self.spec.state == AssignmentState::Removed {
            return Vec::new();
        }
        let manifests = self.spec.manifests.iter().filter_map(|manifest| {
            let id = id_of(&manifest.object).ok()?;
            let api_version = manifest.object["apiVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Some((id, api_version, manifest.source_version))
        });
        let secrets = self
            .spec
            .secret_refs
            .iter()
            .map(|reference| (secret_id(reference), "v1".to_owned(), 0));
        manifests.chain(secrets).collect()
    }
}
