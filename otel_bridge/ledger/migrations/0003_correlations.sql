-- Where calls belong in the traces of the applications that made them, and what was decided for a record before
-- it first went out. Ids alone; trace ids and span ids are blobs of 16 and 8 bytes.

-- As applications register them; they name no project. kind: log_id or request_id. used: whether a record has
-- gone by it.
CREATE TABLE correlations (
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    trace_id BLOB NOT NULL,
    span_id BLOB NOT NULL,
    sampled INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- The order in which they go where there are too many.
CREATE INDEX correlations_by_use ON correlations (used DESC, expires_ms);

-- One row a record, from shortly before it is sent until it is delivered. trace_id NULL: no correlation. retries:
-- whether the two after it are decided.
CREATE TABLE settled (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    log_id BLOB NOT NULL,
    settled_ms INTEGER NOT NULL,
    trace_id BLOB,
    span_id BLOB,
    sampled INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    retry_trace_id BLOB,
    retry_span_id BLOB,
    PRIMARY KEY (project_id, log_id)
) WITHOUT ROWID;

-- Failed calls, for the links of the tries that come after them. key: a hash of what tries of one thing have in
-- common.
CREATE TABLE failed_attempts (
    project_id INTEGER NOT NULL REFERENCES projects (id),
    key BLOB NOT NULL,
    log_id BLOB NOT NULL,
    noted_ms INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    trace_id BLOB NOT NULL,
    span_id BLOB NOT NULL,
    PRIMARY KEY (project_id, key, log_id)
) WITHOUT ROWID;

CREATE INDEX failed_attempts_by_time ON failed_attempts (project_id, noted_ms);

-- When a correlation was last used for the project, or came too late.
ALTER TABLE projects ADD COLUMN correlated_ms INTEGER;
ALTER TABLE delivered ADD COLUMN sampled INTEGER NOT NULL DEFAULT 1;
