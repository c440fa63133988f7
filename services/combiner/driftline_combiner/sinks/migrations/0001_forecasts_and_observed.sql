-- Runs with the sinks' schema first on the search path.

CREATE TABLE forecasts (
    stream text NOT NULL,
    key text NOT NULL,
    t timestamptz NOT NULL,
    horizon integer NOT NULL,
    issued timestamptz NOT NULL,
    value double precision,
    lower double precision,
    upper double precision,
    p10 double precision,
    p50 double precision,
    p90 double precision,
    unit text,
    strategy text NOT NULL,
    guarded boolean NOT NULL,
    versions jsonb NOT NULL,
    PRIMARY KEY (stream, key, t, horizon)
);
COMMENT ON TABLE forecasts IS 'What was said of each time, by horizon';
COMMENT ON COLUMN forecasts.t IS 'The time that it is for';
COMMENT ON COLUMN forecasts.horizon IS 'Steps ahead';
COMMENT ON COLUMN forecasts.issued IS 'The time of the record that it was made with';
COMMENT ON COLUMN forecasts.lower IS 'Lower end of the 90 % prediction interval, the quantile 0.05';
COMMENT ON COLUMN forecasts.upper IS 'Its upper end, the quantile 0.95';
COMMENT ON COLUMN forecasts.guarded IS 'Whether persistence is published, since the strategy has fallen behind it';
COMMENT ON COLUMN forecasts.versions IS 'The model version behind each member that is a model';

CREATE TABLE observed (
    stream text NOT NULL,
    key text NOT NULL,
    t timestamptz NOT NULL,
    value double precision NOT NULL,
    unit text,
    PRIMARY KEY (stream, key, t)
);
COMMENT ON TABLE observed IS 'The truth at each time';

CREATE VIEW scored AS
SELECT stream, key, t, horizon, issued, forecasts.value AS forecast, lower, upper,
       observed.value AS observed, forecasts.value - observed.value AS error
FROM forecasts JOIN observed USING (stream, key, t);
COMMENT ON VIEW scored IS 'Forecasts whose truth is known, beside it';

-- TimescaleDB cuts what it knows of into chunks by time, so that old ones can be compressed or dropped.
DO $$
DECLARE
    extension_schema text;
    name text;
BEGIN
    SELECT nspname INTO extension_schema
    FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'timescaledb';
    IF extension_schema IS NOT NULL THEN
        FOREACH name IN ARRAY ARRAY['forecasts', 'observed'] LOOP
            EXECUTE format(
                'SELECT %I.create_hypertable(%L::regclass, %L, create_default_indexes => false)',
                extension_schema, name, 't'
            );
        END LOOP;
    END IF;
END
$$;
