//! The kinds as the client needs them.

use crate::api_type::ApiType;
use crate::names::{GROUP, VERSION};

/// SyncTarget.
pub const SYNC_TARGETS: ApiType = ApiType::cluster(GROUP, VERSION, "SyncTarget", "synctargets");

/// Location.
pub const LOCATIONS: ApiType = ApiType::cluster(GROUP, VERSION, "Location", "locations");

/// Placement.
pub const PLACEMENTS: ApiType = ApiType::cluster(GROUP, VERSION, "Placement", "placements");

/// Queue.
pub const QUEUES: ApiType = ApiType::cluster(GROUP, VERSION, "Queue", "queues");

/// FleetPolicy.
pub const FLEET_POLICIES: ApiType =
    ApiType::cluster(GROUP, VERSION, "FleetPolicy", "fleetpolicies");

/// KindProfile.
pub const KIND_PROFILES: ApiType = ApiType::cluster(GROUP, VERSION, "KindProfile", "kindprofiles");

/// Workload.
pub const WORKLOADS: ApiType = ApiType::namespaced(GROUP, VERSION, "Workload", "workloads");

/// Assignment.
pub const ASSIGNMENTS: ApiType = ApiType::namespaced(GROUP, VERSION, "Assignment", "assignments");

/// Inventory.
pub const INVENTORIES: ApiType = ApiType::namespaced(GROUP, VERSION, "Inventory", "inventories");

/// AppliedAssignment.
pub const APPLIED_ASSIGNMENTS: ApiType =
    ApiType::namespaced(GROUP, VERSION, "AppliedAssignment", "appliedassignments");

/// SyncPolicy.
pub const SYNC_POLICIES: ApiType = ApiType::cluster(GROUP, VERSION, "SyncPolicy", "syncpolicies");
