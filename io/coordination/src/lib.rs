//! Registry storage and leader detection.
