//! Decides whom to offer which resources, and when.
