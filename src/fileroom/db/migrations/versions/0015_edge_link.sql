-- The edge link (decision 35). At the centre: what is known of each edge, and what is offered to it. At both ends: what came.

CREATE TABLE edge_state (
    edge_id integer PRIMARY KEY REFERENCES named_entry ON DELETE CASCADE,
    session text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    address text NOT NULL DEFAULT '',
    version text NOT NULL DEFAULT '',
    clock_ahead_s double precision NOT NULL DEFAULT 0,
    round_trip_s double precision NOT NULL DEFAULT 0,
    waiting bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0
);

-- One object that a lane holds ready for an edge. `offered_until`: the lane lives; `given_until`: the edge fetches it.
CREATE TABLE edge_offer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edge_id integer NOT NULL REFERENCES named_entry ON DELETE CASCADE,
    delivery_id bigint NOT NULL,
    study_instance_uid text NOT NULL,
    sop_instance_uid text NOT NULL,
    sop_class_uid text NOT NULL,
    sha256 bytea NOT NULL,
    bytes bigint NOT NULL,
    staged boolean NOT NULL DEFAULT false,
    offered_until timestamptz NOT NULL,
    given_until timestamptz NOT NULL DEFAULT '-infinity',
    outcome text NOT NULL DEFAULT '',
    cause text NOT NULL DEFAULT '',
    UNIQUE (edge_id, delivery_id, sop_instance_uid)
);
CREATE INDEX edge_offer_open ON edge_offer (edge_id, id) WHERE outcome = '';

-- Large objects that came over a link, by their digest, so that they are not sent again when only the answer was lost.
CREATE TABLE edge_received (
    peer_id integer NOT NULL REFERENCES named_entry ON DELETE CASCADE,
    sha256 bytea NOT NULL,
    sop_instance_uid text NOT NULL,
    storage_key text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (peer_id, sha256)
);
CREATE INDEX edge_received_at ON edge_received (at);

-- The edge's own link to its centre, as it was a moment ago.
CREATE TABLE centre_state (
    centre_id integer PRIMARY KEY REFERENCES named_entry ON DELETE CASCADE,
    connected boolean NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz,
    version text NOT NULL DEFAULT '',
    cause text NOT NULL DEFAULT ''
);

-- Up to which place the objects that an edge has sent side by side are stored, where several web workers take them.
CREATE TABLE edge_order (
    edge_id integer NOT NULL REFERENCES named_entry ON DELETE CASCADE,
    name text NOT NULL,
    place integer NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (edge_id, name)
);
CREATE INDEX edge_order_at ON edge_order (at);
