/** From the settings: what seals the state of this device, and the formats that it is read in. */
import type { SealingPorts } from './cycle/seal.ts';
import type { Log } from './io/log.ts';
import type { SqliteStore } from './io/store/store.ts';
import { protectionOf, TokenAnchor } from './io/token/anchor.ts';
import { openToken, type Token } from './io/token/token.ts';
import type { LocalPorts } from './ports.ts';
import type { Settings } from './settings.ts';
import { UPTANE, withLimits } from './uptane/format.ts';
import { loadFormat } from './uptane/load-format.ts';

interface Local {
  readonly ports: LocalPorts;
  readonly store: SqliteStore;
}

/** What seals the state of this device in its token. */
export interface Sealing {
  readonly ports: SealingPorts;
  /** What the seal is worth in this token, for people. */
  readonly meaning: string;
  close(): void;
}

/**
 * Opens the token as far as sealing needs it; without, where `token.anchor` is off.
 *
 * @throws OtaError TOKEN_*
 */
export async function openSealing(
  settings: Settings,
  { ports, store }: Local,
  log: Log,
): Promise<Sealing> {
  const limits = {
    rootBytes: settings.uptane.max_root_metadata,
    imageTargetsBytes: settings.uptane.max_image_metadata,
  };
  const directorFormat = withLimits(UPTANE, limits);
  const imageFormat = withLimits(await loadFormat(settings.uptane.dialect), limits);
  const unsealed = { ...ports, directorFormat, imageFormat };
  if (settings.token.anchor === 'off') {
    return { ports: unsealed, meaning: 'off', close: () => undefined };
  }
  const token = openToken(settings.token, 'read-only', process.env);
  const meaning = await sayProtection(token, store, log);
  const anchor = new TokenAnchor(token);
  return {
    ports: { ...unsealed, anchor },
    meaning,
    close: () => {
      token.close();
    },
  };
}

/** Once, and again when it changed. */
async function sayProtection(token: Token, store: SqliteStore, log: Log): Promise<string> {
  const { protection, meaning } = protectionOf(token);
  const words = `the seal is ${protection}: ${meaning}`;
  if ((await store.fact('anchor_protection')) !== protection) {
    await store.saveFact('anchor_protection', protection);
    log.info(words);
  }
  return words;
}
