//! Tests of the codec: every shape that is read, every reason why another is not.

use super::*;
use crate::transport::Lane;
use proptest::prelude::*;

fn plain(body: &str) -> Envelope {
    Envelope { body: Bytes::copy_from_slice(body.as_bytes()), ..Envelope::default() }
}

fn with_header(body: &str, name: &str, value: &str) -> Envelope {
    let mut envelope = plain(body);
    envelope.headers.insert(name.into(), HeaderValue::Text(value.into()));
    envelope
}

fn read(envelope: &Envelope) -> Result<BeanMessage, DecodeError> {
    decode(envelope, &CodecSettings::default())
}

fn class(envelope: &Envelope) -> &'static str {
    read(envelope).map_or_else(|error| error.class(), |message| panic!("read: {message:?}"))
}

#[test]
fn every_spelling_of_the_id_is_read() {
    for (body, id) in [
        (r#"{"coffeeBeanId":"bean-1"}"#, "bean-1"),
        (r#"{"beanId":"bean-1","noise":{"deep":[1,2]}}"#, "bean-1"),
        (r#"{"bean_id":"o'brien\"; --"}"#, "o'brien\"; --"),
        (r#"{"coffeeBeanId":42}"#, "42"),
        (r#"{"coffeeBeanId":18446744073709551615}"#, "18446744073709551615"),
        (
            r#"{"coffeeBeanId":"018F2B1E7B527CC0A1B20123456789AB"}"#,
            "018f2b1e-7b52-7cc0-a1b2-0123456789ab",
        ),
        (" {\"coffeeBeanId\":\"caf\\u00e9\"}\n", "café"),
    ] {
        let message = read(&plain(body)).unwrap();
        assert_eq!(message.bean.as_str(), id, "{body}");
        assert_eq!(message.kind, MessageKind::CalculateSimilarity);
        assert!(!message.ripple);
    }
}

#[test]
fn the_kind_is_found_wherever_publishers_write_it() {
    let body = r#"{"coffeeBeanId":"b"}"#;
    let mut by_property = with_header(body, "type", "BeanCreated");
    by_property.type_property = Some("BeanDeleted".into());
    assert_eq!(read(&by_property).unwrap().kind, MessageKind::BeanDeleted);
    for name in ["type", "ce-type", "cloudEvents:type", "cloudEvents_type"] {
        let message = read(&with_header(body, name, "BeanUpdated")).unwrap();
        assert_eq!(message.kind, MessageKind::BeanUpdated, "{name}");
    }
    let in_body = read(&plain(r#"{"coffeeBeanId":"b","type":"BeanCreated"}"#)).unwrap();
    assert_eq!(in_body.kind, MessageKind::BeanCreated);
    let mut empty = plain(body);
    empty.type_property = Some(String::new());
    assert_eq!(read(&empty).unwrap().kind, MessageKind::CalculateSimilarity);
}

#[test]
fn a_structured_cloud_event_is_read_from_its_data() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"BeanCreated",
        "data":{"coffeeBeanId":7}}"#;
    let message = read(&plain(body)).unwrap();
    assert_eq!((message.kind, message.bean.as_str()), (MessageKind::BeanCreated, "7"));
    let mut without_data = plain(r#"{"specversion":"1.0","type":"BeanCreated"}"#);
    without_data.content_type = Some("application/cloudevents+json; charset=utf-8".into());
    assert_eq!(read(&without_data), Err(DecodeError::NoCloudEventData));
}

#[test]
fn symfonys_class_is_read_with_and_without_a_leading_backslash() {
    let body = r#"{"coffeeBeanId":"018f2b1e-7b52-7cc0-a1b2-0123456789ab"}"#;
    for class in
        [r"App\Message\CalculateSimilarityForBean", r"\App\Message\CalculateSimilarityForBean"]
    {
        let message = read(&with_header(body, "type", class)).unwrap();
        assert_eq!(message.kind, MessageKind::CalculateSimilarity);
    }
    let settings =
        CodecSettings { accepted_types: vec![r"\Shop\Recalculate".into()], ..Default::default() };
    let message = decode(&with_header(body, "type", r"Shop\Recalculate"), &settings).unwrap();
    assert_eq!(message.kind, MessageKind::CalculateSimilarity);
}

#[test]
fn a_foreign_kind_is_named_before_its_body_is_looked_at() {
    let foreign = with_header("not even json", "type", r"App\Message\SendInvoice");
    let error = read(&foreign).unwrap_err();
    assert_eq!(error, DecodeError::UnknownKind { kind: r"App\Message\SendInvoice".into() });
    assert_eq!(error.class(), "unknown_type");
    assert!(error.to_string().contains("transport.accepted_types"), "{error}");
    assert_eq!(class(&plain(r#"{"type":"Other"}"#)), "unknown_type");
}

#[test]
fn unreadable_bodies_say_what_is_wrong_and_what_is_allowed() {
    for (body, expected, says) in [
        ("", "empty_body", "coffeeBeanId"),
        (" \n", "empty_body", "coffeeBeanId"),
        ("nonsense", "undecodable", "nonsense"),
        ("[1]", "undecodable", "array"),
        ("\"x\"", "undecodable", "string"),
        ("{}", "no_id", "coffeeBeanId"),
        (r#"{"coffeeBeanId":null}"#, "bad_id", "null"),
        (r#"{"coffeeBeanId":true}"#, "bad_id", "boolean"),
        (r#"{"coffeeBeanId":["a"]}"#, "bad_id", "array"),
        (r#"{"coffeeBeanId":1.5}"#, "bad_id", "fraction"),
        (r#"{"coffeeBeanId":""}"#, "bad_id", "empty"),
        (r#"{"coffeeBeanId":"a\u0000b"}"#, "bad_id", "control"),
        (r#"O:36:\"Symfony\\Component\\Messenger\\Envelope\":2:{"#, "php_serialized", "serializer"),
    ] {
        let error = read(&plain(body)).unwrap_err();
        assert_eq!(error.class(), expected, "{body}");
        assert!(error.to_string().contains(says), "{body}: {error}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_unread() {
    let body = format!(r#"{{"coffeeBeanId":"b","image":"{}"}}"#, "x".repeat(1_000_000));
    let error = read(&plain(&body)).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { bytes: body.len(), limit: MAX_BODY_BYTES });
    assert_eq!(error.class(), "body_too_large");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let body = "[".repeat(200_000);
    assert_eq!(class(&plain(&body)), "undecodable");
}

#[test]
fn what_is_encoded_is_decoded_again() {
    for (kind, ripple) in MessageKind::ALL.into_iter().zip([false, true, false, true]) {
        let bean = BeanId::parse("o'brien \"quoted\" \\ é").unwrap();
        let outgoing = Outgoing { bean: bean.clone(), kind, lane: Lane::Bulk, ripple };
        let message = read(&encode(&outgoing)).unwrap();
        assert_eq!(message, BeanMessage { bean, kind, ripple });
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        kind in proptest::option::of(".{0,40}"),
        header in ".{0,40}",
    ) {
        let mut envelope =
            Envelope { body: body.into(), type_property: kind, ..Default::default() };
        envelope.headers.insert("type".into(), HeaderValue::Text(header));
        if let Err(error) = read(&envelope) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_json_makes_it_panic(
        body in r#"[\{\["]{0,3}"?(coffeeBeanId|type|data|specversion)?"?:?.{0,20}[\}\]]{0,3}"#,
    ) {
        if let Err(error) = read(&plain(&body)) {
            prop_assert!(!error.class().is_empty());
        }
    }

    #[test]
    fn every_possible_id_survives_the_round_trip(id in "\\PC{1,60}") {
        let bean = BeanId::parse(&id).unwrap();
        let outgoing = Outgoing {
            bean: bean.clone(), kind: MessageKind::BeanUpdated, lane: Lane::Live, ripple: false,
        };
        prop_assert_eq!(read(&encode(&outgoing)).unwrap().bean, bean);
    }
}
