-- Everything the agent must remember. One row per fact; text is JSON only where a port says so.
CREATE TABLE metadata (
  name TEXT PRIMARY KEY,            -- REPO/ROLE
  bytes BLOB NOT NULL               -- as received, so that hashes and signatures can be checked again
) STRICT;

CREATE TABLE ecu (
  serial TEXT PRIMARY KEY,
  hardware_id TEXT NOT NULL,
  position INTEGER NOT NULL UNIQUE  -- 0 is the Primary
) STRICT;

CREATE TABLE installed (
  ecu TEXT NOT NULL REFERENCES ecu (serial),
  current INTEGER NOT NULL CHECK (current IN (0, 1)), -- 0: the one before, for a roll-back
  image TEXT NOT NULL,
  PRIMARY KEY (ecu, current)
) STRICT;

CREATE TABLE history (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  entry TEXT NOT NULL
) STRICT;

CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  event TEXT NOT NULL
) STRICT;

-- cycle_state, report_counter, report_time_ms, highest_release_counter/ECU, latest_known_time_ms,
-- provisioning facts, refusal, unreported_attacks, anchor, last_updated, failed_images,
-- postponed_reports, superseded
CREATE TABLE fact (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
