use std::fmt;

use protocol::mesos;
use protocol::mesos::resource::disk_info;
use protocol::mesos::resource::disk_info::source::Type as SourceType;
use protocol::{Message, Names};

use crate::reservation::{Reservation, ReservationKind};
use crate::value::{ParseValueError, Parsed, ValueKind, tokenize};
use crate::wire::{InvalidResource, ResourceError};
use crate::{Quantity, Resource, Resources, Value, role};

/// Why the text of `--resources` is refused.
#[derive(Debug, thiserror::Error)]
pub enum ParseResourcesError {
    #[error("Bad value for resources, missing or extra ':' in {0}")]
    Colon(String),
    #[error("Bad value for resources, mismatched parentheses in {0}")]
    Parentheses(String),
    #[error("Failed to parse resource {name} value {value}")]
    Value {
        name: String,
        value: String,
        #[source]
        source: ParseValueError,
    },
    #[error("Bad type for resource {name} value {value} type {type_name}")]
    Type { name: String, value: String, type_name: &'static str },
    #[error("The JSON of the resources was not formatted properly")]
    Json(#[source] serde_json::Error),
    #[error("JSON resource number {index} was not formatted properly")]
    JsonResource {
        index: usize,
        #[source]
        source: protocol::JsonError,
    },
    #[error(transparent)]
    Invalid(#[from] ResourceError),
    #[error("Persistent volumes cannot be specified at the command line")]
    PersistentVolume,
    #[error(
        "Revocable resources cannot be specified at the command line; do not include a \
         'revocable' key in the resources JSON"
    )]
    Revocable,
    #[error(
        "Dynamic reservations cannot be specified at the command line; do not include a \
         reservation with DYNAMIC type in the resources JSON"
    )]
    DynamicReservation,
    #[error("Resources with the same name ('{0}') but different types are not allowed")]
    MixedTypes(String),
}

impl Resources {
    /// Reads what the agent flag `--resources` takes: `cpus:24;ports:[1-9];bugs(role):{a,b}`, or
    /// a JSON array of Resource messages. What names no role is reserved for the default role,
    /// `*` meaning unreserved. Amounts of the same resource are summed.
    ///
    /// # Errors
    /// Names the part that is malformed or may not be given at the command line.
    pub fn parse(text: &str, default_role: &str) -> Result<Self, ParseResourcesError> {
        Ok(parse_list(text, default_role)?.into_iter().collect())
    }

    /// The text that [`Resources::parse`] reads; `None` when there is something it has no
    /// syntax for, such as a volume.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let parts: Option<Vec<_>> = self.iter().map(resource_text).collect();
        Some(parts?.join(";"))
    }
}

fn resource_text(resource: &Resource) -> Option<String> {
    let plain = resource.disk().is_none()
        && resource.provider_id().is_none()
        && resource.allocation_role().is_none()
        && !resource.is_revocable();
    let (name, value) = (resource.name(), resource.value());
    match resource.reservations() {
        [] if plain => Some(format!("{name}:{value}")),
        [single] if plain && *single == Reservation::fixed(&single.role) => {
            Some(format!("{name}({}):{value}", single.role))
        }
        _ => None,
    }
}

/// The resources in the order of the text, empty ones included, so that `cpus:0` can be told
/// from no mention of `cpus`.
pub(crate) fn parse_list(
    text: &str,
    default_role: &str,
) -> Result<Vec<Resource>, ParseResourcesError> {
    let resources = if text.trim_start().starts_with('[') {
        parse_json(text, default_role)?
    } else {
        let parse = |(index, token)| parse_token(index, token, default_role);
        tokenize(text, ";").enumerate().map(parse).collect::<Result<_, _>>()?
    };
    check_command_line(&resources)?;
    Ok(resources)
}

fn parse_json(text: &str, default_role: &str) -> Result<Vec<Resource>, ParseResourcesError> {
    let items: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(ParseResourcesError::Json)?;
    let parse = |(index, item): (usize, serde_json::Value)| {
        let mut wire = mesos::Resource::from_json(item.to_string().as_bytes(), Names::V1)
            .map_err(|source| ParseResourcesError::JsonResource { index, source })?;
        if wire.role.is_none() && wire.reservations.is_empty() {
            wire.role = Some(default_role.to_owned());
        }
        Resource::from_wire(&wire).map_err(|reason| {
            ParseResourcesError::from(ResourceError { index, name: wire.name, reason })
        })
    };
    items.into_iter().enumerate().map(parse).collect()
}

fn parse_token(
    index: usize,
    token: &str,
    default_role: &str,
) -> Result<Resource, ParseResourcesError> {
    let parts: Vec<_> = tokenize(token, ":").collect();
    let &[left, text] = parts.as_slice() else {
        return Err(ParseResourcesError::Colon(token.to_owned()));
    };
    let (name, role) = match (left.find('('), left.find(')')) {
        (None, _) => (left.trim(), default_role),
        (Some(open), Some(close)) if open < close => {
            (left[..open].trim(), left[open + 1..close].trim())
        }
        (Some(_), _) => return Err(ParseResourcesError::Parentheses(token.to_owned())),
    };
    let parsed = Parsed::parse(text).map_err(|source| ParseResourcesError::Value {
        name: name.to_owned(),
        value: text.to_owned(),
        source,
    })?;
    let type_name = parsed.type_name();
    let invalid = |reason| ResourceError { index, name: name.to_owned(), reason };
    if name.is_empty() {
        return Err(invalid(InvalidResource::EmptyName).into());
    }
    role::validate(role).map_err(|error| invalid(error.into()))?;
    let value = match parsed {
        Parsed::Scalar(number) => Value::Scalar(quantity(number).map_err(invalid)?),
        Parsed::Ranges(ranges) => Value::Ranges(ranges),
        Parsed::Set(set) => Value::Set(set),
        Parsed::Text(_) => {
            let (name, value) = (name.to_owned(), text.to_owned());
            return Err(ParseResourcesError::Type { name, value, type_name });
        }
    };
    let resource = Resource::new(name, value);
    if role == role::UNRESERVED {
        return Ok(resource);
    }
    Ok(resource.with_reservations([Reservation::fixed(role)].into()))
}

fn quantity(number: f64) -> Result<Quantity, InvalidResource> {
    let quantity = Quantity::from_f64(number).ok_or(InvalidResource::NotFinite)?;
    if quantity.is_zero() && number > 0.0 {
        return Err(InvalidResource::NotPositive);
    }
    Ok(quantity)
}

fn check_command_line(resources: &[Resource]) -> Result<(), ParseResourcesError> {
    let mut kinds: std::collections::BTreeMap<&str, ValueKind> = std::collections::BTreeMap::new();
    for resource in resources {
        if resource.is_persistent_volume() {
            return Err(ParseResourcesError::PersistentVolume);
        }
        if resource.is_revocable() {
            return Err(ParseResourcesError::Revocable);
        }
        if resource.is_dynamically_reserved() {
            return Err(ParseResourcesError::DynamicReservation);
        }
        let kind = resource.value().kind();
        if *kinds.entry(resource.name()).or_insert(kind) != kind {
            return Err(ParseResourcesError::MixedTypes(resource.name().to_owned()));
        }
    }
    Ok(())
}

/// What Mesos prints in logs and error messages, for example
/// `disk(allocated: a)(reservations: [(DYNAMIC,a,alice)])[volume-1:data]:64`.
impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        if let Some(role) = self.allocation_role() {
            write!(formatter, "(allocated: {role})")?;
        }
        for (index, reservation) in self.reservations().iter().enumerate() {
            let separator = if index == 0 { "(reservations: [" } else { "," };
            write!(formatter, "{separator}({reservation})")?;
        }
        if self.is_reserved() {
            formatter.write_str("])")?;
        }
        if let Some(disk) = self.disk() {
            write_disk(formatter, disk)?;
        }
        if self.is_revocable() {
            formatter.write_str("{REV}")?;
        }
        if self.is_shared() {
            formatter.write_str("<SHARED>")?;
        }
        write!(formatter, ":{}", self.value())?;
        if self.is_shared() { write!(formatter, "<{}>", self.copies()) } else { Ok(()) }
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(formatter, "{kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(formatter, ",{principal}")?;
        }
        let Some(labels) = self.labels() else { return Ok(()) };
        for (index, label) in labels.labels.iter().enumerate() {
            let separator = if index == 0 { ",{" } else { ", " };
            write!(formatter, "{separator}{}", label.key)?;
            if let Some(value) = &label.value {
                write!(formatter, ": {value}")?;
            }
        }
        formatter.write_str(if labels.labels.is_empty() { ",{}" } else { "}" })
    }
}

fn write_disk(formatter: &mut fmt::Formatter<'_>, disk: &mesos::resource::DiskInfo) -> fmt::Result {
    formatter.write_str("[")?;
    if let Some(source) = &disk.source {
        write_source(formatter, source)?;
    }
    if let Some(persistence) = &disk.persistence {
        let separator = if disk.source.is_some() { "," } else { "" };
        write!(formatter, "{separator}{}", persistence.id)?;
    }
    if let Some(volume) = &disk.volume {
        match (&volume.host_path, volume.mode) {
            (Some(host_path), mode) => {
                let mode = match mode {
                    mesos::volume::Mode::Rw => ":rw",
                    mesos::volume::Mode::Ro => ":ro",
                };
                write!(formatter, ":{host_path}:{}{mode}", volume.container_path)?;
            }
            (None, _) => write!(formatter, ":{}", volume.container_path)?,
        }
    }
    formatter.write_str("]")
}

fn write_source(formatter: &mut fmt::Formatter<'_>, source: &disk_info::Source) -> fmt::Result {
    let (name, root) = match source.r#type {
        SourceType::Mount => ("MOUNT", source.mount.as_ref().and_then(|it| it.root.as_deref())),
        SourceType::Path => ("PATH", source.path.as_ref().and_then(|it| it.root.as_deref())),
        SourceType::Block => ("BLOCK", None),
        SourceType::Raw => ("RAW", None),
        SourceType::Unknown => ("UNKNOWN", None),
    };
    formatter.write_str(name)?;
    if source.id.is_some() || source.profile.is_some() {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (vendor, id) = (text(&source.vendor), text(&source.id));
        return write!(formatter, "({vendor},{id},{})", text(&source.profile));
    }
    root.map_or(Ok(()), |root| write!(formatter, ":{root}"))
}

#[cfg(test)]
mod tests;
