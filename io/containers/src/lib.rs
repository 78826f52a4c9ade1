//! Runs processes in containers, fetches what they need, reports what they use.
