//! Libprocess messages over HTTP/1.1: pids, links, pipelining.
