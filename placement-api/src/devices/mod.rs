//! Devices: what pods ask of them by claims (DRA), which device meets a selector, and how many devices plugins make of one.
//!
//! ```text
//! ResourceClaimTemplate, ResourceClaim -> DeviceClaim --\
//! DeviceClass, CEL selector -> DeviceSelector -----------> which shapes of devices meet the claim
//! ResourceSlice -> DeviceShape (kinds) -----------------/
//! ```

mod claim;
mod selector;
mod semver;
mod sharing;

pub use claim::{
    ClaimError, DeviceAlternative, DeviceClaim, DeviceCount, DeviceRequest, DeviceToleration,
    SameAttribute,
};
pub use selector::{Device, DeviceSelector, attribute};
pub use semver::Semver;
pub use sharing::{
    PARTS, Share, Sharing, physical_product, physical_resource, resource_of_driver, share,
};

/// What ResourceQuotas call the devices of a class.
const CLASS_SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";

/// The resource that counts the devices of a class, named as in a ResourceQuota.
pub fn class_resource(class: &str) -> String {
    format!("{class}{CLASS_SUFFIX}")
}

/// The class whose devices a resource counts.
pub fn class_of_resource(resource: &str) -> Option<&str> {
    resource.strip_suffix(CLASS_SUFFIX)
}
