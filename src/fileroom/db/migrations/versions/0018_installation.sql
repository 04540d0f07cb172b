-- One row: the UID by which this installation signs the objects that it changes on the way (0018,1002). It is made by the
-- first process that needs it and never changes; all processes on all machines share it, for they share the database.
CREATE TABLE installation (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    uid text NOT NULL CHECK (uid ~ '^2\.25\.[0-9]{1,39}$'),
    made_at timestamptz NOT NULL DEFAULT now()
);
