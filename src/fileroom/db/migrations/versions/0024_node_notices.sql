-- What nodes are told over the network: performed steps that are forwarded, instances that are available. Each node hears
-- its notices in the order of their ids.
CREATE TABLE node_notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node text COLLATE "C" NOT NULL,
    kind text NOT NULL CHECK (kind IN ('mpps_create', 'mpps_set', 'availability')),
    sop_instance_uid text COLLATE "C" NOT NULL,
    study_instance_uid text COLLATE "C" NOT NULL DEFAULT '',
    -- The data set as DICOM JSON.
    attributes jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'cancelled')),
    attempts integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    reason text NOT NULL DEFAULT '',
    made_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
);
CREATE INDEX node_notice_waiting ON node_notice (node, id) WHERE state = 'waiting';
CREATE INDEX node_notice_ended ON node_notice (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX node_notice_subject ON node_notice (sop_instance_uid);

-- Studies of which nodes hear when they have been quiet; `told` is how many instances they were told of last.
CREATE TABLE available_study (
    study_instance_uid text COLLATE "C" PRIMARY KEY,
    -- Null: nothing came since the last notice.
    due_at timestamptz DEFAULT now(),
    told integer NOT NULL DEFAULT 0
);
CREATE INDEX available_study_due ON available_study (due_at) WHERE due_at IS NOT NULL;

-- How far the instances that came have been noted; as matching_mark.
CREATE TABLE availability_mark (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    reached bigint NOT NULL,
    ahead bigint NOT NULL,
    ahead_at timestamptz NOT NULL DEFAULT now()
);
