-- People: accounts, roles, sessions, tokens.
-- Secrets that people or programs show us (passwords, session and API tokens, recovery codes) are kept as hashes only.

-- Roles made by administrators; the built-in ones are in admin/roles.py.
CREATE TABLE role (
    name text PRIMARY KEY,
    description text NOT NULL DEFAULT '',
    permissions text[] NOT NULL,
    row_scope jsonb NOT NULL DEFAULT '{}',
    version integer NOT NULL DEFAULT 1,     -- counts its changes
    changed_by text NOT NULL DEFAULT ''     -- empty: nobody yet
);

CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL UNIQUE,             -- lower case
    full_name text NOT NULL DEFAULT '',
    role text NOT NULL,                     -- of admin/roles.py or of the table role
    row_scope jsonb NOT NULL DEFAULT '{}',  -- narrows the role's row scope
    profile jsonb NOT NULL DEFAULT '{}',
    password_hash text,                     -- Argon2id; NULL: no login by password
    totp_secret text,                       -- base32; NULL: no second factor, or none that is confirmed
    totp_secret_offered text,               -- shown to the person, waiting for the first right code
    totp_step bigint NOT NULL DEFAULT 0,    -- the last time step whose code was taken; an older one is a replay
    disabled_at timestamptz,
    created_at timestamptz NOT NULL,
    last_login_at timestamptz,
    version integer NOT NULL DEFAULT 1,     -- counts the changes that administrators make
    changed_by text NOT NULL DEFAULT ''     -- empty: nobody yet
);

-- What an account or a role was before a change, for whoever has begun to edit that.
CREATE TABLE people_version (
    subject text NOT NULL,                  -- "account 12", "role ct-desk"
    version integer NOT NULL,
    fields jsonb NOT NULL,
    PRIMARY KEY (subject, version)
);

CREATE TABLE recovery_code (
    account_id bigint NOT NULL REFERENCES account ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (account_id, code_hash)
);

-- Failed logins of a subject: an account, an account as seen from one address, or an address.
CREATE TABLE login_failure (
    subject text PRIMARY KEY,
    failures integer NOT NULL,
    last_at timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
);
CREATE INDEX login_failure_last_at ON login_failure (last_at);

CREATE TABLE session (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES account ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE,       -- SHA-256 of the cookie's value
    second_factor_due boolean NOT NULL,     -- the password was right; good for nothing but the second step
    address text NOT NULL,
    user_agent text NOT NULL,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_account ON session (account_id);
CREATE INDEX session_expires_at ON session (expires_at);

-- Addresses from which an account has logged in: strangers who guess its password do not lock its owner out there.
CREATE TABLE known_address (
    account_id bigint NOT NULL REFERENCES account ON DELETE CASCADE,
    address text NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, address)
);

CREATE TABLE api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    token_hash bytea NOT NULL UNIQUE,       -- SHA-256 of the token
    account_id bigint REFERENCES account ON DELETE CASCADE,  -- a person's own; NULL: a program's
    role text,                              -- a program's role; NULL with a person's own token
    permissions text[],                     -- narrows what role or account allow; NULL: all of it
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    CHECK ((account_id IS NULL) <> (role IS NULL))
);
CREATE UNIQUE INDEX api_token_name ON api_token (coalesce(account_id, 0), name);

-- Break-glass: for a time and with a reason, somebody sees what their row scope hides; an auditor looks at it afterwards.
CREATE TABLE break_glass (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL,             -- without a reference: it outlives the account
    login text NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    began_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,           -- brought forward where it is ended early
    reviewed_at timestamptz,
    reviewed_by text,
    review text NOT NULL DEFAULT ''
);
CREATE INDEX break_glass_account ON break_glass (account_id, ends_at);
CREATE INDEX break_glass_unreviewed ON break_glass (id) WHERE reviewed_at IS NULL;
