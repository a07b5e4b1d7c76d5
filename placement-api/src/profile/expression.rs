//! CEL expressions over one variable, `object`. What the platform owner writes must neither crash nor stall us: length and
//! depth are bounded, the parser runs on a stack that is large enough for it, and what the evaluator cannot do is refused before.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{fmt, thread};

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr};
use cel::objects::{Key, Map};
use cel::parser::Parser;
use cel::{Context, ExecutionError, Value as Cel};
use serde_json::Value;

use super::ProfileError;

/// The variable that holds the object.
const VARIABLE: &str = "object";
/// Longest expression in bytes.
const MAX_LENGTH: usize = 4096;
/// Deepest nesting. Evaluation recurses once per level on whatever thread asks; this fits a 2 MiB stack many times.
const MAX_DEPTH: usize = 40;
/// Loops inside loops. There is no budget at run time, so the exponent is what must be small.
const MAX_LOOPS: usize = 2;
/// The ANTLR parser needs up to a quarter of a megabyte per level in debug builds.
const PARSER_STACK: usize = 64 << 20;

/// A compiled expression that knows where it is written.
#[derive(Clone)]
pub(crate) struct Expression {
    field: String,
    expression: Arc<IdedExpr>,
}

/// What an expression found, or why it found nothing.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A value.
    Found(Cel),
    /// It reads something that the object does not have.
    Absent(String),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.field)
    }
}

impl Expression {
    /// Compiles an expression; `field` is its path in the KindProfile.
    pub(crate) fn compile(field: &str, source: &str) -> Result<Self, ProfileError> {
        let fail = |message: String| ProfileError::profile(field, message);
        if source.trim().is_empty() {
            return Err(fail("an expression is missing".to_owned()));
        }
        if source.len() > MAX_LENGTH {
            return Err(fail(format!(
                "{} bytes are too long for an expression, at most {MAX_LENGTH}",
                source.len()
            )));
        }
        let expression = parse(source, VARIABLE, |parsed| Ok(parsed.clone())).map_err(fail)?;
        Ok(Self {
            field: field.to_owned(),
            expression: Arc::new(expression),
        })
    }

    /// Evaluates it. That a field is absent is an outcome, everything else that goes wrong an error.
    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Outcome, ProfileError> {
        // The evaluator panics on a few forms that the parser lets through; that must not take the scheduler with it.
        let result = catch_unwind(AssertUnwindSafe(|| {
            Cel::resolve(&self.expression, &scope.0)
        }));
        match result {
            Ok(Ok(value)) => Ok(Outcome::Found(value)),
            Ok(Err(ExecutionError::NoSuchKey(key))) => Ok(Outcome::Absent(key.to_string())),
            Ok(Err(error)) => Err(ProfileError::profile(&self.field, describe(&error))),
            Err(_) => Err(ProfileError::profile(
                &self.field,
                "the expression uses something that is not supported",
            )),
        }
    }

    /// As a condition: what is absent is false.
    pub(crate) fn holds(&self, scope: &Scope) -> Result<bool, ProfileError> {
        match self.evaluate(scope)? {
            Outcome::Found(Cel::Bool(answer)) => Ok(answer),
            Outcome::Absent(_) => Ok(false),
            Outcome::Found(other) => Err(ProfileError::profile(
                &self.field,
                format!("the expression gives {}, not true or false", kind(&other)),
            )),
        }
    }

    /// As a number of pods.
    pub(crate) fn count(&self, scope: &Scope) -> Result<u32, ProfileError> {
        let fail = |message: String| ProfileError::profile(&self.field, message);
        let number = match self.evaluate(scope)? {
            Outcome::Found(Cel::Int(number)) => u32::try_from(number).ok(),
            Outcome::Found(Cel::UInt(number)) => u32::try_from(number).ok(),
            Outcome::Found(Cel::Float(number)) => whole(number),
            Outcome::Found(_) => None,
            Outcome::Absent(key) => {
                return Err(fail(format!("the object has no field {key:?}")));
            }
        };
        number.ok_or_else(|| fail("the expression gives no whole number from 0 up".to_owned()))
    }

    /// As names: one, a list, or none.
    pub(crate) fn names(&self, scope: &Scope) -> Result<Vec<String>, ProfileError> {
        let name = |value: &Cel| match value {
            Cel::String(name) => Ok(name.to_string()),
            other => Err(ProfileError::profile(
                &self.field,
                format!("the expression gives {}, not a name", kind(other)),
            )),
        };
        let names: Vec<String> = match self.evaluate(scope)? {
            Outcome::Absent(_) | Outcome::Found(Cel::Null) => Vec::new(),
            Outcome::Found(Cel::List(list)) => list.iter().map(name).collect::<Result<_, _>>()?,
            Outcome::Found(value) => vec![name(&value)?],
        };
        Ok(names.into_iter().filter(|name| !name.is_empty()).collect())
    }
}

/// An object that expressions can be asked about.
pub(crate) struct Scope(Context<'static>);

impl Scope {
    pub(crate) fn new(object: &Value) -> Self {
        let mut context = Context::default();
        context.add_variable_from_value(VARIABLE, to_cel(object));
        Self(context)
    }
}

/// Whole numbers become CEL's `int`, so that arithmetic with literals works, as in Kubernetes.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(list) => Cel::List(Arc::new(list.iter().map(to_cel).collect())),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), to_cel(value)));
            Cel::Map(Map {
                map: Arc::new(entries.collect::<HashMap<_, _>>()),
            })
        }
    }
}

/// Parses an expression over one variable, on a thread of its own with a large stack (the parser recurses some twenty times per
/// level). `rewrite` may turn what the evaluator does not know into what it does; the result is checked.
pub(crate) fn parse(
    source: &str,
    variable: &str,
    rewrite: impl FnOnce(&IdedExpr) -> Result<IdedExpr, String> + Send,
) -> Result<IdedExpr, String> {
    if nesting(source) > MAX_DEPTH {
        return Err(format!("nested more than {MAX_DEPTH} levels deep"));
    }
    thread::scope(|scope| {
        thread::Builder::new()
            .name("cel-parser".to_owned())
            .stack_size(PARSER_STACK)
            .spawn_scoped(scope, || {
                let parser = Parser::default().enable_optional_syntax(true);
                let parsed = parser.parse(source).map_err(|error| first_line(&error))?;
                let expression = rewrite(&parsed)?;
                check(&expression, 1, &mut vec![variable])?;
                Ok(expression)
            })
            .map_err(|error| format!("no thread for the parser: {error}"))?
            .join()
            .unwrap_or_else(|_| Err("the expression cannot be parsed".to_owned()))
    })
}

fn first_line(error: &impl ToString) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// An upper bound of nesting that is cheap to find before the parser runs: open brackets, and operators before an operand.
fn nesting(source: &str) -> usize {
    let (mut open, mut deepest, mut prefix) = (0_usize, 0, 0_usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        prefix = match byte {
            b'!' | b'-' => prefix + 1,
            b' ' | b'\t' | b'\n' | b'\r' => prefix,
            _ => 0,
        };
        deepest = deepest.max(open).max(prefix);
    }
    deepest
}

/// Refuses what is too deep, variables that do not exist, and what the evaluator does not know.
fn check<'a>(
    expression: &'a IdedExpr,
    depth: usize,
    known: &mut Vec<&'a str>,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested more than {MAX_DEPTH} levels deep"));
    }
    let deeper = depth + 1;
    match &expression.expr {
        Expr::Unspecified => Err("the expression is incomplete".to_owned()),
        Expr::Struct(_) => Err("messages cannot be built here".to_owned()),
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if known.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(format!(
            "unknown variable {name:?}, the only one is {:?}",
            known.first().copied().unwrap_or_default()
        )),
        Expr::Select(select) => check(&select.operand, deeper, known),
        Expr::List(list) => list
            .elements
            .iter()
            .try_for_each(|one| check(one, deeper, known)),
        Expr::Map(map) => map
            .entries
            .iter()
            .try_for_each(|one| check_entry(one, deeper, known)),
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .try_for_each(|one| check(one, deeper, known)),
        Expr::Comprehension(loop_) => {
            // Each loop around this one has brought its variables.
            if known.len() > 2 * MAX_LOOPS {
                return Err(format!("more than {MAX_LOOPS} loops inside each other"));
            }
            check(&loop_.iter_range, deeper, known)?;
            check(&loop_.accu_init, deeper, known)?;
            let outer = known.len();
            known.push(&loop_.accu_var);
            check(&loop_.result, deeper, known)?;
            known.push(&loop_.iter_var);
            known.extend(loop_.iter_var2.as_deref());
            check(&loop_.loop_cond, deeper, known)?;
            check(&loop_.loop_step, deeper, known)?;
            known.truncate(outer);
            Ok(())
        }
    }
}

fn check_entry<'a>(
    entry: &'a IdedEntryExpr,
    depth: usize,
    known: &mut Vec<&'a str>,
) -> Result<(), String> {
    match &entry.expr {
        EntryExpr::StructField(_) => Err("messages cannot be built here".to_owned()),
        EntryExpr::MapEntry(entry) => {
            check(&entry.key, depth, known)?;
            check(&entry.value, depth, known)
        }
    }
}

/// The message without the values, which may be large and not for everybody.
pub(crate) fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::UndeclaredReference(name) => format!("unknown function {name:?}"),
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        ExecutionError::UnexpectedType { got, want } => format!("got {got}, want {want}"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            format!(
                "no operator {operator} for {} and {}",
                kind(left),
                kind(right)
            )
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} cannot be compared with {}", kind(left), kind(right))
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(operator, ..) => format!("{operator}: the number is too large"),
        ExecutionError::IndexOutOfBounds(_) => "the list is shorter than the index".to_owned(),
        ExecutionError::NoSuchOverload => "operands of types that do not go together".to_owned(),
        _ => "cannot be evaluated for this object".to_owned(),
    }
}

fn kind(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "a map",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a text",
        Cel::Bytes(_) => "bytes",
        Cel::Bool(_) => "true or false",
        Cel::Null => "null",
        _ => "something else",
    }
}

fn whole(number: f64) -> Option<u32> {
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and in range"
    )]
    fits.then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compile(source: &str) -> Result<Expression, ProfileError> {
        Expression::compile("spec.f", source)
    }

    fn scope() -> Scope {
        Scope::new(&json!({
            "spec": {"n": 4, "half": 0.5, "two": 2.0, "minus": -1, "script": "train.py", "empty": "", "none": null,
                "names": ["a", "", "b"], "roles": [{"n": 2, "on": true}, {"n": 3, "on": false}]},
            "status": {"phase": "Running", "big": 18_446_744_073_709_551_615_u64},
        }))
    }

    #[test]
    fn counts() {
        for (source, expected) in [
            ("object.spec.n", 4),
            ("object.spec.n * 2 + 1", 9),
            ("object.spec.two", 2),
            ("int('8')", 8),
            ("object.spec.roles.size()", 2),
            ("has(object.spec.gone) ? object.spec.gone : 7", 7),
            ("object.spec.roles[1].n", 3),
            ("size(object.spec.roles.filter(r, r.on))", 1),
            ("7u", 7),
        ] {
            assert_eq!(
                compile(source).and_then(|e| e.count(&scope())),
                Ok(expected),
                "{source}"
            );
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (source, message) in [
            ("object.spec.gone", "the object has no field \"gone\""),
            (
                "object.spec.half",
                "the expression gives no whole number from 0 up",
            ),
            (
                "object.spec.minus",
                "the expression gives no whole number from 0 up",
            ),
            (
                "object.status.big",
                "the expression gives no whole number from 0 up",
            ),
            (
                "object.spec.script",
                "the expression gives no whole number from 0 up",
            ),
            ("object.spec.n / 0", "division by zero"),
            ("frob(1)", "unknown function \"frob\""),
            (
                "self.spec",
                "unknown variable \"self\", the only one is \"object\"",
            ),
            ("", "an expression is missing"),
            ("1 +", "ERROR"),
            (
                "[1].map(a, [1].map(b, [1].map(c, c)))",
                "more than 2 loops inside each other",
            ),
            ("Foo{a: 1}", "messages cannot be built here"),
        ] {
            let error = compile(source)
                .and_then(|e| e.count(&scope()))
                .expect_err(source);
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("spec.f: {message}")),
                "{source}: {text}"
            );
        }
    }

    #[test]
    fn conditions() {
        for (source, expected) in [
            (
                "object.status.phase in ['Running', 'Succeeded']",
                Some(true),
            ),
            ("object.status.phase == 'Failed'", Some(false)),
            ("object.status.gone == 'x'", Some(false)),
            ("object.gone.gone == 'x'", Some(false)),
            ("object.spec.roles.all(r, r.n > 1)", Some(true)),
            (
                "object.spec.roles.exists(r, object.spec.names.exists(n, n == 'b'))",
                Some(true),
            ),
            ("object.spec.roles.exists(r, r.n > 1 && !r.on)", Some(true)),
            ("object.spec.n > 3 || object.gone", Some(true)),
            ("object.spec.n", None),
            ("object.status.phase > 3", None),
        ] {
            let holds = compile(source).and_then(|e| e.holds(&scope()));
            assert_eq!(holds.ok(), expected, "{source}");
        }
    }

    #[test]
    fn names() {
        let names = |source: &str| compile(source).and_then(|e| e.names(&scope()));
        assert_eq!(names("object.spec.script"), Ok(vec!["train.py".to_owned()]));
        assert_eq!(
            names("object.spec.names"),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        for source in ["object.spec.empty", "object.spec.none", "object.spec.gone"] {
            assert_eq!(names(source), Ok(Vec::new()), "{source}");
        }
        assert!(names("object.spec.n").is_err());
    }

    /// Nothing that fits the length may overflow a stack (which would abort the process) or panic.
    #[test]
    fn survives_hostile_expressions() {
        let long = |open: &str, middle: &str, close: &str| {
            let times = (MAX_LENGTH - middle.len()) / (open.len() + close.len());
            format!("{}{middle}{}", open.repeat(times), close.repeat(times))
        };
        let hostile = [
            long("(", "1", ")"),
            long("[", "1", "]"),
            long("{1:", "1", "}"),
            long("!", "true", ""),
            long("-", "1", ""),
            long("- ", "1", ""),
            long("1+", "1", ""),
            long("1-", "1", ""),
            long("1<", "1", ""),
            long("true?", "1", ":1"),
            long("true?1:", "1", ""),
            long("true && ", "true", ""),
            long("", "object", ".b"),
            long("", "object", "[0]"),
            long("", "object", ".size()"),
            long("[1].map(x,", "x", ")"),
            long("f(", "1", ")"),
            long("'", "x", "'"),
            "x".repeat(MAX_LENGTH + 1),
            "\u{0}".to_owned(),
            "object.".to_owned(),
            "Foo{a: 1}.b".to_owned(),
            "{'a': 1, 'a': 2}".to_owned(),
            "object['spec']['n']".to_owned(),
            "\"\\u{110000}\"".to_owned(),
        ];
        let scope = scope();
        for source in &hostile {
            if let Ok(expression) = compile(source) {
                let _ = expression.evaluate(&scope);
            }
        }
        let deep = (0..MAX_DEPTH - 2).fold("1".to_owned(), |inner, _| format!("[{inner}]"));
        assert!(compile(&deep).expect("allowed").evaluate(&scope).is_ok());
    }

    #[test]
    fn can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Expression>();
    }
}
