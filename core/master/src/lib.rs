//! The master's state machine.
