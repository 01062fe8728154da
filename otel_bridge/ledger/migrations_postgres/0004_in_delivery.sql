-- works from: 1
-- Which replica delivers a record now, by the lease that it does so under: from before the record first goes out
-- until it is delivered or set aside. A row whose lease is gone says nothing any more.
CREATE TABLE otel_bridge.in_delivery (
    project_id integer NOT NULL REFERENCES otel_bridge.projects (id),
    log_id bytea NOT NULL,
    scope text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (project_id, log_id)
);
