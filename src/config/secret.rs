//! How secrets are written: never.
//!
//! Decides: what of a URL may be shown. Never does: reveal a password.

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use url::Url;

/// What stands in the place of a secret.
pub(crate) const HIDDEN: &str = "***";

/// Serialises a URL without its password.
pub(super) fn url<S: Serializer>(url: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_url(url.expose_secret()))
}

/// Serialises a password as [`HIDDEN`].
pub(super) fn password<S: Serializer>(
    password: &Option<SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    password.as_ref().map(|_| HIDDEN).serialize(serializer)
}

/// The URL as it may be shown: its password, and query values that look like one, hidden; all of
/// it hidden when it cannot be read.
pub(super) fn shown_url(text: &str) -> String {
    if text.is_empty() || text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else { return HIDDEN.into() };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return HIDDEN.into();
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(key, value)| {
                let secret = key.to_ascii_lowercase().contains("password");
                (key.into_owned(), if secret { HIDDEN.into() } else { value.into_owned() })
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_wherever_it_stands_in_a_url() {
        assert_eq!(shown_url("postgres://u:pw@h:1/db"), "postgres://u:***@h:1/db");
        assert_eq!(
            shown_url("postgres://h/db?user=u&password=pw"),
            "postgres://h/db?user=u&password=***"
        );
        assert_eq!(shown_url("amqp://u@h/%2f"), "amqp://u@h/%2f");
        assert_eq!(shown_url("not a url:pw"), HIDDEN);
        assert_eq!(shown_url("sqlite:a/b.sqlite"), "sqlite:a/b.sqlite");
    }
}
