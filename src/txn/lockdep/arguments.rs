//! The values of bound arguments, read back from what sqlx has encoded.
//!
//! Decides: which types name rows (integers, texts, UUIDs, arrays of them). Never does: fail: what
//! it does not know is opaque.
//!
//! sqlx gives encoded arguments back in its debug form only. The version of sqlx is pinned, and a
//! test notices when the form changes; arguments are then opaque, and orders harder to tell.

use super::binding::Argument;
use super::class::Key;

/// The text between the bracket after `label` and its partner.
fn bracketed<'d>(debug: &'d str, label: &str) -> Option<&'d str> {
    let rest = &debug[debug.find(label)? + label.len()..];
    let mut depth = 1;
    for (at, c) in rest.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&rest[..at]);
        }
    }
    None
}

fn bytes(debug: &str, label: &str) -> Option<Vec<u8>> {
    let inside = bracketed(debug, label)?;
    if inside.trim().is_empty() {
        return Some(Vec::new());
    }
    inside.split(',').map(|byte| byte.trim().parse().ok()).collect()
}

/// PostgreSQL's: each a length and as many bytes, in network order.
#[cfg(feature = "postgres")]
pub(super) fn postgres(debug: &str) -> Option<Vec<Argument>> {
    // Of each type the name is enough: `PgTypeInfo(Int8)`.
    let types: Vec<&str> = bracketed(debug, "types: [")?
        .split("PgTypeInfo(")
        .skip(1)
        .map(|name| name.trim_end_matches([' ', ',']).trim_end_matches(')'))
        .collect();
    let buffer = bytes(debug, "buffer: PgArgumentBuffer { buffer: [")?;
    let mut rest = buffer.as_slice();
    let mut arguments = Vec::new();
    for name in types {
        let (value, left) = sized(rest)?;
        rest = left;
        arguments.push(value.map_or(Argument::Null, |value| postgres_value(name, value)));
    }
    Some(arguments)
}

/// A length, and the bytes it counts; a negative one is NULL.
#[cfg(feature = "postgres")]
fn sized(buffer: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = buffer.split_first_chunk::<4>()?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => rest.split_at_checked(length).map(|(value, rest)| (Some(value), rest)),
        Err(_) => Some((None, rest)),
    }
}

#[cfg(feature = "postgres")]
fn postgres_value(name: &str, value: &[u8]) -> Argument {
    if let Some(element) = name.strip_suffix("Array") {
        return elements(element, value).map_or(Argument::Opaque, Argument::Many);
    }
    postgres_key(name, value).map_or(Argument::Opaque, Argument::One)
}

#[cfg(feature = "postgres")]
fn postgres_key(name: &str, value: &[u8]) -> Option<Key> {
    Some(match name {
        "Int2" => i16::from_be_bytes(value.try_into().ok()?).into(),
        "Int4" => i32::from_be_bytes(value.try_into().ok()?).into(),
        "Int8" => i64::from_be_bytes(value.try_into().ok()?).into(),
        "Text" | "Varchar" | "Bpchar" | "Name" => std::str::from_utf8(value).ok()?.into(),
        "Uuid" => Key::Bytes(value.to_vec()),
        _ => return None,
    })
}

/// An array of one dimension: dimensions, flags, type, length, lower bound; then the elements.
#[cfg(feature = "postgres")]
fn elements(name: &str, value: &[u8]) -> Option<Vec<Key>> {
    let (dimensions, rest) = value.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*dimensions) {
        0 => return Some(Vec::new()),
        1 => {}
        _ => return None,
    }
    let mut rest = rest.get(16..)?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (element, left) = sized(rest)?;
        rest = left;
        if let Some(element) = element {
            keys.push(postgres_key(name, element)?);
        }
    }
    Some(keys)
}

/// MySQL's: integers of the length of their type; texts and bytes behind their length; nothing for
/// a NULL, which the bitmap tells.
#[cfg(feature = "mysql")]
pub(super) fn mysql(debug: &str) -> Option<Vec<Argument>> {
    let types: Vec<(&str, bool)> = bracketed(debug, "types: [")?
        .split("MySqlTypeInfo {")
        .skip(1)
        .map(|info| {
            let name = info.split("type: ").nth(1).unwrap_or_default();
            let name = name.trim_start_matches("r#").split([',', ' ']).next().unwrap_or_default();
            (name, info.contains("UNSIGNED"))
        })
        .collect();
    let values = bytes(debug, "values: [")?;
    let nulls = bytes(debug, "null_bitmap: NullBitMap { bytes: [")?;
    let mut rest = values.as_slice();
    let mut arguments = Vec::new();
    for (at, (name, unsigned)) in types.into_iter().enumerate() {
        if nulls.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1) {
            arguments.push(Argument::Null);
            continue;
        }
        let Some((argument, left)) = mysql_value(name, unsigned, rest) else {
            // Of a type whose length is not known: nor is where the next one begins.
            break;
        };
        rest = left;
        arguments.push(argument);
    }
    Some(arguments)
}

#[cfg(feature = "mysql")]
fn mysql_value<'v>(name: &str, unsigned: bool, rest: &'v [u8]) -> Option<(Argument, &'v [u8])> {
    macro_rules! integer {
        ($signed:ty, $unsigned:ty) => {{
            let (bytes, left) = rest.split_first_chunk()?;
            let key: Key = if unsigned {
                <$unsigned>::from_le_bytes(*bytes).into()
            } else {
                <$signed>::from_le_bytes(*bytes).into()
            };
            (Argument::One(key), left)
        }};
    }
    Some(match name {
        "Tiny" => integer!(i8, u8),
        "Short" => integer!(i16, u16),
        "Long" | "Int24" => integer!(i32, u32),
        "LongLong" => integer!(i64, u64),
        "Float" => (Argument::Opaque, rest.get(4..)?),
        "Double" => (Argument::Opaque, rest.get(8..)?),
        // Dates and times are behind a length of one byte, texts and bytes behind one of several.
        "Timestamp" | "Date" | "Time" | "Datetime" => {
            let (length, left) = rest.split_first()?;
            (Argument::Opaque, left.get(usize::from(*length)..)?)
        }
        _ => {
            let (value, left) = lenenc(rest)?;
            let text =
                std::str::from_utf8(value).ok().filter(|_| value.len() != 16 || is_text(name));
            let key = text.map_or_else(|| Key::Bytes(value.to_vec()), Key::from);
            (Argument::One(key), left)
        }
    })
}

#[cfg(feature = "mysql")]
fn is_text(name: &str) -> bool {
    matches!(name, "VarChar" | "VarString" | "String")
}

#[cfg(feature = "mysql")]
fn lenenc(buffer: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = buffer.split_first()?;
    let wide = match first {
        0..=0xfa => return rest.split_at_checked(usize::from(*first)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (length, rest) = rest.split_at_checked(wide)?;
    let length = length.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Arguments;

    fn one(key: impl Into<Key>) -> Argument {
        Argument::One(key.into())
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_arguments_are_read_back() {
        let mut arguments = sqlx::postgres::PgArguments::default();
        let add = |added: Result<(), _>| assert!(added.is_ok());
        add(arguments.add(-7_i64));
        add(arguments.add(3_i32));
        add(arguments.add("täx[t]"));
        add(arguments.add(None::<i64>));
        add(arguments.add(vec![5_i64, 1]));
        add(arguments.add(vec!["b".to_owned()]));
        add(arguments.add(1.5_f64));
        add(arguments.add(9_i16));
        let read = postgres(&format!("{arguments:?}")).expect("the form is known");
        let many = |keys: Vec<Key>| Argument::Many(keys);
        assert_eq!(
            read,
            [
                one(-7_i64),
                one(3_i32),
                one("täx[t]"),
                Argument::Null,
                many(vec![5_i64.into(), 1_i64.into()]),
                many(vec!["b".into()]),
                Argument::Opaque,
                one(9_i16),
            ]
        );
        #[cfg(feature = "service")]
        {
            let mut arguments = sqlx::postgres::PgArguments::default();
            let id = uuid::Uuid::from_bytes(*b"0123456789abcdef");
            assert!(arguments.add(id).is_ok());
            let read = postgres(&format!("{arguments:?}"));
            assert_eq!(read, Some(vec![one(Key::Bytes(id.as_bytes().to_vec()))]), "{arguments:?}");
        }
        let none = sqlx::postgres::PgArguments::default();
        assert_eq!(postgres(&format!("{none:?}")), Some(Vec::new()));
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn mysql_arguments_are_read_back() {
        let mut arguments = sqlx::mysql::MySqlArguments::default();
        let add = |added: Result<(), _>| assert!(added.is_ok());
        add(arguments.add(-7_i64));
        add(arguments.add(u64::MAX));
        add(arguments.add("täxt"));
        add(arguments.add(None::<i64>));
        add(arguments.add(1.5_f64));
        add(arguments.add(3_i32));
        add(arguments.add("x".repeat(300)));
        add(arguments.add(true));
        let read = mysql(&format!("{arguments:?}")).expect("the form is known");
        assert_eq!(
            read,
            [
                one(-7_i64),
                one(u64::MAX),
                one("täxt"),
                Argument::Null,
                Argument::Opaque,
                one(3_i32),
                one("x".repeat(300)),
                one(1_i8),
            ]
        );
    }
}
