//! CEL selectors of devices, in the environment that Kubernetes documents for DRA: `device.driver`,
//! `device.attributes["domain"].name`, `device.capacity["domain"].name`, quantities, versions, `cel.bind`.
//!
//! What cannot be evaluated here is an error and never "no": Kubernetes' own scheduler may well say yes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use cel::extractors::This;
use cel::objects::{Key, Map, Opaque};
use cel::{Context, ExecutionError, Value as Cel};

use super::Semver;
use crate::kinds::{DeviceAttribute, DeviceShape};
use crate::profile::expression::{self, describe};
use crate::quantity::Quantity;

/// The variable that holds the device.
const VARIABLE: &str = "device";
/// Kubernetes' own limit, in bytes.
const MAX_LENGTH: usize = 10 * 1024;
/// Functions that can be evaluated, beside operators.
const FUNCTIONS: [&str; 34] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "size",
    "string",
    "int",
    "uint",
    "double",
    "none",
    "of",
    "value",
    "hasValue",
    "or",
    "orValue",
    "max",
    "min",
    "lowerAscii",
    "upperAscii",
    "quantity",
    "isQuantity",
    "semver",
    "isSemver",
    "compareTo",
    "isGreaterThan",
    "isLessThan",
    "sign",
    "isInteger",
    "asInteger",
    "add",
    "sub",
    "major",
    "minor",
    "patch",
];

/// A device as selectors see it.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// What it is.
    pub shape: &'a DeviceShape,
}

/// A compiled selector.
#[derive(Clone)]
pub struct DeviceSelector {
    source: String,
    expression: Arc<IdedExpr>,
    /// Domains that it looks into: those that a device does not have are empty and not absent.
    domains: BTreeSet<String>,
    /// Names that it reads.
    reads: BTreeSet<String>,
}

impl std::fmt::Debug for DeviceSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceSelector({})", self.source)
    }
}

/// The value of an attribute by its name, with the driver's domain where the name has none.
pub fn attribute<'a>(shape: &'a DeviceShape, name: &str) -> Option<&'a DeviceAttribute> {
    let local = name
        .split_once('/')
        .and_then(|(domain, name)| (domain == shape.driver).then_some(name));
    let found = shape.attributes.get(name);
    found.or_else(|| shape.attributes.get(local?))
}

impl DeviceSelector {
    /// Compiles an expression; the error says why it cannot be evaluated.
    pub fn compile(source: &str) -> Result<Self, String> {
        if source.trim().is_empty() {
            return Err("an expression is missing".to_owned());
        }
        if source.len() > MAX_LENGTH {
            return Err(format!("longer than {MAX_LENGTH} bytes"));
        }
        let mut found = Found::default();
        let expression = expression::parse(source, VARIABLE, |parsed| {
            let mut expression = parsed.clone();
            found.rewrite(&mut expression)?;
            Ok(expression)
        })?;
        Ok(Self {
            source: source.to_owned(),
            expression: Arc::new(expression),
            domains: found.domains,
            reads: found.reads,
        })
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether a device meets it.
    pub fn matches(&self, device: Device<'_>) -> Result<bool, String> {
        let name = |full: &String| full.rsplit('/').next().unwrap_or_default().to_owned();
        let unsaid = device
            .shape
            .unsaid
            .iter()
            .find(|full| self.reads.contains(&name(full)));
        if let Some(unsaid) = unsaid {
            return Err(format!(
                "it reads {unsaid}, which is different for each device and not reported"
            ));
        }
        let mut context = environment();
        let device = self.variable(device.shape)?;
        context.add_variable_from_value(VARIABLE, device);
        let result = catch_unwind(AssertUnwindSafe(|| {
            Cel::resolve(&self.expression, &context)
        }));
        match result {
            Ok(Ok(Cel::Bool(answer))) => Ok(answer),
            Ok(Ok(_)) => Err("gives something else than true or false".to_owned()),
            Ok(Err(ExecutionError::NoSuchKey(key))) => Err(format!("the device has no {key}")),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("uses something that is not supported".to_owned()),
        }
    }

    fn variable(&self, shape: &DeviceShape) -> Result<Cel, String> {
        let mut attributes: BTreeMap<&str, BTreeMap<&str, Cel>> = BTreeMap::new();
        let mut capacity: BTreeMap<&str, BTreeMap<&str, Cel>> = BTreeMap::new();
        for domain in &self.domains {
            attributes.entry(domain).or_default();
            capacity.entry(domain).or_default();
        }
        for (name, value) in &shape.attributes {
            let (domain, id) = name.split_once('/').unwrap_or((&shape.driver, name));
            attributes
                .entry(domain)
                .or_default()
                .insert(id, to_cel(name, value)?);
        }
        for (name, amount) in &shape.capacity {
            let (domain, id) = name.split_once('/').unwrap_or((&shape.driver, name));
            let amount = Cel::Opaque(Arc::new(Amount(*amount)));
            capacity.entry(domain).or_default().insert(id, amount);
        }
        let nested = |all: BTreeMap<&str, BTreeMap<&str, Cel>>| {
            map(all
                .into_iter()
                .map(|(domain, one)| (domain, map(one.into_iter()))))
        };
        let fields = [
            ("driver", Cel::String(Arc::new(shape.driver.clone()))),
            ("allowMultipleAllocations", Cel::Bool(false)),
            ("attributes", nested(attributes)),
            ("capacity", nested(capacity)),
        ];
        Ok(map(fields.into_iter()))
    }
}

fn to_cel(name: &str, value: &DeviceAttribute) -> Result<Cel, String> {
    match value {
        DeviceAttribute { int: Some(int), .. } => Ok(Cel::Int(*int)),
        DeviceAttribute {
            bool: Some(bool), ..
        } => Ok(Cel::Bool(*bool)),
        DeviceAttribute {
            string: Some(text), ..
        } => Ok(Cel::String(Arc::new(text.clone()))),
        DeviceAttribute {
            version: Some(text),
            ..
        } => {
            let version = Semver::parse(text)
                .ok_or_else(|| format!("attribute {name}: {text:?} is no version"))?;
            Ok(Cel::Opaque(Arc::new(Version(version))))
        }
        _ => Err(format!("attribute {name} has a value of an unknown kind")),
    }
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Cel)>) -> Cel {
    let entries = entries.map(|(name, value)| (Key::String(Arc::new(name.to_owned())), value));
    Cel::Map(Map {
        map: Arc::new(entries.collect::<HashMap<_, _>>()),
    })
}

/// What an expression looks at.
#[derive(Default)]
struct Found {
    domains: BTreeSet<String>,
    reads: BTreeSet<String>,
}

impl Found {
    /// Turns what the evaluator does not know into what it does, and refuses the rest.
    fn rewrite(&mut self, expression: &mut IdedExpr) -> Result<(), String> {
        match &mut expression.expr {
            Expr::Call(call) => {
                if let Some(bound) = bind(call) {
                    expression.expr = bound;
                    return self.rewrite(expression);
                }
                self.call(call)
            }
            Expr::Select(select) => {
                self.reads.insert(select.field.clone());
                self.rewrite(&mut select.operand)
            }
            Expr::List(list) => list
                .elements
                .iter_mut()
                .try_for_each(|one| self.rewrite(one)),
            Expr::Map(map) => map
                .entries
                .iter_mut()
                .try_for_each(|entry| match &mut entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.rewrite(&mut entry.key)?;
                        self.rewrite(&mut entry.value)
                    }
                    EntryExpr::StructField(_) => Err("messages cannot be built here".to_owned()),
                }),
            Expr::Comprehension(all) => [
                &mut all.iter_range,
                &mut all.accu_init,
                &mut all.loop_cond,
                &mut all.loop_step,
                &mut all.result,
            ]
            .into_iter()
            .try_for_each(|one| self.rewrite(one)),
            Expr::Literal(LiteralValue::String(text)) => {
                self.reads.insert(text.inner().to_owned());
                Ok(())
            }
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => Ok(()),
        }
    }

    fn call(&mut self, call: &mut CallExpr) -> Result<(), String> {
        if call.func_name == operators::OPT_SELECT {
            // The evaluator fails where the field is absent, which is what the question is about.
            operators::OPT_INDEX.clone_into(&mut call.func_name);
        }
        let name = call.func_name.as_str();
        if name.starts_with(|first: char| first.is_ascii_alphabetic()) && !FUNCTIONS.contains(&name)
        {
            return Err(format!("function {name:?} is not supported"));
        }
        if matches!(name, operators::INDEX | operators::OPT_INDEX)
            && let Some(Expr::Literal(LiteralValue::String(domain))) =
                call.args.get(1).map(|arg| &arg.expr)
        {
            self.domains.insert(domain.inner().to_owned());
        }
        if let Some(target) = &mut call.target {
            let namespace = matches!(&target.expr, Expr::Ident(name) if name == "optional");
            if namespace {
                return Err("optional values cannot be built here".to_owned());
            }
            self.rewrite(target)?;
        }
        call.args.iter_mut().try_for_each(|arg| self.rewrite(arg))
    }
}

/// `cel.bind(name, value, body)` as a loop over nothing whose accumulator has the name.
fn bind(call: &mut CallExpr) -> Option<Expr> {
    let is_cel = |target: &IdedExpr| matches!(&target.expr, Expr::Ident(name) if name == "cel");
    if call.func_name != "bind" || !call.target.as_deref().is_some_and(is_cel) {
        return None;
    }
    let [name, value, body] = std::mem::take(&mut call.args).try_into().ok()?;
    let IdedExpr {
        id,
        expr: Expr::Ident(name),
    } = name
    else {
        return None;
    };
    let node = |expr| IdedExpr { id, expr };
    Some(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: node(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_init: value,
        loop_cond: node(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: node(Expr::Ident(name.clone())),
        accu_var: name,
        result: body,
    })))
}

#[derive(Debug, PartialEq, Eq)]
struct Amount(Quantity);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.Quantity"
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Version(Semver);

impl Opaque for Version {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.Semver"
    }
}

type Answer = Result<Cel, ExecutionError>;

fn wrong(function: &str, message: &str) -> ExecutionError {
    ExecutionError::function_error(function, message)
}

/// Two quantities or two versions, in order.
fn compare(function: &str, a: &Cel, b: &Cel) -> Result<std::cmp::Ordering, ExecutionError> {
    if let (Cel::Opaque(a), Cel::Opaque(b)) = (a, b) {
        if let (Some(a), Some(b)) = (a.downcast_ref::<Amount>(), b.downcast_ref::<Amount>()) {
            return Ok(a.0.cmp(&b.0));
        }
        if let (Some(a), Some(b)) = (a.downcast_ref::<Version>(), b.downcast_ref::<Version>()) {
            return Ok(a.0.cmp(&b.0));
        }
    }
    Err(wrong(
        function,
        "two quantities or two versions are compared",
    ))
}

fn amount(function: &str, value: &Cel) -> Result<Quantity, ExecutionError> {
    match value {
        Cel::Opaque(one) => one.downcast_ref::<Amount>().map(|amount| amount.0),
        Cel::Int(units) => Some(Quantity::from_units(*units)),
        _ => None,
    }
    .ok_or_else(|| wrong(function, "not a quantity"))
}

fn quantity(amount: Quantity) -> Cel {
    Cel::Opaque(Arc::new(Amount(amount)))
}

fn environment() -> Context<'static> {
    let mut all = Context::default();
    all.add_function("quantity", |text: Arc<String>| -> Answer {
        Quantity::parse(&text)
            .map(quantity)
            .map_err(|_| wrong("quantity", "not a quantity"))
    });
    all.add_function("isQuantity", |text: Arc<String>| {
        Quantity::parse(&text).is_ok()
    });
    all.add_function("semver", |text: Arc<String>| -> Answer {
        let version = Semver::parse(&text).ok_or_else(|| wrong("semver", "not a version"))?;
        Ok(Cel::Opaque(Arc::new(Version(version))))
    });
    all.add_function("isSemver", |text: Arc<String>| {
        Semver::parse(&text).is_some()
    });
    all.add_function("compareTo", |This(this): This<Cel>, other: Cel| -> Answer {
        Ok(Cel::Int(compare("compareTo", &this, &other)? as i64))
    });
    all.add_function(
        "isGreaterThan",
        |This(this): This<Cel>, other: Cel| -> Answer {
            Ok(Cel::Bool(compare("isGreaterThan", &this, &other)?.is_gt()))
        },
    );
    all.add_function(
        "isLessThan",
        |This(this): This<Cel>, other: Cel| -> Answer {
            Ok(Cel::Bool(compare("isLessThan", &this, &other)?.is_lt()))
        },
    );
    all.add_function("sign", |This(this): This<Cel>| -> Answer {
        Ok(Cel::Int(amount("sign", &this)?.cmp(&Quantity::ZERO) as i64))
    });
    all.add_function("isInteger", |This(this): This<Cel>| -> Answer {
        let amount = amount("isInteger", &this)?;
        Ok(Cel::Bool(Quantity::from_units(amount.value()) == amount))
    });
    all.add_function("asInteger", |This(this): This<Cel>| -> Answer {
        let amount = amount("asInteger", &this)?;
        let units = amount.value();
        let whole = Quantity::from_units(units) == amount;
        whole
            .then_some(Cel::Int(units))
            .ok_or_else(|| wrong("asInteger", "not a whole number"))
    });
    all.add_function("add", |This(this): This<Cel>, other: Cel| -> Answer {
        let (a, b) = (amount("add", &this)?, amount("add", &other)?);
        Ok(quantity(a.saturating_add(b)))
    });
    all.add_function("sub", |This(this): This<Cel>, other: Cel| -> Answer {
        let (a, b) = (amount("sub", &this)?, amount("sub", &other)?);
        Ok(quantity(a.saturating_sub(b)))
    });
    for (at, name) in ["major", "minor", "patch"].into_iter().enumerate() {
        all.add_function(name, move |This(this): This<Cel>| -> Answer {
            let version = match &this {
                Cel::Opaque(one) => one.downcast_ref::<Version>(),
                _ => None,
            };
            let number = version.and_then(|version| i64::try_from(version.0.numbers[at]).ok());
            number
                .map(Cel::Int)
                .ok_or_else(|| wrong("version", "not a version"))
        });
    }
    all.add_function("lowerAscii", |This(text): This<Arc<String>>| {
        text.to_ascii_lowercase()
    });
    all.add_function("upperAscii", |This(text): This<Arc<String>>| {
        text.to_ascii_uppercase()
    });
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape() -> DeviceShape {
        serde_json::from_value(json!({
            "id": "x", "driver": "dra.example.com",
            "attributes": {
                "model": {"string": "LATEST-GPU-MODEL"}, "index": {"int": 3}, "ecc": {"bool": true},
                "driverVersion": {"version": "550.54.15"}, "other.example.com/color": {"string": "black"},
            },
            "capacity": {"memory": "80Gi", "other.example.com/cores": "108"},
            "unsaid": ["uuid"],
        }))
        .expect("a shape")
    }

    fn ask(source: &str) -> Result<bool, String> {
        DeviceSelector::compile(source)?.matches(Device { shape: &shape() })
    }

    /// Cases from Kubernetes' documentation of DRA and from its own tests of the environment.
    #[test]
    fn as_kubernetes_evaluates() {
        for (source, expected) in [
            (r#"device.driver == "dra.example.com""#, true),
            (r#"device.driver == "other""#, false),
            (
                r#"device.attributes["dra.example.com"].model == "LATEST-GPU-MODEL""#,
                true,
            ),
            (r#"device.attributes["dra.example.com"].index == 3"#, true),
            (
                r#"device.attributes["dra.example.com"].index > 2 && device.attributes["dra.example.com"].index <= 3"#,
                true,
            ),
            (r#"device.attributes["dra.example.com"].ecc"#, true),
            (r#"!device.attributes["dra.example.com"].ecc"#, false),
            (
                r#"device.attributes["other.example.com"].color == "black""#,
                true,
            ),
            (r#""model" in device.attributes["dra.example.com"]"#, true),
            (r#"has(device.attributes["dra.example.com"].modell)"#, false),
            (r#"has(device.attributes["no.example.com"].model)"#, false),
            (r#""model" in device.attributes["no.example.com"]"#, false),
            (
                r#"has(device.attributes["no.example.com"].model) && device.attributes["no.example.com"].model == "x""#,
                false,
            ),
            (
                r#"device.attributes["dra.example.com"].?modell.orValue("none") == "none""#,
                true,
            ),
            (
                r#"device.attributes["dra.example.com"].?model.orValue("none") == "none""#,
                false,
            ),
            (
                r#"device.attributes["dra.example.com"].model.lowerAscii().matches("^latest-.*")"#,
                true,
            ),
            (
                r#"device.attributes["dra.example.com"].model in ["A", "LATEST-GPU-MODEL"]"#,
                true,
            ),
            (
                r#"["A", "LATEST"].exists(m, device.attributes["dra.example.com"].model.startsWith(m))"#,
                true,
            ),
            (
                r#"cel.bind(dra, device.attributes["dra.example.com"], dra.ecc && dra.index == 3)"#,
                true,
            ),
            (
                r#"cel.bind(dra, device.attributes["dra.example.com"], cel.bind(i, dra.index, i == 4))"#,
                false,
            ),
            (
                r#"device.capacity["dra.example.com"].memory.compareTo(quantity("80Gi")) == 0"#,
                true,
            ),
            (
                r#"device.capacity["dra.example.com"].memory.compareTo(quantity("40Gi")) >= 0"#,
                true,
            ),
            (
                r#"device.capacity["dra.example.com"].memory.isGreaterThan(quantity("80Gi"))"#,
                false,
            ),
            (
                r#"device.capacity["dra.example.com"].memory.isLessThan(quantity("100G"))"#,
                true,
            ),
            (
                r#"device.capacity["dra.example.com"].memory == quantity("81920Mi")"#,
                true,
            ),
            (
                r#"device.capacity["other.example.com"].cores.asInteger() == 108"#,
                true,
            ),
            (
                r#"device.capacity["dra.example.com"].memory.sub(quantity("70Gi")).compareTo(quantity("10Gi")) == 0"#,
                true,
            ),
            (
                r#"device.attributes["dra.example.com"].driverVersion.compareTo(semver("535.0.0")) > 0"#,
                true,
            ),
            (
                r#"device.attributes["dra.example.com"].driverVersion.isLessThan(semver("550.54.2"))"#,
                false,
            ),
            (
                r#"device.attributes["dra.example.com"].driverVersion.major() == 550"#,
                true,
            ),
            (
                r#"isQuantity("1Gi") && isSemver("1.2.3") && !isSemver("1.2")"#,
                true,
            ),
            ("device.allowMultipleAllocations == false", true),
            // An error on one side of a decision that the other side makes.
            (
                r#"device.driver == "dra.example.com" || device.attributes["dra.example.com"].modell == "x""#,
                true,
            ),
            (
                r#"device.driver == "other" && device.attributes["dra.example.com"].modell == "x""#,
                false,
            ),
            ("true", true),
        ] {
            assert_eq!(ask(source), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error_and_not_no() {
        for (source, message) in [
            (
                r#"device.attributes["dra.example.com"].modell == "x""#,
                "the device has no modell",
            ),
            (
                r#"device.attributes["no.example.com"].model == "x""#,
                "the device has no model",
            ),
            (
                r#"device.attributes["dra.example.com"].index == 3 ? 1 : 2"#,
                "gives something else than true or false",
            ),
            (
                r#"device.attributes["dra.example.com"].uuid == "GPU-1""#,
                "it reads uuid, which is different for each device and not reported",
            ),
            (
                r#"device.attributes["dra.example.com"].model.split("-")[0] == "LATEST""#,
                "function \"split\" is not supported",
            ),
            (
                r#"device.capacity["dra.example.com"].memory.compareTo(3) > 0"#,
                "compareTo: two quantities or two versions are compared",
            ),
            (
                "object.x",
                "unknown variable \"object\", the only one is \"device\"",
            ),
            ("", "an expression is missing"),
        ] {
            assert_eq!(ask(source), Err(message.to_owned()), "{source}");
        }
        for source in ["device.", "(((", &"x".repeat(20_000)] {
            assert!(ask(source).is_err(), "{}", &source[..4.min(source.len())]);
        }
    }

    #[test]
    fn attributes_by_their_full_name() {
        let shape = shape();
        let text = |name: &str| attribute(&shape, name).and_then(|value| value.string.clone());
        assert_eq!(
            text("dra.example.com/model").as_deref(),
            Some("LATEST-GPU-MODEL")
        );
        assert_eq!(text("other.example.com/color").as_deref(), Some("black"));
        assert_eq!(text("other.example.com/model"), None);
    }
}
