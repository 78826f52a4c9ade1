//! Media types: what a request carries and what it accepts (libprocess `src/http.cpp`).

/// The two encodings of the v1 APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

impl ContentType {
    /// The media type, as it stands in a header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// Reads the value of a `Content-Type` header.
    ///
    /// Mesos compares the whole value; here case does not matter and parameters such as `charset` are ignored, because most
    /// clients add them.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|candidate| essence.eq_ignore_ascii_case(candidate.as_str()))
    }

    /// The encoding for an answer, given the `Accept` header: JSON wins when both fit.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Option<Self> {
        [Self::Json, Self::Protobuf]
            .into_iter()
            .find(|candidate| accepts_media_type(accept, candidate.as_str()))
    }
}

/// Whether an `Accept` header admits `media_type`. No header admits everything.
///
/// The most specific entry decides: `type/subtype`, then `type/*`, then `*/*`.
#[must_use]
pub fn accepts_media_type(accept: Option<&str>, media_type: &str) -> bool {
    let Some(accept) = accept else { return true };
    let kind = media_type.split('/').next().unwrap_or_default();
    let candidates = [media_type.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
    first_match(accept, &candidates)
}

/// Whether an `Accept-Encoding` header admits `coding`. No header admits none.
#[must_use]
pub fn accepts_encoding(accept_encoding: Option<&str>, coding: &str) -> bool {
    accept_encoding.is_some_and(|accept| first_match(accept, &[coding.to_owned(), "*".to_owned()]))
}

fn first_match(header: &str, candidates: &[String]) -> bool {
    for candidate in candidates {
        for entry in header.split(',') {
            let mut parts = entry.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            if name.eq_ignore_ascii_case(candidate) {
                return weight(parts);
            }
        }
    }
    false
}

/// Whether the `q` parameter leaves the entry acceptable. A malformed list of them counts as none.
fn weight<'a>(parameters: impl Iterator<Item = &'a str>) -> bool {
    let values: Vec<&str> = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .filter(|(name, _)| name.trim() == "q")
        .map(|(_, value)| value.trim())
        .collect();
    let [value] = values.as_slice() else { return true };
    value.parse::<f64>().is_ok_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_wins_when_both_are_accepted() {
        for accept in [
            None,
            Some("*/*"),
            Some("application/*"),
            Some("application/x-protobuf, application/json"),
        ] {
            assert_eq!(ContentType::negotiate(accept), Some(ContentType::Json), "{accept:?}");
        }
    }

    #[test]
    fn protobuf_is_chosen_when_only_it_is_accepted() {
        for accept in [
            "application/x-protobuf",
            "application/json;q=0, */*",
            "text/html, application/X-Protobuf ; q=0.5",
        ] {
            assert_eq!(
                ContentType::negotiate(Some(accept)),
                Some(ContentType::Protobuf),
                "{accept}"
            );
        }
    }

    #[test]
    fn nothing_fits_when_neither_is_accepted() {
        for accept in ["text/html", "", "application/json;q=0", "application/recordio"] {
            assert_eq!(ContentType::negotiate(Some(accept)), None, "{accept}");
        }
    }

    #[test]
    fn content_types_may_carry_parameters() {
        assert_eq!(ContentType::parse("application/json; charset=utf-8"), Some(ContentType::Json));
        assert_eq!(ContentType::parse("Application/X-Protobuf"), Some(ContentType::Protobuf));
        assert_eq!(ContentType::parse("application/x-www-form-urlencoded"), None);
        assert_eq!(ContentType::parse("application/jsonp"), None);
    }

    #[test]
    fn gzip_is_used_only_when_asked_for() {
        assert!(accepts_encoding(Some("deflate, gzip;q=0.5"), "gzip"));
        assert!(accepts_encoding(Some("*"), "gzip"));
        assert!(!accepts_encoding(Some("gzip;q=0, *"), "gzip"));
        assert!(!accepts_encoding(Some("identity"), "gzip"));
        assert!(!accepts_encoding(Some(""), "gzip"));
        assert!(!accepts_encoding(None, "gzip"));
    }
}
