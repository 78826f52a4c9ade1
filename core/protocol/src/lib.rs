//! Mesos' messages and their encodings: protobuf, Mesos JSON, RecordIO, pids, durations.
