//! Reading and writing at JSON pointers, with errors that name the place.

use serde_json::{Map, Value};

use super::ProfileError;

/// The value at a pointer; absent and `null` are the same.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.pointer(path).filter(|value| !value.is_null())
}

/// A count at a pointer, `default` where it is absent.
pub(crate) fn count(object: &Value, path: &str, default: u32) -> Result<u32, ProfileError> {
    let Some(value) = at(object, path) else {
        return Ok(default);
    };
    value
        .as_u64()
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| ProfileError::object(path, format!("{value} is not a count")))
}

/// A number at a pointer, zero where it is absent or something else.
pub(crate) fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether `true` stands at a pointer.
pub(crate) fn is_true(object: &Value, path: &str) -> bool {
    object.pointer(path) == Some(&Value::Bool(true))
}

/// The text at a pointer, empty where it is absent or something else.
pub(crate) fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The elements of the list at a pointer, none where it is absent or something else.
pub(crate) fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Writes a value, making the maps on the way. Where a part of the way is no map, nothing is written.
pub(crate) fn set(object: &mut Value, path: &str, value: Value) {
    let mut here = object;
    for part in path.split('/').skip(1) {
        if here.is_null() {
            *here = Value::Object(Map::new());
        }
        let part = part.replace("~1", "/").replace("~0", "~");
        let next = match here {
            Value::Object(map) => Some(map.entry(part).or_insert(Value::Null)),
            Value::Array(list) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get_mut(index)),
            _ => None,
        };
        let Some(next) = next else {
            return;
        };
        here = next;
    }
    *here = value;
}

/// Whether a text is a JSON pointer to something inside an object.
pub(crate) fn is_valid(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_and_makes_the_way() {
        let mut object = json!({"a": [1, {"b~/": 2}], "n": null, "s": "x"});
        set(&mut object, "/a/1/b~0~1", json!(3));
        set(&mut object, "/n/new", json!(4));
        set(&mut object, "/p/q", json!(5));
        for lost in ["/s/t", "/a/9", "/a/x"] {
            set(&mut object, lost, json!("lost"));
        }
        let expected = json!({"a": [1, {"b~/": 3}], "n": {"new": 4}, "p": {"q": 5}, "s": "x"});
        assert_eq!(object, expected);
    }

    #[test]
    fn counts() {
        let object =
            json!({"n": 3, "null": null, "minus": -1, "text": "3", "huge": 5_000_000_000_u64});
        assert_eq!(count(&object, "/n", 1), Ok(3));
        assert_eq!(count(&object, "/null", 1), Ok(1));
        assert_eq!(count(&object, "/absent", 1), Ok(1));
        for path in ["/minus", "/text", "/huge"] {
            let error = count(&object, path, 1).expect_err(path).to_string();
            assert!(error.starts_with(path), "{error}");
        }
    }

    #[test]
    fn validity() {
        for (path, valid) in [
            ("/spec", true),
            ("/a~1b/0", true),
            ("", false),
            ("/", false),
            ("spec", false),
            ("/a~2", false),
        ] {
            assert_eq!(is_valid(path), valid, "{path}");
        }
    }
}
