//! Arithmetic of resources: fixed-point scalars, ranges, sets, reservations, volumes, and their text syntax.
