/**
 * Signs what time it is, for whoever sends a nonce: Uptane Standard 2.1 §5.4.2.2.
 *
 * Its key is its own and in no root metadata; `time-keys.json` is for the devices. It lies on request.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { Refusal } from './failure.ts';
import type { FaultSwitch } from './faults/switch.ts';
import { JsonReader, parseJson } from './json/read-json.ts';
import { keysById } from './metadata/repository-keys.ts';
import { generateKey, signEnvelope, type KeyPair, type KeyType } from './signing.ts';
import { readState, writeState } from './state/state-file.ts';

interface TimeState {
  readonly key: KeyPair;
}

const MAX_NONCES = 64;
const NONCE_CHARACTERS = 128;

export class TimeServer {
  readonly #key: KeyPair;
  readonly #faults: FaultSwitch;
  /** By device, for the replay. */
  readonly #firstAnswers = new Map<string, string>();

  constructor(directory: string, keyType: KeyType, faults: FaultSwitch) {
    const path = join(directory, 'time-server.json');
    const stored = readState(path) as TimeState | undefined;
    this.#key = stored?.key ?? generateKey(keyType);
    this.#faults = faults;
    writeState(path, { key: this.#key });
    const keys = { keys: keysById([this.#key]), threshold: 1 };
    writeState(join(directory, 'time-keys.json'), keys, 0o644);
  }

  /**
   * @param body - `{"nonces": [TEXT…]}`
   * @returns `{"signatures": […], "signed": {"_type": "Time", "nonces": […], "time": ISO 8601}}`
   * @throws Refusal 400 `json_malformed`
   */
  answer(device: string, body: Uint8Array): string {
    const nonces = readNonces(body);
    const honest = this.#sign(nonces, 0);
    const first = this.#firstAnswers.get(device);
    if (this.#strikes('time-replay', device)) return first ?? this.#sign([randomUUID()], 0);
    if (first === undefined) this.#firstAnswers.set(device, honest);
    if (this.#strikes('time-wrong-nonce', device)) return this.#sign([randomUUID()], 0);
    if (this.#strikes('time-wrong-key', device))
      return this.#sign(nonces, 0, generateKey('ed25519'));
    const past = Number(this.#faults.strike('time-past', device)?.['seconds'] ?? 0);
    const future = Number(this.#faults.strike('time-future', device)?.['seconds'] ?? 0);
    return past === future ? honest : this.#sign(nonces, future - past);
  }

  #strikes(name: 'time-replay' | 'time-wrong-nonce' | 'time-wrong-key', device: string): boolean {
    return this.#faults.strike(name, device) !== undefined;
  }

  #sign(nonces: readonly string[], offsetSeconds: number, key = this.#key): string {
    const at = new Date(Date.now() + offsetSeconds * 1000).toISOString();
    const time = `${at.slice(0, 19)}Z`;
    return signEnvelope({ _type: 'Time', nonces, time }, [key]);
  }
}

function readNonces(body: Uint8Array): readonly string[] {
  const nonces = new JsonReader(parseJson(body)).strings('nonces');
  const isGood = (nonce: string): boolean => nonce !== '' && nonce.length <= NONCE_CHARACTERS;
  if (nonces.length > 0 && nonces.length <= MAX_NONCES && nonces.every(isGood)) return nonces;
  const want = `1 to ${String(MAX_NONCES)} texts of 1 to ${String(NONCE_CHARACTERS)} characters`;
  throw new Refusal(400, 'json_malformed', `$.nonces must be ${want}`);
}
