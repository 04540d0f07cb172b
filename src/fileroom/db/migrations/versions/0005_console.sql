-- What the console keeps: saved filters of the study list.

CREATE TABLE saved_filter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whose it is: account:ID, or KIND:NAME of who acts without an account, system:local at the server itself.
    owner text COLLATE "C" NOT NULL,
    name text NOT NULL,
    -- The query string of the study list.
    question text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);
