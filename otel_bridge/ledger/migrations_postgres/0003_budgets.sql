-- works from: 1
-- The request budget of an organisation, as the source last told a replica. Whoever claims requests locks the row.
CREATE TABLE otel_bridge.budgets (
    name text COLLATE "C" PRIMARY KEY,
    requests integer NOT NULL, -- the organisation's limit in a window
    window_s double precision NOT NULL
);

-- Requests that replicas have claimed, and most likely sent.
CREATE TABLE otel_bridge.budget_claims (
    name text COLLATE "C" NOT NULL REFERENCES otel_bridge.budgets (name) ON DELETE CASCADE,
    moment bigint NOT NULL, -- sixtieth parts of the window since the epoch
    replica text COLLATE "C" NOT NULL,
    requests integer NOT NULL,
    PRIMARY KEY (name, moment, replica)
);
