-- works from: 1
-- What people have collected, where they keep it here. A key is only ever referred to.
CREATE TABLE otel_bridge.project_settings (
    name text COLLATE "C" PRIMARY KEY,
    settings jsonb NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    CONSTRAINT api_key_is_a_reference CHECK (
        COALESCE(settings ->> 'api_key', '') ~ '^\$\{(env|file):[^{}]+\}$'
    )
);
