//! The shapes of devices and the classes that were ever seen, by number, and which selector each shape meets. An expression is
//! evaluated once for each shape, however many devices, nodes and workloads there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use placement_api::devices::{Device, DeviceClaim, DeviceSelector};
use placement_api::kinds::{DeviceClassSummary, DeviceShape};

use super::DeviceNeed;
use super::need::Source;

/// Needs that are kept; then all are made again, which costs little.
const NEEDS: usize = 4096;

/// Shapes, classes, and what was found of them. Numbers are given in the order of appearance and never change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    shapes: Vec<Arc<DeviceShape>>,
    shape_numbers: BTreeMap<DeviceShape, usize>,
    classes: Vec<Arc<DeviceClassSummary>>,
    class_numbers: BTreeMap<DeviceClassSummary, usize>,
    selectors: BTreeMap<String, Result<Arc<DeviceSelector>, String>>,
    answers: BTreeMap<(String, usize), Result<bool, String>>,
    needs: BTreeMap<Source, Arc<DeviceNeed>>,
}

impl Catalog {
    /// The number of a shape; what the agent calls it makes no difference.
    pub(super) fn shape(&mut self, shape: &DeviceShape) -> (usize, Arc<DeviceShape>) {
        let mut shape = shape.clone();
        shape.id.clear();
        if let Some(number) = self.shape_numbers.get(&shape) {
            return (*number, Arc::clone(&self.shapes[*number]));
        }
        let number = self.shapes.len();
        let kept = Arc::new(shape.clone());
        self.shapes.push(Arc::clone(&kept));
        self.shape_numbers.insert(shape, number);
        self.needs.clear();
        (number, kept)
    }

    /// The number of a class; one of the same name and other selectors is another.
    pub(super) fn class(&mut self, class: &DeviceClassSummary) -> usize {
        if let Some(number) = self.class_numbers.get(class) {
            return *number;
        }
        let number = self.classes.len();
        self.classes.push(Arc::new(class.clone()));
        self.class_numbers.insert(class.clone(), number);
        self.needs.clear();
        number
    }

    /// How much is known: two equal sizes mean that nothing was added.
    pub(crate) fn size(&self) -> usize {
        self.shapes.len() + self.classes.len()
    }

    /// What pods with these claims and requests need of devices; `None`: nothing.
    pub(crate) fn need<'a>(
        &mut self,
        claims: &[DeviceClaim],
        requests: impl Iterator<Item = (&'a str, i64)>,
    ) -> Option<Arc<DeviceNeed>> {
        let backed: Vec<(String, i64)> = requests
            .filter(|(name, _)| self.backs(name))
            .map(|(name, amount)| (name.to_owned(), amount))
            .collect();
        if claims.is_empty() && backed.is_empty() {
            return None;
        }
        let key = (claims.to_vec(), backed);
        if let Some(need) = self.needs.get(&key) {
            return Some(Arc::clone(need));
        }
        let need = Arc::new(DeviceNeed::new(self, &key.0, &key.1));
        if self.needs.len() >= NEEDS {
            self.needs.clear();
        }
        self.needs.insert(key, Arc::clone(&need));
        Some(need)
    }

    /// Names of the classes by which an extended resource may be asked for.
    pub(super) fn classes_behind(&self, resource: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .classes
            .iter()
            .filter(|class| is_behind(class, resource))
            .map(|class| class.name.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn backs(&self, resource: &str) -> bool {
        self.classes.iter().any(|class| is_behind(class, resource))
    }

    /// Numbers of the classes of this name.
    pub(super) fn classes_named(&self, name: &str) -> Vec<usize> {
        (0..self.classes.len())
            .filter(|number| self.classes[*number].name == name)
            .collect()
    }

    /// All shapes, by number.
    pub(super) fn shapes(&self) -> Vec<Arc<DeviceShape>> {
        self.shapes.clone()
    }

    /// Whether devices of a shape belong to a class and meet further selectors.
    pub(super) fn meets(
        &mut self,
        class: usize,
        selectors: &[String],
        shape: usize,
    ) -> Result<bool, String> {
        let class = Arc::clone(&self.classes[class]);
        for selector in class.selectors.iter().chain(selectors) {
            if !self.answer(selector, shape)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn answer(&mut self, source: &str, shape: usize) -> Result<bool, String> {
        let key = (source.to_owned(), shape);
        if let Some(answer) = self.answers.get(&key) {
            return answer.clone();
        }
        let compiled = self
            .selectors
            .entry(source.to_owned())
            .or_insert_with(|| DeviceSelector::compile(source).map(Arc::new));
        let answer = match compiled {
            Ok(selector) => selector.matches(Device {
                shape: &self.shapes[shape],
            }),
            Err(message) => Err(message.clone()),
        };
        let answer = answer.map_err(|message| format!("{source:?}: {message}"));
        self.answers.insert(key, answer.clone());
        answer
    }
}

/// Whether pods may ask for devices of a class by this extended resource: the one that the class names, and one that every class
/// has.
pub(super) fn is_behind(class: &DeviceClassSummary, resource: &str) -> bool {
    class.extended_resource.as_deref() == Some(resource)
        || resource.strip_prefix("deviceclass.resource.kubernetes.io/") == Some(&class.name)
}
