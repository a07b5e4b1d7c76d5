//! The agent's few calls on the hub, all in the namespace of its target.

use client::{ApiError, Connection};
use placement_api::api_type::ObjectKey;
use placement_api::kinds::api::{ASSIGNMENTS, INVENTORIES};
use placement_api::kinds::{AssignmentStatus, Inventory, InventoryStatus};
use placement_api::names::{INVENTORY, SYNCER_MANAGER, target_namespace};
use placement_api::raw::RawObject;
use serde_json::json;

/// The hub, seen from one target.
#[derive(Clone)]
pub struct Hub {
    /// The connection.
    pub connection: Connection,
    /// The target's namespace.
    pub namespace: String,
}

impl Hub {
    /// The hub of this target.
    pub fn new(connection: Connection, target: &str) -> Self {
        Self {
            connection,
            namespace: target_namespace(target),
        }
    }

    /// The target's Inventory as it stands.
    pub async fn inventory(&self) -> Result<Option<Inventory>, ApiError> {
        self.connection
            .get(&INVENTORIES, &ObjectKey::new(&self.namespace, INVENTORY))
            .await
    }

    /// Replaces the status of an Assignment, if it is still the same object; `None`: it is gone.
    pub async fn report(
        &self,
        name: &str,
        uid: &str,
        status: &AssignmentStatus,
    ) -> Result<Option<RawObject>, ApiError> {
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let key = ObjectKey::new(&self.namespace, name);
        let answer = self
            .connection
            .json_patch(&ASSIGNMENTS, &key, Some("status"), &patch, SYNCER_MANAGER)
            .await;
        match answer {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the status of the Inventory.
    pub async fn count(&self, status: &InventoryStatus) -> Result<Inventory, ApiError> {
        let patch = json!([{"op": "add", "path": "/status", "value": status}]);
        let key = ObjectKey::new(&self.namespace, INVENTORY);
        self.connection
            .json_patch(&INVENTORIES, &key, Some("status"), &patch, SYNCER_MANAGER)
            .await
    }
}
